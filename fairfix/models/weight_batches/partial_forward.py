"""Running a network again when only some of its parameters have changed.

One forward pass is recorded, function by function; later passes take every result from the record
that the changed parameters cannot reach. The network's own code runs each time, whatever it is
built of, but the work before the changed layer is not done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fairfix.models.prunable_units import tensors_in


class Replay:
    """A network on fixed features, with some parameters free to change.

    ``run()`` gives what ``network(features)`` gives with the parameters as they are now. The
    network must call the same functions in the same order each time (no random or data-dependent
    paths), as networks in evaluation mode do.
    """

    def __init__(self, network: nn.Module, features: Tensor, free: Iterable[nn.Parameter]) -> None:
        self.network = network
        self.features = features
        self._recorder = _Record(free)
        with torch.no_grad(), self._recorder:
            network(features)

    @torch.no_grad()
    def run(self) -> Tensor:
        if self._recorder.spoilt:
            return _output(self.network, self.features)
        with _Play(self._recorder.record):
            return _output(self.network, self.features)


def _output(network: nn.Module, features: Tensor) -> Tensor:
    output: Tensor = network(features)
    return output


_FREE = object()


class _Record(TorchFunctionMode):
    """Notes every function's result, or that it depends on a free parameter.

    The record is ``spoilt`` when a result in it was changed in place by what depends on one, or
    once something that does may have read it.
    """

    def __init__(self, free: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.record: list[Any] = []
        self.spoilt = False
        self.alive: list[object] = list(free)
        self.free = {id(p) for p in self.alive}
        self._reached = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = tensors_in((args, kwargs))
        depends = any(id(x) in self.free for x in given)
        self._reached |= depends
        recorded = [(x, x._version) for x in given if id(x) not in self.free]
        result = func(*args, **(kwargs or {}))
        self.spoilt |= self._reached and any(x._version != before for x, before in recorded)
        outputs = tensors_in(result)
        self.alive += outputs
        if depends:
            self.free |= {id(x) for x in outputs}
        self.record.append(_FREE if depends else result)
        return result


class _Play(TorchFunctionMode):
    """Takes recorded results, in order; calls the functions that depend on a free parameter."""

    def __init__(self, record: list[Any]) -> None:
        super().__init__()
        self.record = iter(record)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        recorded = next(self.record)
        return func(*args, **(kwargs or {})) if recorded is _FREE else recorded

"""Repeat a forward pass after some parameters changed, without the work that they do not affect.

One forward pass is recorded, function by function. Later passes run the network's own code and take
every result that does not depend on the changed parameters from the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fairfix.models.scorer import MAX_BATCH
from fairfix.models.tensor_functions import tensors_in


class PartialForward:
    """Forward passes of a network on fixed features, while some parameters change.

    The network must call the same functions in the same order in each pass, without randomness or
    data-dependent control flow, as networks in evaluation mode usually do.
    """

    def __init__(
        self,
        network: nn.Module,
        features: Tensor,
        changing: Iterable[nn.Parameter],
        batch_size: int = MAX_BATCH,
    ) -> None:
        """Record one forward pass, unless it has more than one batch.

        Args:
            network: in evaluation mode; returns a tensor.
            features: (N, D).
            changing: the parameters that may change in place between passes.
            batch_size: rows in one pass, at most.
        """
        self.network = network
        self._batches = features.split(batch_size)
        self._record = _RecordMode(changing)
        if len(self._batches) > 1:  # the results of all of them would not fit into memory
            self._record.is_invalid = True
            return
        with torch.no_grad(), self._record:
            network(features)

    @torch.no_grad()
    def run(self) -> Tensor:
        """Return ``network(features)`` for the current parameters."""
        if self._record.is_invalid:
            return torch.cat([_output(self.network, rows) for rows in self._batches])
        with _ReuseMode(self._record.results):
            return _output(self.network, self._batches[0])


def _output(network: nn.Module, features: Tensor) -> Tensor:
    output: Tensor = network(features)
    return output


_RECOMPUTE = object()


class _RecordMode(TorchFunctionMode):
    """Record the result of every function, or that it depends on a changing parameter.

    Attributes:
        results: one result per call, or ``_RECOMPUTE``.
        is_invalid: True if a recorded result was modified in place, by something that depends on a
            changing parameter or after such a computation may have read it.
    """

    def __init__(self, changing: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self.results: list[Any] = []
        self.is_invalid = False
        self._alive: list[object] = list(changing)  # ids stay unique while their tensors live
        self._dependent = {id(p) for p in self._alive}
        self._reached = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        inputs = tensors_in((args, kwargs))
        depends = any(id(x) in self._dependent for x in inputs)
        self._reached |= depends
        recorded = [(x, x._version) for x in inputs if id(x) not in self._dependent]
        result = func(*args, **(kwargs or {}))
        self.is_invalid |= self._reached and any(x._version != before for x, before in recorded)
        outputs = tensors_in(result)
        self._alive += outputs
        if depends:
            self._dependent |= {id(x) for x in outputs}
        self.results.append(_RECOMPUTE if depends else result)
        return result


class _ReuseMode(TorchFunctionMode):
    """Return recorded results in order; call the functions that must be recomputed."""

    def __init__(self, results: list[Any]) -> None:
        super().__init__()
        self._results = iter(results)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        recorded = next(self._results)
        return func(*args, **(kwargs or {})) if recorded is _RECOMPUTE else recorded

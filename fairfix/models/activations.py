"""Reading what a layer reads: the hidden representation in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.prunable_units import is_layer
from fairfix.models.scorer import Scorer


class Reader:
    """A layer of a scorer's network, by its weight; ``run`` gives its input beside the scores."""

    def __init__(self, scorer: Scorer, rows: Tensor, layer: str = "") -> None:
        """Find the layer by its name in the network, or the last linear or convolutional one.

        Raises:
            UsageError: when no layer of that name runs.
            CheckpointError: when the network has no such layer at all.
        """
        parameters = scorer.network.named_parameters()
        names = {id(p): name.removesuffix(".weight") for name, p in parameters}
        with torch.no_grad(), _Capture(set(names)) as capture:
            scorer(rows)
        if not capture.seen:
            raise CheckpointError(
                "The network has no linear or convolutional layer whose input a critic could read."
            )
        found = {names[weight]: weight for weight in capture.seen}
        self.name = layer or next(reversed(found))
        if self.name not in found:
            raise UsageError(
                f"No linear or convolutional layer {layer!r} runs; there are {', '.join(found)}."
            )
        self._weight = found[self.name]

    def run(self, scorer: Scorer, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The scores (N,), and the layer's input as (N, H), with their graph."""
        with _Capture({self._weight}) as capture:
            scores: Tensor = scorer(rows)
        return scores, capture.seen[self._weight].flatten(1)


class _Capture(TorchFunctionMode):
    """Keeps the input of every layer whose weight is asked for, in the order they run."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights = weights
        self.seen: dict[int, Tensor] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if len(args) > 1 and id(args[1]) in self.weights and is_layer(func):
            self.seen[id(args[1])] = args[0]
        return func(*args, **(kwargs or {}))

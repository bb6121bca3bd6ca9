"""Capture the input activations of a layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as recompute

from fairfix.errors import CheckpointError, UsageError
from fairfix.models.inputs import Batch, Inputs, Rows
from fairfix.models.scorer import Scorer, in_row_order
from fairfix.models.tensor_functions import CallMode, is_weighted


class LayerInput:
    """The input of one linear or convolutional layer of a scorer's network.

    The layer is identified by its weight, so it may be called in any way.

    Attributes:
        name: the layer's name in the network.
    """

    def __init__(self, scorer: Scorer, batch: Batch, layer: str = "") -> None:
        """Find the layer by running the network.

        Args:
            scorer: in evaluation mode.
            batch: a few rows.
            layer: name of the layer; empty for the last linear or convolutional one.

        Raises:
            UsageError: if no linear or convolutional layer of this name runs.
            CheckpointError: if the network has no linear or convolutional layer.
        """
        parameters = scorer.network.named_parameters()
        names = {id(p): name.removesuffix(".weight") for name, p in parameters}
        with torch.no_grad(), _CaptureMode(set(names)) as capture:
            scorer(batch)
        if not capture.inputs:
            raise CheckpointError(
                "The network has no linear or convolutional layer whose input a critic could read."
            )
        weights = {names[weight]: weight for weight in capture.inputs}
        self.name = layer or next(reversed(weights))
        if self.name not in weights:
            raise UsageError(
                f"No linear or convolutional layer {layer!r} runs; layers: {', '.join(weights)}."
            )
        self._weight = weights[self.name]

    def run(self, scorer: Scorer, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Return the scores (N,) and the layer's input (N, H) with their autograd graph.

        Beyond the scorer's batch size, forward passes are repeated in the backward pass.
        """
        if len(inputs) <= scorer.batch_size:
            return self._run(scorer, inputs, slice(None))
        divided = list(inputs.divided(scorer.batch_size))
        parts = [
            recompute(self._run, scorer, inputs, rows, use_reentrant=False) for rows in divided
        ]
        scores, hidden = (zip(divided, each, strict=True) for each in zip(*parts, strict=True))
        return in_row_order(scores), in_row_order(hidden)

    def _run(self, scorer: Scorer, inputs: Inputs, rows: Rows) -> tuple[Tensor, Tensor]:
        batch = inputs.batch(rows)
        with _CaptureMode({self._weight}) as capture:
            scores: Tensor = scorer(batch)
        return scores, capture.inputs[self._weight].flatten(1)[: len(batch)]


class _CaptureMode(CallMode):
    """Store the input of every layer with one of the given weights, in order of execution."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights = weights
        self.inputs: dict[int, Tensor] = {}

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        if len(args) > 1 and id(args[1]) in self.weights and is_weighted(func):
            self.inputs[id(args[1])] = args[0]
        return func(*args, **kwargs)

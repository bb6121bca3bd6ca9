"""Score one network under many sets of parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fairfix.models.inputs import Batch, Inputs
from fairfix.models.scorer import Scorer, in_row_order
from fairfix.models.weight_batches.stacked_layers import StackedLayers

_CHECKED_ROWS = 1024
_TOLERANCE = 1e-5
_MAX_ROWS = 65_536  # over all parameter sets

BatchScorer = Callable[[Mapping[str, Tensor]], Tensor]
"""Maps B parameter sets, by parameter name and each (B, *shape), to scores (B, N)."""


def batch_scorer(scorer: Scorer, inputs: Inputs) -> BatchScorer | None:
    """Return a function that scores many parameter sets fast; None if there is no faster way.

    Its scores equal the scorer's up to round-off, which is checked for the current parameters.
    Parameters that are left out keep their current values.

    Args:
        scorer: in evaluation mode.
        inputs: of the network.
    """
    layers = StackedLayers.from_scorer(scorer, inputs)
    if layers is not None and _agrees(layers.scores, scorer, inputs):
        return layers.scores
    if inputs.device.type != "cpu":
        mapped = vmap_scorer(scorer, inputs)
        if _agrees(mapped, scorer, inputs):
            return mapped
    return None


def vmap_scorer(scorer: Scorer, inputs: Inputs) -> BatchScorer:
    """Return a batch scorer for any network that torch can vectorize; no faster on a CPU."""

    def score_one(rows: Batch, parameters: Mapping[str, Tensor]) -> Tensor:
        state = {f"network.{name}": value for name, value in parameters.items()}
        scores: Tensor = functional_call(scorer, state, (rows,))
        return scores

    @torch.no_grad()
    def scores(batch: Mapping[str, Tensor]) -> Tensor:
        count = len(next(iter(batch.values())))
        size = max(1, min(_MAX_ROWS, scorer.batch_size) // count)
        parts = (
            (rows, vmap(partial(score_one, part))(batch).t()) for rows, part in inputs.batches(size)
        )
        return in_row_order(parts).t()

    return scores


def _agrees(scores: BatchScorer, scorer: Scorer, inputs: Inputs) -> bool:
    """Whether the scores on some rows equal those of the network with its current parameters."""
    current = {name: p.detach().unsqueeze(0) for name, p in scorer.network.named_parameters()}
    try:
        found = scores(current)[0, :_CHECKED_ROWS]
    except RuntimeError:  # torch cannot vectorize the network
        return False
    expected = scorer.score(inputs.take(slice(_CHECKED_ROWS)))
    return torch.allclose(found, expected, rtol=0, atol=_TOLERANCE)

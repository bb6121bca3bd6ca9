"""Areas under the ROC curve by group, with their sampling variance, for many score vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GroupAreas:
    """The area of each group, ties counted one half, and its sampling variance, (..., G) each.

    NaN where a group has rows of one label only.
    """

    value: Tensor
    variance: Tensor

    def take(self, index: int | Tensor) -> GroupAreas:
        """One entry of the leading axis, or several."""
        return GroupAreas(self.value[index], self.variance[index])

    @staticmethod
    def concatenated(parts: Sequence[GroupAreas]) -> GroupAreas:
        """Return the areas of several, along the leading axis."""
        value, variance = (
            torch.cat(sides)
            for sides in zip(*((part.value, part.variance) for part in parts), strict=True)
        )
        return GroupAreas(value, variance)

    def expand(self, shape: torch.Size) -> GroupAreas:
        """Return the areas with the leading axes ``shape``."""
        full = (*shape, self.value.shape[-1])
        return GroupAreas(self.value.expand(full), self.variance.expand(full))


def group_areas(
    scores: Tensor,
    favorable: Tensor,
    groups: Tensor,
    n_groups: int,
    weights: Tensor | None = None,
    effect: Tensor | float = 1.0,
) -> GroupAreas:
    """Return the areas of B score vectors.

    The variance is DeLong's with one hit and one miss added to the placement values of either
    label, as shares have them, so that it is never 0.

    Args:
        scores: (B, N).
        favorable: (N,) labels, or P(label = 1), by which rows count for either label in part.
        groups: (N,) in 0..n_groups-1, or -1.
        weights: (N,) with mean 1; None = 1 for every row.
        effect: scalar or (G,), the factor by which row weights and clusters increase a variance.

    Source: DeLong, DeLong and Clarke-Pearson 1988.
    """
    p = favorable.double()
    weight = torch.ones_like(p) if weights is None else weights
    found = [
        _areas(scores[:, here], (weight * p)[here], (weight * (1 - p))[here])
        for here in (groups == g for g in range(n_groups))
    ]
    value, variance = (torch.stack(parts, -1) for parts in zip(*found, strict=True))
    return GroupAreas(value, effect * variance)


def _areas(scores: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Return areas and variances, (B,) each, from the weights (N,) of rows for either label."""
    ordered, order = scores.sort(dim=1)
    positive, negative = positive[order], negative[order]
    apart = ordered[:, 1:] != ordered[:, :-1]
    index = torch.arange(ordered.shape[1] + 1, device=scores.device)
    edge = torch.nn.functional.pad(apart, (1, 1), value=True)
    # The ends of the run of equal scores that a row is in.
    first = torch.where(edge[:, :-1], index[:-1], 0).cummax(1).values
    last = torch.where(edge[:, 1:], index[1:], len(index)).flip(1).cummin(1).values.flip(1)
    total = positive.sum(1), negative.sum(1)
    below_of_negatives = _share_below(negative, first, last)
    above_of_positives = 1 - _share_below(positive, first, last)
    area = (positive * below_of_negatives).sum(1) / total[0]
    variance = sum(
        _variance(values, weights)
        for values, weights in ((below_of_negatives, positive), (above_of_positives, negative))
    )
    return area, variance + 0 * area


def _share_below(weights: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Return the share of the weights below each row, (B, N), half of those of equal scores."""
    cumulative = torch.nn.functional.pad(weights.cumsum(1), (1, 0))
    both = cumulative.gather(1, first) + cumulative.gather(1, last)
    return both / 2 / cumulative[:, -1:]


def _variance(values: Tensor, weights: Tensor) -> Tensor:
    """Return the variance of a weighted mean of values in [0, 1], with a 0 and a 1 added."""
    total = weights.sum(1)
    mean = ((weights * values).sum(1) + 1) / (total + 2)
    square = ((weights * values**2).sum(1) + 1) / (total + 2)
    return (square - mean**2) / total

"""Contrasts of group rates (difference, ratio, ...): the gap's value, size and sampling error.

Sign: two groups give *unprivileged minus privileged* (group 0 minus group 1, AIF360's sign); more
groups give the largest rate minus the smallest. An empty denominator gives NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from fairfix.metrics.rates import Share


@dataclass(frozen=True)
class Difference:
    """Signed differences and their sampling variances, each (..., P)."""

    value: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Gap:
    """The gap that a metric measures on counts.

    Attributes:
        value: (...) as reported, signed where the metric has a sign; NaN if undefined.
        size: (...) what a budget limits, >= 0, 0 = no gap; NaN if undefined.
        parts: differences that all lie within ``bound(budget)`` exactly when size < budget; for
            more than two groups those of every pair, one group with all that follow at a time.
    """

    value: Tensor
    size: Tensor
    parts: tuple[Difference, ...]
    bound: Callable[[float], float] = float

    def probability_within(self, budget: float, k: float) -> Tensor:
        """P(true size < budget), (...), with each part normal around its estimate.

        The standard error is multiplied by ``k``: 1 for the true gap, sqrt(2) for the gap on
        another table of the same size. Parts are taken as independent, which errs on the safe side
        for pairs of groups: they share rows, so that they fit together more often. NaN counts as 0.
        """
        bound = self.bound(budget)
        probability = torch.ones_like(self.value)
        for part in self.parts:
            scale = k * part.variance.sqrt()
            inside = _normal_cdf((bound - part.value) / scale) - _normal_cdf(
                (-bound - part.value) / scale
            )
            probability = probability * inside.prod(-1)
        return probability.nan_to_num(0.0)


class Contrast(StrEnum):
    """How a metric compares the rates of groups.

    ``difference`` of one rate; ``mean_difference`` of the mean of two rates (opposite differences
    cancel); ``mean_absolute``: mean of the absolute differences of two rates; ``largest``: the
    larger absolute difference of several rates; ``ratio`` of one rate, with size
    1 - min(ratio, 1 / ratio).
    """

    DIFFERENCE = "difference"
    MEAN_DIFFERENCE = "mean_difference"
    MEAN_ABSOLUTE = "mean_absolute"
    LARGEST = "largest"
    RATIO = "ratio"

    @property
    def signed(self) -> bool:
        """Whether the value of two groups has a sign (or, for the ratio, a side of 1)."""
        return self not in (Contrast.MEAN_ABSOLUTE, Contrast.LARGEST)

    @property
    def n_rates(self) -> tuple[int, int]:
        """Smallest and largest number of rates that it compares."""
        if self in (Contrast.DIFFERENCE, Contrast.RATIO):
            return 1, 1
        return (2, 2) if self is not Contrast.LARGEST else (2, 8)

    def bound(self, budget: float) -> float:
        """Return the budget on the scale of the contrasts: a logarithm for the ratio."""
        return log_bound(budget) if self is Contrast.RATIO else budget


def gap_of(contrast: Contrast, shares: Sequence[Share]) -> Gap:
    """Compare the shares of each group, each (..., G)."""
    return _GAPS[contrast](shares)


def log_bound(budget: float) -> float:
    """Largest absolute logarithm of a ratio whose size is below ``budget``."""
    return -math.log1p(-budget)


def _normal_cdf(x: Tensor) -> Tensor:
    cdf: Tensor = torch.special.ndtr(x)
    return cdf


def _spread(value: Tensor) -> Tensor:
    """Group 0 minus group 1; for more groups, the largest minus the smallest."""
    if value.shape[-1] == 2:
        return value[..., 0] - value[..., 1]
    return value.amax(-1) - value.amin(-1)


def _pairs(value: Tensor, variance: Tensor) -> tuple[Difference, ...]:
    """The difference of every pair of groups; the largest has the size of the spread."""
    return tuple(
        Difference(
            value[..., i : i + 1] - value[..., i + 1 :],
            variance[..., i : i + 1] + variance[..., i + 1 :],
        )
        for i in range(value.shape[-1] - 1)
    )


def difference_gap(value: Tensor, variance: Tensor) -> Gap:
    """Return the gap of a figure of each group, (..., G), from its values and variances."""
    spread = _spread(value)
    return Gap(spread, spread.abs(), _pairs(value, variance))


def _difference(shares: Sequence[Share]) -> Gap:
    (share,) = shares
    return difference_gap(share.value, share.variance)


def _mean_difference(shares: Sequence[Share]) -> Gap:
    one, other = shares
    return difference_gap((one.value + other.value) / 2, (one.variance + other.variance) / 4)


def _mean_absolute(shares: Sequence[Share]) -> Gap:
    """Mean of the absolute differences.

    abs(a) + abs(b) = max(abs(a + b), abs(a - b)) gives the two parts. For more groups the extreme
    ones are random too, so the two largest variances count.
    """
    one, other = (_spread(share.value) for share in shares)
    value = (one.abs() + other.abs()) / 2
    both = torch.stack([one + other, one - other], -1) / 2
    variance = torch.cat([share.variance.topk(2, -1).values for share in shares], -1) / 4
    return Gap(value, value, (Difference(both, variance.sum(-1, keepdim=True).expand_as(both)),))


def _largest(shares: Sequence[Share]) -> Gap:
    gaps = [_difference([share]) for share in shares]
    value = gaps[0].size
    for gap in gaps[1:]:
        value = torch.maximum(value, gap.size)
    return Gap(value, value, tuple(part for gap in gaps for part in gap.parts))


def _ratio(shares: Sequence[Share]) -> Gap:
    """Unprivileged / privileged, or smallest / largest; its part is the logarithm of the ratio."""
    (share,) = shares
    value = share.value
    if value.shape[-1] == 2:
        ratio = value[..., 0] / value[..., 1]
    else:
        ratio = value.amin(-1) / value.amax(-1)
    size = 1 - torch.minimum(ratio, 1 / ratio)
    return Gap(ratio, size, _pairs(value.log(), share.log_variance), log_bound)


_GAPS: dict[Contrast, Callable[[Sequence[Share]], Gap]] = {
    Contrast.DIFFERENCE: _difference,
    Contrast.MEAN_DIFFERENCE: _mean_difference,
    Contrast.MEAN_ABSOLUTE: _mean_absolute,
    Contrast.LARGEST: _largest,
    Contrast.RATIO: _ratio,
}

"""Select the contrasts between many groups that can decide the limit of the largest one.

A metric of G groups has as many contrasts as pairs of groups, or as pairs of pairs. Only the
largest limit counts, and it lies between a group with a high and a group with a low rate. So the
limits of the contrasts between such groups are approximated from the limits of each rate
(square-and-add; exact limits are sums already), and only the largest are computed in full.

Source: Newcombe 1998; Zou and Donner 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fairfix.metrics.contrasts import Contrast
from fairfix.stats.intervals import Array, Limits, clopper_pearson, has_small_counts, wilson

MIN_GROUPS = 16
"""Fewest groups at each end whose contrasts are compared."""

Indices = NDArray[np.int64]
T = TypeVar("T", np.float64, np.bool_)


@dataclass(frozen=True)
class _Values:
    """Values by group that a contrast subtracts from another, (..., G) each.

    Attributes:
        rates: which rates a value is the mean of.
        reach: distances from the value to its limit as the first and as the second of a contrast.
        exact_limit: the exact limit of either.
        exact: where a contrast needs exact limits.
    """

    rates: tuple[int, ...]
    value: Array
    reach: tuple[Array, Array]
    exact_limit: tuple[Array, Array]
    exact: NDArray[np.bool_]


@dataclass(frozen=True)
class _Pairs:
    """Contrasts of pairs of groups, (..., P) each, and the rates in them, (..., P, C)."""

    index: Indices
    difference: Array
    reach: Array
    exact_limit: Array
    exact: NDArray[np.bool_]

    def largest(self, count: int, sign: float) -> _Pairs:
        """Return the ``count`` with the largest limits; an undefined limit counts as infinite."""
        limit = np.where(self.exact, self.exact_limit, self.difference + sign * self.reach)
        at = _largest(limit, count)
        return _Pairs(
            np.take_along_axis(self.index, at[..., None], -2),
            np.take_along_axis(self.difference, at, -1),
            np.take_along_axis(self.reach, at, -1),
            np.take_along_axis(self.exact_limit, at, -1),
            np.take_along_axis(self.exact, at, -1),
        )


@cache
def all_contrasts(contrast: Contrast, rates: int, groups: int) -> Indices:
    """Return the rates (rate * G + group) in each contrast, (K, C)."""
    pairs = np.array(list(combinations(range(groups), 2)))
    if contrast is Contrast.MEAN_DIFFERENCE:
        return np.hstack([pairs, pairs + groups])
    if contrast is Contrast.MEAN_ABSOLUTE:
        other = np.stack([pairs, pairs[:, ::-1]], 1).reshape(-1, 2) + groups
        return np.hstack([np.repeat(pairs, len(other), 0), np.tile(other, (len(pairs), 1))])
    return np.vstack([pairs + rate * groups for rate in range(rates)])


def number_of_contrasts(contrast: Contrast, rates: int, groups: int) -> int:
    """Return the number of contrasts between groups."""
    pairs = math.comb(groups, 2)
    if contrast is Contrast.MEAN_ABSOLUTE:
        return 2 * pairs**2
    return pairs * rates if contrast is Contrast.LARGEST else pairs


def binding_contrasts(
    hits: Array,
    trials: Array,
    contrast: Contrast,
    alpha: float,
    count: int,
    *,
    min_rows: int,
    lower: bool = False,
    exact: bool = False,
) -> Indices:
    """Return the contrasts with the largest approximate upper limits.

    Args:
        hits, trials: (..., R, G) rows of R rates and G groups.
        contrast: how the rates are compared.
        alpha: error of each side, in (0, 0.5).
        count: largest number K of contrasts.
        min_rows: fewest rows of a rate with which score limits are used.
        lower: select by the lower limit instead.
        exact: use exact limits everywhere.

    Returns:
        (..., K, C) indices (rate * G + group) of the rates in each contrast.
    """
    width = 2 if contrast in (Contrast.MEAN_DIFFERENCE, Contrast.MEAN_ABSOLUTE) else 1
    small = has_small_counts(hits, trials) | (trials < min_rows) | exact
    with np.errstate(invalid="ignore", divide="ignore"):
        value, score = hits / trials, wilson(hits, trials, alpha)
        exact_limits = _exact_limits(hits, trials, alpha / (2 * width)) if small.any() else score
        limits = [score.low, score.high, exact_limits.low, exact_limits.high]
        if contrast is Contrast.RATIO:
            value, *limits = (np.log(side) for side in (value, *limits))
        low, high, exact_low, exact_high = limits
        up, down, sign = high - value, value - low, 1.0
        if lower:
            up, down, exact_low, exact_high, sign = down, up, exact_high, exact_low, -1.0
        rates = range(hits.shape[-2])
        values = [
            _Values(
                (r,),
                value[..., r, :],
                (up[..., r, :], down[..., r, :]),
                (exact_high[..., r, :], exact_low[..., r, :]),
                small[..., r, :],
            )
            for r in rates
        ]
        if contrast is Contrast.MEAN_DIFFERENCE:
            values = [_mean(values[0], values[1])]
        each = max(MIN_GROUPS, math.isqrt(count)) if contrast is Contrast.MEAN_ABSOLUTE else count
        pairs = [_pairs(v, each, sign) for v in values]
        if contrast is Contrast.MEAN_ABSOLUTE:
            return _products(pairs[0], pairs[1]).largest(count, sign).index
        return _joined(pairs).largest(count, sign).index


def _exact_limits(hits: Array, trials: Array, alpha: float) -> Limits:
    """Return Clopper-Pearson limits (...), each different rate computed once."""
    rates, inverse = np.unique(hits + 1j * trials, return_inverse=True)
    low, high = clopper_pearson(rates.real, rates.imag, alpha)
    inverse = inverse.reshape(hits.shape)
    return Limits(low[inverse], high[inverse])


def _mean(one: _Values, other: _Values) -> _Values:
    (up, down), (other_up, other_down) = one.reach, other.reach
    (high, low), (other_high, other_low) = one.exact_limit, other.exact_limit
    return _Values(
        one.rates + other.rates,
        (one.value + other.value) / 2,
        (np.hypot(up, other_up) / 2, np.hypot(down, other_down) / 2),
        ((high + other_high) / 2, (low + other_low) / 2),
        one.exact | other.exact,
    )


def _pairs(values: _Values, count: int, sign: float) -> _Pairs:
    """Return the contrasts with the largest limits between groups at both ends."""
    groups = values.value.shape[-1]
    count = min(count, groups * (groups - 1))
    ends = min(groups, max(MIN_GROUPS, math.isqrt(count) + 2))  # more than ``count`` pairs
    share = sign * math.sqrt(0.5)  # of a reach, in the contrast of two equal ones
    (up, down), (first_exact, second_exact) = values.reach, values.exact_limit
    first = _largest(np.where(values.exact, first_exact, values.value + share * up), ends)
    second = _largest(np.where(values.exact, -second_exact, share * down - values.value), ends)

    def crossed(one: NDArray[T], other: NDArray[T]) -> tuple[NDArray[T], NDArray[T]]:
        return (
            np.take_along_axis(one, first, -1)[..., :, None],
            np.take_along_axis(other, second, -1)[..., None, :],
        )

    one, other = crossed(values.value, values.value)
    same = first[..., :, None] == second[..., None, :]
    difference = np.where(same, -np.inf, one - other)
    reach = np.where(same, 0.0, np.hypot(*crossed(up, down)))
    one, other = crossed(first_exact, second_exact)
    exact_limit = np.where(same, -np.inf, one - other)
    exact = np.logical_or(*crossed(values.exact, values.exact))
    index = np.stack(
        [
            np.broadcast_to(r * groups + group, same.shape)
            for r in values.rates
            for group in (first[..., :, None], second[..., None, :])
        ],
        -1,
    )
    flat = (*same.shape[:-2], ends * ends)
    return _Pairs(
        index.reshape(*flat, -1),
        difference.reshape(flat),
        reach.reshape(flat),
        exact_limit.reshape(flat),
        exact.reshape(flat),
    ).largest(count, sign)


def _products(one: _Pairs, other: _Pairs) -> _Pairs:
    """Return the mean of every pair of contrasts, one of each of two rates."""
    shape = (*one.difference.shape, other.difference.shape[-1])
    flat = (*shape[:-2], shape[-2] * shape[-1])

    def crossed(a: NDArray[T], b: NDArray[T]) -> tuple[NDArray[T], NDArray[T]]:
        return a[..., :, None], b[..., None, :]

    first, second = one.index[..., :, None, :], other.index[..., None, :, :]
    index = np.concatenate(
        [np.broadcast_to(side, (*shape, side.shape[-1])) for side in (first, second)], -1
    )
    exact = np.logical_or(*crossed(one.exact, other.exact))
    difference = np.add(*crossed(one.difference, other.difference)) / 2
    exact_limit = np.add(*crossed(one.exact_limit, other.exact_limit)) / 2
    reach = np.hypot(*crossed(one.reach, other.reach)) / 2
    return _Pairs(
        index.reshape(*flat, -1),
        difference.reshape(flat),
        reach.reshape(flat),
        exact_limit.reshape(flat),
        exact.reshape(flat),
    )


def _joined(pairs: Sequence[_Pairs]) -> _Pairs:
    """Return the contrasts of several rates."""
    return _Pairs(
        np.concatenate([p.index for p in pairs], -2),
        np.concatenate([p.difference for p in pairs], -1),
        np.concatenate([p.reach for p in pairs], -1),
        np.concatenate([p.exact_limit for p in pairs], -1),
        np.concatenate([p.exact for p in pairs], -1),
    )


def _largest(values: Array, count: int) -> Indices:
    """Return the indices of the largest values along the last axis; undefined ones come first."""
    if count >= values.shape[-1]:
        return np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    ascending = -np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return np.argpartition(ascending, count - 1, axis=-1)[..., :count]

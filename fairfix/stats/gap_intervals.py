"""How large a gap between groups may be, and must be, given the rows: intervals of every metric.

Each metric is the largest of some contrasts of independent shares in size: of one rate, or two,
between the two groups or between every pair of more. So the gap lies within a budget when every
contrast does, which needs no correction (intersection-union), and beyond it when one does, which
does (Bonferroni over the contrasts; for "any of them" it is Holm's).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from fairfix.metrics.counts import Counts
from fairfix.metrics.gaps import Contrast, log_bound
from fairfix.metrics.registry import METRICS
from fairfix.stats.intervals import (
    SCORE,
    STRICT,
    Array,
    Limits,
    contrast,
    contrast_z,
    half_step,
    pick,
    ratio,
    ratio_z,
    small,
    strict_contrast,
    strict_ratio,
)

FEWEST = 30
"""Effective rows behind a rate below which a group shows nothing of a gap being small."""

Pair = tuple[int, int]


def array(values: Tensor | float) -> Array:
    """Values as float64, wherever they are."""
    return np.asarray(torch.as_tensor(values).detach().cpu().numpy(), dtype=np.float64)


def _one_rate(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return list(pairs)


def _mean_of_rates(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [(i, j, groups + i, groups + j) for i, j in pairs]


def _mean_of_sizes(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [
        (i, j, groups + k, groups + m)
        for (i, j), other in product(pairs, pairs)
        for k, m in (other, other[::-1])
    ]


def _any_rate(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [(at + i, at + j) for at in range(0, rates * groups, groups) for i, j in pairs]


_CONTRASTED: dict[Contrast, Callable[[list[Pair], int, int], list[tuple[int, ...]]]] = {
    Contrast.DIFFERENCE: _one_rate,
    Contrast.RATIO: _one_rate,
    Contrast.MEAN_DIFFERENCE: _mean_of_rates,
    Contrast.MEAN_ABSOLUTE: _mean_of_sizes,
    Contrast.LARGEST: _any_rate,
}
"""The cells (rate * G + group) that meet in each contrast of a metric."""


@dataclass(frozen=True)
class Cells:
    """The shares that a metric is made of.

    Attributes:
        hits, trials: (..., R, G), R rates of G groups, in effective rows.
        contrasts: (K, C) which of the R * G shares meet in each contrast.
        ratio: a contrast is the logarithm of the ratio of two shares, else a sum with
            coefficients 1, -1, or .5, -.5, .5, -.5.
    """

    hits: Array
    trials: Array
    contrasts: NDArray[np.int64]
    ratio: bool

    @classmethod
    def of(cls, metric: str, counts: Counts) -> Cells:
        """The shares behind a metric, by its key, of counts (..., G)."""
        entry = METRICS[metric]
        groups = counts.tp.shape[-1]
        pairs = list(combinations(range(groups), 2))
        effect = array(counts.design_effect)
        rates = [rate(counts) for rate in entry.rates]
        hits, trials = (
            np.stack([array(side) / effect for side in sides], axis=-2)
            for sides in ([r.hits for r in rates], [r.trials for r in rates])
        )
        contrasts = _CONTRASTED[entry.contrast](pairs, groups, len(rates))
        return cls(hits, trials, np.array(contrasts), entry.ratio)

    @property
    def coefficients(self) -> Array:
        width = self.contrasts.shape[-1]
        return np.asarray(np.tile([1.0, -1.0], width // 2) / (width // 2))

    @property
    def signed(self) -> bool:
        """Whether the metric has a sign: it is one contrast."""
        return len(self.contrasts) == 1

    def gathered(self) -> tuple[Array, Array]:
        """Hits and trials of each contrast, (..., K, C)."""
        hits, trials = (a.reshape(*a.shape[:-2], -1) for a in (self.hits, self.trials))
        return hits[..., self.contrasts], trials[..., self.contrasts]

    def thin(self) -> NDArray[np.bool_]:
        """Whether some rate rests on fewer than 30 rows, (...)."""
        return np.asarray((self.trials < FEWEST).any((-1, -2)))

    def strictly(self) -> NDArray[np.bool_]:
        """Contrasts (..., K) that score limits do not suit: few rows, hits or misses."""
        hits, trials = self.gathered()
        return np.asarray((small(hits, trials) | (trials < FEWEST)).any(-1))

    def estimate(self) -> Array:
        """Every contrast as seen, (..., K)."""
        hits, trials = self.gathered()
        with np.errstate(invalid="ignore", divide="ignore"):
            share = hits / trials
            if self.ratio:
                return np.asarray(np.log(share[..., 0] / share[..., 1]))
        return np.asarray((self.coefficients * share).sum(-1))

    def bound(self, budget: float) -> float:
        """What every contrast stays within when the gap is below ``budget``."""
        return log_bound(budget) if self.ratio else budget

    def limits(self, alpha: float, *, strict: bool = False) -> Limits:
        """Limits of every contrast, (..., K)."""
        hits, trials = self.gathered()
        if strict:
            return self._strict_limits(hits, trials, alpha)
        score = self._score_limits(hits, trials, alpha)
        few = self.strictly()
        if not few.any():
            return score
        return pick(few, self._strict_limits(hits, trials, alpha), score)

    def _score_limits(self, hits: Array, trials: Array, alpha: float) -> Limits:
        step = self._step(trials)
        if self.ratio:
            return _log(ratio(hits, trials, alpha, step=step))
        low, high = contrast(hits, trials, self.coefficients, alpha)
        return Limits(np.maximum(low - step, -1.0), np.minimum(high + step, 1.0))

    def _step(self, trials: Array) -> Array:
        """Half of the step between sums that can be seen; of four shares none worth a word."""
        return half_step(trials) if trials.shape[-1] == 2 else np.zeros(trials.shape[:-1])

    def _strict_limits(self, hits: Array, trials: Array, alpha: float | Array) -> Limits:
        if self.ratio:
            return _log(strict_ratio(hits, trials, alpha))
        return strict_contrast(hits, trials, self.coefficients, alpha)

    def p_values(self, bound: float, *, strict: bool = False) -> Array:
        """One-sided p-values of "the size of the contrast is at most ``bound``", (..., K)."""
        hits, trials = self.gathered()
        sign = np.where(self.estimate() >= 0, 1.0, -1.0)
        step = sign * self._step(trials)
        if self.ratio:
            z = ratio_z(hits, trials, np.exp(sign * bound), step=step)
        else:
            z = contrast_z(hits, trials, self.coefficients, sign * bound + step)
        few = np.ones_like(z, bool) if strict else self.strictly()
        exact = self._strict_p_values(hits, trials, bound) if few.any() else z
        return np.where(few, exact, special.ndtr(-sign * z))

    def _strict_p_values(self, hits: Array, trials: Array, bound: float) -> Array:
        """The alpha at which the exact limits reach the bound; 1 where none up to .5 does."""
        shape = hits.shape[:-1]
        low, high = np.full(shape, -300.0), np.full(shape, math.log(0.5))
        for _ in range(45):
            middle = (low + high) / 2
            limits = self._strict_limits(hits, trials, np.exp(middle))
            beyond = (limits.low >= bound) | (limits.high <= -bound)
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        found = np.where(high == math.log(0.5), 1.0, np.exp(high))
        return np.where(np.isnan(self.estimate()), np.nan, found)

    def method(self, *, strict: bool = False) -> str:
        """The name of what ``limits`` does."""
        few = np.ones(1, bool) if strict else self.strictly()
        if few.all():
            return STRICT
        name = (
            f"{SCORE}, continuity-corrected"
            if self.contrasts.shape[-1] == 2
            else "score of four rates"
        )
        return f"{name}, {STRICT} where rows are few" if few.any() else name


def most(cells: Cells, alpha: float, *, strict: bool = False) -> Array:
    """The size, (...), that the gap is shown to be below, in the units of ``Cells.bound``."""
    low, high = cells.limits(alpha, strict=strict)
    return np.asarray(np.maximum(abs(low), abs(high)).max(-1))


def least(cells: Cells, alpha: float, *, strict: bool = False) -> Array:
    """The size, (...), that the gap is shown to be above, in the same units; 0 if none."""
    low, high = cells.limits(alpha / len(cells.contrasts), strict=strict)
    return np.asarray(np.maximum(np.maximum(low, -high), 0.0).max(-1))


def certified(cells: Cells, budget: float, alpha: float, *, strict: bool = False) -> NDArray[Any]:
    """Whether the gap is shown to be below the budget, (...); never with few rows."""
    return np.asarray(~cells.thin() & (most(cells, alpha, strict=strict) < cells.bound(budget)))


def violated(cells: Cells, budget: float, alpha: float, *, strict: bool = False) -> NDArray[Any]:
    """Whether the gap is shown to be at the budget or above, (...)."""
    return np.asarray(least(cells, alpha, strict=strict) >= cells.bound(budget))


def p_violated(cells: Cells, budget: float, *, strict: bool = False) -> Array:
    """p-value, (...), of "the gap is at most the budget", corrected for the contrasts."""
    each = cells.p_values(cells.bound(budget), strict=strict)
    return np.asarray(np.fmin(len(cells.contrasts) * np.fmin.reduce(each, axis=-1), 1.0))


def limits(cells: Cells, alpha: float, *, strict: bool = False) -> Limits:
    """Limits of the metric as it is reported, (...), which hold together with 1 - 2 alpha."""
    if cells.signed:
        low, high = (side[..., 0] for side in cells.limits(alpha, strict=strict))
    else:
        low, high = least(cells, alpha, strict=strict), most(cells, alpha, strict=strict)
        low, high = (-high, -low) if cells.ratio else (low, high)
    return Limits(np.exp(low), np.exp(high)) if cells.ratio else Limits(low, high)


def _log(limits: Limits) -> Limits:
    with np.errstate(divide="ignore"):
        return Limits(np.log(limits.low), np.log(limits.high))

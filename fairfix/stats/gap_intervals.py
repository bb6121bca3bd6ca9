"""Confidence limits and tests of fairness metrics, for any number of groups.

The size of a metric is the largest absolute value of some contrasts of independent rates: of one
rate or two, between the two groups or between every pair of groups. So the gap is within a budget
if every contrast is, which needs no correction (intersection-union test), and beyond it if any
contrast is, which needs one (Bonferroni over the contrasts; for "any of them" this equals Holm's).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from fairfix.metrics.contrasts import Contrast, log_bound
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    MIETTINEN_NURMINEN,
    Array,
    Limits,
    continuity_correction,
    contrast_limits,
    contrast_z,
    exact_contrast_limits,
    exact_ratio_limits,
    few_clusters_alpha,
    few_clusters_p,
    has_small_counts,
    ratio_limits,
    ratio_z,
    select_limits,
)

MIN_ROWS = 30
"""Fewest effective rows behind a rate with which a gap can be certified."""

MIN_CLUSTERS = 10
"""Fewest clusters of rows behind a rate, likewise."""

Pair = tuple[int, int]


def to_array(values: Tensor | float) -> Array:
    """Return values on any device as a float64 array."""
    return np.asarray(torch.as_tensor(values).detach().cpu().numpy(), dtype=np.float64)


def _one_rate(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return list(pairs)


def _mean_of_differences(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [(i, j, groups + i, groups + j) for i, j in pairs]


def _mean_of_sizes(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [
        (i, j, groups + k, groups + m)
        for (i, j), other in product(pairs, pairs)
        for k, m in (other, other[::-1])
    ]


def _any_rate(pairs: list[Pair], groups: int, rates: int) -> list[tuple[int, ...]]:
    return [(at + i, at + j) for at in range(0, rates * groups, groups) for i, j in pairs]


_CONTRAST_INDICES: dict[Contrast, Callable[[list[Pair], int, int], list[tuple[int, ...]]]] = {
    Contrast.DIFFERENCE: _one_rate,
    Contrast.RATIO: _one_rate,
    Contrast.MEAN_DIFFERENCE: _mean_of_differences,
    Contrast.MEAN_ABSOLUTE: _mean_of_sizes,
    Contrast.LARGEST: _any_rate,
}
"""From pairs of groups, G and R to the rates (rate * G + group) of each contrast."""


@dataclass(frozen=True)
class MetricRates:
    """The rates by group that a metric compares, and the contrasts between them.

    Attributes:
        hits, trials: (..., R, G) effective rows of R rates and G groups.
        contrasts: (K, C) which of the R * G rates are in each contrast.
        ratio: whether a contrast is the logarithm of the ratio of two rates; otherwise it is a sum
            with coefficients 1, -1, or .5, -.5, .5, -.5.
        clusters: (R, G) clusters of rows behind each rate; infinite for independent rows.
        inflation: (K,) factor by which clusters that several rates share increase the variance of
            a contrast beyond the design effects of its rates.
    """

    hits: Array
    trials: Array
    contrasts: NDArray[np.int64]
    ratio: bool
    clusters: Array | float = math.inf
    inflation: Array | float = 1.0

    @classmethod
    def from_counts(cls, metric: str, counts: Counts) -> MetricRates:
        """Return the rates behind a metric, by its key, for counts (..., G)."""
        entry = METRICS[metric]
        groups = counts.tp.shape[-1]
        pairs = list(combinations(range(groups), 2))
        rates = [rate(counts) for rate in entry.rates]
        effects = [to_array(rate.design_effect) for rate in rates]
        hits, trials = (
            np.stack([to_array(s) / effect for s, effect in zip(sides, effects, strict=True)], -2)
            for sides in ([r.hits for r in rates], [r.trials for r in rates])
        )
        contrasts = _CONTRAST_INDICES[entry.contrast](pairs, groups, len(rates))
        found = cls(hits, trials, np.array(contrasts), entry.ratio)
        if counts.clusters is None:
            return found
        cells = [(rate.hits, rate.trials) for rate in entry.rates]
        return replace(
            found,
            clusters=np.stack([to_array(counts.clusters.number(among)) for _, among in cells]),
            inflation=found._inflation(to_array(counts.clusters.covariance(cells))),
        )

    def _inflation(self, covariance: Array) -> Array:
        """Return ``inflation`` from the covariance of the rates, (R * G, R * G)."""
        hits, trials = (side.reshape(-1)[self.contrasts] for side in (self.hits, self.trials))
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = hits / trials
            slopes = self.coefficients / (rates if self.ratio else np.ones_like(rates))
            separate = (slopes**2 * rates * (1 - rates) / trials).sum(-1)
            between = covariance[self.contrasts[:, :, None], self.contrasts[:, None, :]]
            together = np.einsum("ki,kij,kj->k", slopes, between, slopes)
            factor = together / separate
        return np.where(np.isfinite(factor), np.maximum(factor, 1.0), 1.0)

    @property
    def coefficients(self) -> Array:
        """Coefficients of the rates in a contrast, (C,)."""
        width = self.contrasts.shape[-1]
        return np.asarray(np.tile([1.0, -1.0], width // 2) / (width // 2))

    @property
    def signed(self) -> bool:
        """Whether the metric has a sign, being a single contrast."""
        return len(self.contrasts) == 1

    def by_contrast(self) -> tuple[Array, Array]:
        """Return hits and trials of the rates in each contrast, (..., K, C) each."""
        hits, trials = (a.reshape(*a.shape[:-2], -1) for a in (self.hits, self.trials))
        inflation = np.asarray(self.inflation)[..., None]
        return hits[..., self.contrasts] / inflation, trials[..., self.contrasts] / inflation

    def has_too_few_rows(self) -> NDArray[np.bool_]:
        """Return whether any rate has fewer than 30 effective rows or 10 clusters, (...)."""
        few = (self.trials < MIN_ROWS).any((-1, -2))
        return np.asarray(few | bool(np.min(self.clusters) < MIN_CLUSTERS))

    def needs_exact(self) -> NDArray[np.bool_]:
        """Return the contrasts (..., K) with too few rows, hits or misses for score limits."""
        hits, trials = self.by_contrast()
        return np.asarray((has_small_counts(hits, trials) | (trials < MIN_ROWS)).any(-1))

    def estimates(self) -> Array:
        """Return the observed contrasts, (..., K)."""
        hits, trials = self.by_contrast()
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = hits / trials
            if self.ratio:
                return np.asarray(np.log(rates[..., 0] / rates[..., 1]))
        return np.asarray((self.coefficients * rates).sum(-1))

    def bound(self, budget: float) -> float:
        """Return the budget on the scale of the contrasts."""
        return log_bound(budget) if self.ratio else budget

    def limits(self, alpha: float, *, exact: bool = False) -> Limits:
        """Return limits of every contrast, (..., K)."""
        hits, trials = self.by_contrast()
        alpha = few_clusters_alpha(alpha, float(np.min(self.clusters)))
        if exact:
            return self._exact_limits(hits, trials, alpha)
        score = self._score_limits(hits, trials, alpha)
        needs_exact = self.needs_exact()
        if not needs_exact.any():
            return score
        return select_limits(needs_exact, self._exact_limits(hits, trials, alpha), score)

    def _score_limits(self, hits: Array, trials: Array, alpha: float) -> Limits:
        correction = self._correction(trials)
        if self.ratio:
            return _log(ratio_limits(hits, trials, alpha, correction=correction))
        low, high = contrast_limits(hits, trials, self.coefficients, alpha)
        return Limits(np.maximum(low - correction, -1.0), np.minimum(high + correction, 1.0))

    def _correction(self, trials: Array) -> Array:
        """Return the continuity correction; 0 for four rates, whose steps are negligible."""
        if trials.shape[-1] == 2:
            return continuity_correction(trials)
        return np.zeros(trials.shape[:-1])

    def _exact_limits(self, hits: Array, trials: Array, alpha: float | Array) -> Limits:
        if self.ratio:
            return _log(exact_ratio_limits(hits, trials, alpha))
        return exact_contrast_limits(hits, trials, self.coefficients, alpha)

    def p_values(self, bound: float, *, exact: bool = False) -> Array:
        """Return one-sided p-values of "the absolute contrast is at most ``bound``", (..., K)."""
        hits, trials = self.by_contrast()
        sign = np.where(self.estimates() >= 0, 1.0, -1.0)
        correction = sign * self._correction(trials)
        if self.ratio:
            z = ratio_z(hits, trials, np.exp(sign * bound), correction=correction)
        else:
            z = contrast_z(hits, trials, self.coefficients, sign * bound + correction)
        use_exact = np.ones_like(z, bool) if exact else self.needs_exact()
        exact_p = self._exact_p_values(hits, trials, bound) if use_exact.any() else z
        p = np.where(use_exact, exact_p, special.ndtr(-sign * z))
        return few_clusters_p(p, float(np.min(self.clusters)))

    def _exact_p_values(self, hits: Array, trials: Array, bound: float) -> Array:
        """Return the alpha at which the exact limits reach the bound; 1 if none below .5 does."""
        shape = hits.shape[:-1]
        low, high = np.full(shape, -300.0), np.full(shape, math.log(0.5))
        for _ in range(45):
            middle = (low + high) / 2
            limits = self._exact_limits(hits, trials, np.exp(middle))
            beyond = (limits.low >= bound) | (limits.high <= -bound)
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        p_values = np.where(high == math.log(0.5), 1.0, np.exp(high))
        return np.where(np.isnan(self.estimates()), np.nan, p_values)

    def method(self, *, exact: bool = False) -> str:
        """Return the name of the method of ``limits``."""
        use_exact = np.ones(1, bool) if exact else self.needs_exact()
        if use_exact.all():
            return CLOPPER_PEARSON
        name = (
            f"{MIETTINEN_NURMINEN}, continuity-corrected"
            if self.contrasts.shape[-1] == 2
            else "score of four rates"
        )
        return f"{name}, {CLOPPER_PEARSON} where rows are few" if use_exact.any() else name


def size_upper_limit(rates: MetricRates, alpha: float, *, exact: bool = False) -> Array:
    """Return the upper confidence limit of the gap's size, (...), on the scale of the contrasts."""
    low, high = rates.limits(alpha, exact=exact)
    return np.asarray(np.maximum(abs(low), abs(high)).max(-1))


def size_lower_limit(rates: MetricRates, alpha: float, *, exact: bool = False) -> Array:
    """Return the lower confidence limit of the gap's size, (...), >= 0, on the same scale."""
    low, high = rates.limits(alpha / len(rates.contrasts), exact=exact)
    return np.asarray(np.maximum(np.maximum(low, -high), 0.0).max(-1))


def certified(
    rates: MetricRates, budget: float, alpha: float, *, exact: bool = False
) -> NDArray[Any]:
    """Return whether the gap is significantly below the budget, (...); never with few rows."""
    upper = size_upper_limit(rates, alpha, exact=exact)
    return np.asarray(~rates.has_too_few_rows() & (upper < rates.bound(budget)))


def violated(
    rates: MetricRates, budget: float, alpha: float, *, exact: bool = False
) -> NDArray[Any]:
    """Return whether the gap is significantly at or above the budget, (...)."""
    return np.asarray(size_lower_limit(rates, alpha, exact=exact) >= rates.bound(budget))


def p_violated(rates: MetricRates, budget: float, *, exact: bool = False) -> Array:
    """Return the p-value of "the gap is at most the budget", (...), Bonferroni-corrected."""
    p_values = rates.p_values(rates.bound(budget), exact=exact)
    return np.asarray(np.fmin(len(rates.contrasts) * np.fmin.reduce(p_values, axis=-1), 1.0))


def metric_limits(rates: MetricRates, alpha: float, *, exact: bool = False) -> Limits:
    """Return limits of the metric as reported, (...), with joint confidence 1 - 2 alpha."""
    if rates.signed:
        low, high = (side[..., 0] for side in rates.limits(alpha, exact=exact))
    else:
        low = size_lower_limit(rates, alpha, exact=exact)
        high = size_upper_limit(rates, alpha, exact=exact)
        low, high = (-high, -low) if rates.ratio else (low, high)
    return Limits(np.exp(low), np.exp(high)) if rates.ratio else Limits(low, high)


def _log(limits: Limits) -> Limits:
    with np.errstate(divide="ignore"):
        return Limits(np.log(limits.low), np.log(limits.high))

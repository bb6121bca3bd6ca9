"""Confidence limits and tests of fairness metrics, for any number of groups.

The size of a metric is the largest absolute value of some contrasts of independent rates: of one
rate or two, between the two groups or between every pair of groups. So the gap is within a budget
if every contrast is, which needs no correction (intersection-union test), and beyond it if any
contrast is, which needs one (Bonferroni over the contrasts; for "any of them" this equals Holm's).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.binding_contrasts import all_contrasts, binding_contrasts, number_of_contrasts
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
    ratio_limits_within,
    ratio_z,
    select_limits,
)

MIN_ROWS = 30
"""Fewest effective rows behind a rate with which a gap can be certified."""

MIN_CLUSTERS = 10
"""Fewest clusters of rows behind a rate, likewise."""

_ANY_ALPHA = 0.05
"""Error for which contrasts are selected where no limit is computed."""


def to_array(values: Tensor | float) -> Array:
    """Return values on any device as a float64 array."""
    return np.asarray(torch.as_tensor(values).detach().cpu().numpy(), dtype=np.float64)


MAX_CONTRASTS = 2**14
"""Most contrasts that are computed in full, over all tables at once."""

CONTRASTS = 8, 2**11
"""Fewest and most contrasts of one table that are computed in full."""


@dataclass(frozen=True)
class _Dependence:
    """Dependence of rates on the same clusters of rows.

    Attributes:
        slopes: (R * G,) derivative of a contrast by each rate, but for its coefficient.
        separate: (R * G,) variances of the rates, with their design effects.
        covariance: (R * G, R * G) of the rates.
    """

    slopes: Array
    separate: Array
    covariance: Array

    @classmethod
    def of(cls, hits: Array, trials: Array, covariance: Array, *, ratio: bool) -> _Dependence:
        """Return the dependence of rates (R, G) with this covariance."""
        hits, trials = hits.reshape(-1), trials.reshape(-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = hits / trials
            slopes = 1 / rates if ratio else np.ones_like(rates)
            return cls(slopes, rates * (1 - rates) / trials, covariance)

    def inflation(self, contrasts: NDArray[np.int64], coefficients: Array) -> Array:
        """Return the factor on the variance of each contrast, (..., K), at least 1.

        Clusters that several rates share increase the variance beyond the design effects.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            slopes = coefficients * self.slopes[contrasts]
            separate = (slopes**2 * self.separate[contrasts]).sum(-1)
            between = self.covariance[contrasts[..., :, None], contrasts[..., None, :]]
            together = np.einsum("...i,...ij,...j->...", slopes, between, slopes)
            factor = together / separate
        return np.where(np.isfinite(factor), np.maximum(factor, 1.0), 1.0)


@dataclass(frozen=True)
class MetricRates:
    """The rates by group that a metric compares, and the contrasts between them.

    Attributes:
        hits, trials: (..., R, G) effective rows of R rates and G groups.
        contrast: how the rates are compared. A contrast is the logarithm of the ratio of two rates,
            or a sum with coefficients 1, -1, or .5, -.5, .5, -.5.
        chosen: (..., K, C) which of the R * G rates are in each contrast considered; None: all.
        clusters: (R, G) clusters of rows behind each rate; infinite for independent rows.
        dependence: of the rates on the same clusters; None for independent rows.
    """

    hits: Array
    trials: Array
    contrast: Contrast
    chosen: NDArray[np.int64] | None = None
    clusters: Array | float = math.inf
    dependence: _Dependence | None = None

    @classmethod
    def from_counts(cls, metric: str, counts: Counts) -> MetricRates:
        """Return the rates behind a metric, by its key, for counts (..., G)."""
        entry = METRICS[metric]
        rates = [rate(counts) for rate in entry.rates]
        effects = [to_array(rate.design_effect) for rate in rates]
        hits, trials = (
            np.stack([to_array(s) / effect for s, effect in zip(sides, effects, strict=True)], -2)
            for sides in ([r.hits for r in rates], [r.trials for r in rates])
        )
        found = cls(hits, trials, entry.contrast)
        if counts.clusters is None:
            return found
        cells = [(rate.hits, rate.trials) for rate in entry.rates]
        covariance = to_array(counts.clusters.covariance(cells))
        return replace(
            found,
            clusters=np.stack([to_array(counts.clusters.number(among)) for _, among in cells]),
            dependence=_Dependence.of(hits, trials, covariance, ratio=entry.ratio),
        )

    @property
    def contrasts(self) -> NDArray[np.int64]:
        """Which of the R * G rates are in each contrast considered, (K, C) or (..., K, C)."""
        if self.chosen is not None:
            return self.chosen
        return all_contrasts(self.contrast, *self.hits.shape[-2:])

    @property
    def n_contrasts(self) -> int:
        """Number of all contrasts, whether or not they are considered."""
        return number_of_contrasts(self.contrast, *self.hits.shape[-2:])

    @property
    def ratio(self) -> bool:
        """Whether a contrast is the logarithm of a ratio."""
        return self.contrast is Contrast.RATIO

    def binding(self, alpha: float, *, lower: bool = False, exact: bool = False) -> MetricRates:
        """Return the same rates with those contrasts that can have the largest limit.

        These are all, if they are at most 2,048, and at most 16,384 over all tables.

        Args:
            lower: for the largest lower limit, rather than the largest upper one.
        """
        tables = max(1, math.prod(self.hits.shape[:-2]))
        most = min(max(CONTRASTS[0], MAX_CONTRASTS // tables), CONTRASTS[1])
        if self.chosen is not None or self.n_contrasts <= most:
            return self
        found = binding_contrasts(
            self.hits,
            self.trials,
            self.contrast,
            alpha,
            most,
            min_rows=MIN_ROWS,
            lower=lower,
            exact=exact,
        )
        return replace(self, chosen=found)

    @property
    def coefficients(self) -> Array:
        """Coefficients of the rates in a contrast, (C,)."""
        width = self.contrasts.shape[-1]
        return np.asarray(np.tile([1.0, -1.0], width // 2) / (width // 2))

    @property
    def signed(self) -> bool:
        """Whether the metric has a sign, being a single contrast."""
        return self.n_contrasts == 1

    @property
    def size(self) -> Array:
        """The largest absolute contrast observed, (...)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            values = self.hits / self.trials
            if self.ratio:
                values = np.log(values)
            if self.contrast is Contrast.MEAN_DIFFERENCE:
                values = values.mean(-2, keepdims=True)
            spreads = values.max(-1) - values.min(-1)
        mean = self.contrast is Contrast.MEAN_ABSOLUTE
        return np.asarray(spreads.mean(-1) if mean else spreads.max(-1))

    def by_contrast(self) -> tuple[Array, Array]:
        """Return hits and trials of the rates in each contrast, (..., K, C) each."""
        hits, trials = (a.reshape(*a.shape[:-2], -1) for a in (self.hits, self.trials))
        contrasts = self.contrasts
        if contrasts.ndim == 2:
            hits, trials = hits[..., contrasts], trials[..., contrasts]
        else:
            flat = contrasts.reshape(*contrasts.shape[:-2], -1)
            chosen = (np.take_along_axis(side, flat, -1) for side in (hits, trials))
            hits, trials = (side.reshape(contrasts.shape) for side in chosen)
        inflation = np.asarray(self.inflation)[..., None]
        return hits / inflation, trials / inflation

    @property
    def inflation(self) -> Array | float:
        """Factor by which shared clusters increase the variance of each contrast, (..., K)."""
        if self.dependence is None:
            return 1.0
        return self.dependence.inflation(self.contrasts, self.coefficients)

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

    def within(self, bound: float, alpha: float, *, exact: bool = False) -> NDArray[np.bool_]:
        """Return whether both limits of every contrast are within a bound, (..., K).

        The limits of ratios are found by many tests, of which two decide this.
        """
        if exact or not self.ratio:
            low, high = self.limits(alpha, exact=exact)
            return np.asarray((low > -bound) & (high < bound))
        hits, trials = self.by_contrast()
        alpha = few_clusters_alpha(alpha, float(np.min(self.clusters)))
        correction = self._correction(trials)
        inside = ratio_limits_within(hits, trials, alpha, bound, correction=correction)
        needs_exact = self.needs_exact()
        if not needs_exact.any():
            return inside
        low, high = self._exact_limits(hits, trials, alpha)
        return np.where(needs_exact, (low > -bound) & (high < bound), inside)

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
        use_exact = np.ones(1, bool) if exact else self.binding(_ANY_ALPHA).needs_exact()
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
    low, high = rates.binding(alpha, exact=exact).limits(alpha, exact=exact)
    return np.asarray(np.maximum(abs(low), abs(high)).max(-1))


def size_lower_limit(rates: MetricRates, alpha: float, *, exact: bool = False) -> Array:
    """Return the lower confidence limit of the gap's size, (...), >= 0, on the same scale."""
    each = alpha / rates.n_contrasts
    low, high = rates.binding(each, lower=True, exact=exact).limits(each, exact=exact)
    return np.asarray(np.maximum(np.maximum(low, -high), 0.0).max(-1))


def certified(
    rates: MetricRates, budget: float, alpha: float, *, exact: bool = False
) -> NDArray[Any]:
    """Return whether the gap is significantly below the budget, (...); never with few rows."""
    binding = rates.binding(alpha, exact=exact)
    inside = binding.within(rates.contrast.bound(budget), alpha, exact=exact).all(-1)
    return np.asarray(~rates.has_too_few_rows() & inside)


def violated(
    rates: MetricRates, budget: float, alpha: float, *, exact: bool = False
) -> NDArray[Any]:
    """Return whether the gap is significantly at or above the budget, (...)."""
    return np.asarray(size_lower_limit(rates, alpha, exact=exact) >= rates.contrast.bound(budget))


def p_violated(rates: MetricRates, budget: float, *, exact: bool = False) -> Array:
    """Return the p-value of "the gap is at most the budget", (...), Bonferroni-corrected."""
    binding = rates.binding(_ANY_ALPHA, lower=True, exact=exact)
    p_values = binding.p_values(rates.contrast.bound(budget), exact=exact)
    return np.asarray(np.fmin(rates.n_contrasts * np.fmin.reduce(p_values, axis=-1), 1.0))


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

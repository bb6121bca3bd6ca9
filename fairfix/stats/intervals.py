"""Confidence limits of rates, their linear combinations (such as differences) and ratios.

Functions take arrays and broadcast over leading axes. ``alpha`` is the error of each side: 0.05
gives 90 % limits, which is two one-sided tests at 5 %. Hits and trials need not be whole numbers;
weighted rows count as their effective number.

Score limits estimate the rates under the null hypothesis (Miettinen and Nurminen 1985). Observed
values are discrete, so their error oscillates around alpha; a continuity correction of half a step
keeps it at or below alpha, approximately, from about 10 hits and 10 misses per rate. Exact limits
combine the exact limits of each rate (Clopper and Pearson 1934), with alpha divided among the
rates, so their error never exceeds alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

WILSON = "Wilson score, continuity-corrected"
MIETTINEN_NURMINEN = "Miettinen-Nurminen score"
CLOPPER_PEARSON = "Clopper-Pearson"

MIN_COUNT = 10
"""Fewest hits, and fewest misses, for which score limits are used."""

TOLERANCE = 1e-9
"""Relative error of limits that are found iteratively."""


@dataclass(frozen=True)
class Interval:
    """Two-sided confidence limits, NaN if undefined, and the name of the method."""

    low: float
    high: float
    method: str


class Limits(NamedTuple):
    """Lower and upper confidence limits, (...) each, NaN where undefined."""

    low: Array
    high: Array


def normal_quantile(alpha: float) -> float:
    """Return the upper ``alpha`` quantile of the standard normal distribution."""
    return -float(special.ndtri(alpha))


FEW_CLUSTERS = 50
"""Clusters below which quantiles are those of t."""


def few_clusters_alpha(alpha: float, clusters: float) -> float:
    """Return the alpha whose normal quantile is the upper ``alpha`` quantile of t.

    t has ``clusters`` - 1 degrees of freedom; from 50 clusters on, it is taken as normal.
    """
    if not clusters < FEW_CLUSTERS:
        return alpha
    return float(special.ndtr(special.stdtrit(max(clusters - 1, 1.0), alpha)))


def few_clusters_p(p: Array, clusters: float) -> Array:
    """Return p-values of t from those of the normal distribution; see ``few_clusters_alpha``."""
    if not clusters < FEW_CLUSTERS:
        return p
    return np.asarray(special.stdtr(max(clusters - 1, 1.0), special.ndtri(p)), float)


def has_small_counts(hits: ArrayLike, trials: ArrayLike) -> NDArray[np.bool_]:
    """Return where a rate has fewer than 10 hits or 10 misses, (...) bool."""
    hits, trials = _floats(hits, trials)
    return np.asarray(np.minimum(hits, trials - hits) < MIN_COUNT)


def continuity_correction(trials: ArrayLike) -> Array:
    """Return half of the smallest step of a difference of two rates.

    Args:
        trials: (..., 2).

    Returns:
        (...); 0 where the trials are not whole numbers.
    """
    (trials,) = _floats(trials)
    with np.errstate(invalid="ignore"):  # NaN and infinity
        whole = trials.astype(np.int64)
    step = np.gcd(whole[..., 0], whole[..., 1]) / np.maximum(whole.prod(-1), 1)
    return np.where((whole == trials).all(-1), step / 2, 0.0)


def rate_interval(
    hits: float, trials: float, alpha: float = 0.05, *, exact: bool = False
) -> Interval:
    """Return the interval of one rate.

    Wilson's; Clopper-Pearson's if ``exact`` or with fewer than 10 hits or misses.
    """
    limits, is_exact = rate_limits(hits, trials, alpha, exact=exact)
    method = CLOPPER_PEARSON if is_exact else WILSON
    return Interval(float(limits.low), float(limits.high), method)


def rate_limits(
    hits: ArrayLike, trials: ArrayLike, alpha: float, *, exact: bool = False
) -> tuple[Limits, NDArray[np.bool_]]:
    """Return the limits of rates, (...), as ``rate_interval``, and where they are exact."""
    is_exact = has_small_counts(hits, trials) | exact
    score = wilson(hits, trials, alpha, correction=0.5)
    return select_limits(is_exact, clopper_pearson(hits, trials, alpha), score), is_exact


def select_limits(condition: NDArray[np.bool_], limits: Limits, otherwise: Limits) -> Limits:
    """Return ``limits`` where the condition holds, and ``otherwise`` elsewhere."""
    return Limits(*(np.where(condition, a, b) for a, b in zip(limits, otherwise, strict=True)))


def wilson(hits: ArrayLike, trials: ArrayLike, alpha: float, *, correction: float = 0.0) -> Limits:
    """Return score limits of a rate (Wilson 1927).

    Args:
        correction: continuity correction in hits, subtracted for the lower limit and added for the
            upper one.
    """
    hits, trials = _floats(hits, trials)
    z = normal_quantile(alpha)

    def limit(hits: Array, side: float) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            half_width = z * np.sqrt(hits * (trials - hits) / trials + z * z / 4)
        return np.asarray((hits + z * z / 2 + side * half_width) / (trials + z * z))

    low = limit(np.maximum(hits - correction, 0.0), -1.0)
    high = limit(np.minimum(hits + correction, trials), 1.0)
    return Limits(np.maximum(low, 0.0), np.minimum(high, 1.0))


def clopper_pearson(hits: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> Limits:
    """Return exact limits of a rate (Clopper and Pearson 1934)."""
    hits, trials, alpha = _floats(hits, trials, alpha)
    misses = trials - hits
    with np.errstate(invalid="ignore"):
        low = special.betaincinv(hits, misses + 1, alpha)
        high = special.betaincinv(hits + 1, misses, 1 - alpha)
    undefined = np.where(trials > 0, 0.0, np.nan)
    return Limits(
        np.where(hits <= 0, 0.0, low) + undefined, np.where(misses <= 0, 1.0, high) + undefined
    )


def contrast_limits(
    hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, alpha: float
) -> Limits:
    """Return score limits of sum(coefficient * rate), (...), of independent rates.

    Args:
        hits, trials, coefficients: (..., C). Coefficients (1, -1) give the difference of two rates.

    Source: Miettinen and Nurminen 1985.
    """
    contrast = _LinearCombination(*_floats(hits, trials, coefficients))
    negated = _LinearCombination(contrast.hits, contrast.trials, -contrast.coefficients)
    z = normal_quantile(alpha)
    return Limits(contrast.lower(z), -negated.lower(z))


def exact_contrast_limits(
    hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, alpha: ArrayLike
) -> Limits:
    """Return limits of sum(coefficient * rate), (...), from the exact limits of each rate.

    Args:
        hits, trials, coefficients: (..., C).
        alpha: (...), divided equally among the C rates (Bonferroni).
    """
    hits, trials, coefficients = _floats(hits, trials, coefficients)
    each = np.asarray(alpha)[..., None] / coefficients.shape[-1]
    low, high = clopper_pearson(hits, trials, each)
    positive = coefficients > 0
    return Limits(
        (coefficients * np.where(positive, low, high)).sum(-1),
        (coefficients * np.where(positive, high, low)).sum(-1),
    )


def contrast_z(
    hits: ArrayLike, trials: ArrayLike, coefficients: ArrayLike, bound: ArrayLike
) -> Array:
    """Return the score statistic of the null that the linear combination equals ``bound``.

    Positive, (...), where the estimate is above the bound.
    """
    hits, trials, coefficients, bound = _floats(hits, trials, coefficients, bound)
    excess = _LinearCombination(hits, trials, coefficients).estimate - bound
    sign = np.sign(excess)
    z = _LinearCombination(hits, trials, coefficients * sign[..., None]).z(np.abs(excess))
    return np.asarray(sign * z)


def ratio_limits(
    hits: ArrayLike, trials: ArrayLike, alpha: float, *, correction: ArrayLike = 0.0
) -> Limits:
    """Return score limits of rate 0 / rate 1, (...), of two independent rates.

    Args:
        hits, trials: (..., 2).
        correction: (...) continuity correction, as in ``ratio_z``.

    Source: Miettinen and Nurminen 1985.
    """
    hits, trials = np.broadcast_arrays(*_floats(hits, trials))
    z, shape = normal_quantile(alpha), hits.shape[:-1]
    plus, minus = correction, -np.asarray(correction)
    low = _bisect(lambda ratio: ratio_z(hits, trials, ratio, correction=plus) <= z, shape)
    high = _bisect(lambda ratio: ratio_z(hits, trials, ratio, correction=minus) <= -z, shape)
    undefined = np.where((hits == 0).all(-1) | (trials == 0).any(-1), np.nan, 0.0)
    low = np.where(hits[..., 0] == 0, 0.0, low)
    high = np.where(hits[..., 1] == 0, np.inf, high)
    return Limits(low + undefined, high + undefined)


def ratio_limits_within(
    hits: Array, trials: Array, alpha: float, bound: float, *, correction: Array
) -> NDArray[np.bool_]:
    """Return whether the logarithms of both limits of ``ratio_limits`` are within a bound, (...).

    Args:
        hits, trials: (..., 2); no hits are 0.
        bound: largest absolute logarithm, exclusive.
    """
    z = normal_quantile(alpha)
    above = ratio_z(hits, trials, math.exp(-bound), correction=correction) > z
    below = ratio_z(hits, trials, math.exp(bound), correction=-correction) <= -z
    return np.asarray(above & below)


def exact_ratio_limits(hits: ArrayLike, trials: ArrayLike, alpha: ArrayLike) -> Limits:
    """Return limits of rate 0 / rate 1, (...), from the exact limits of both at ``alpha`` / 2."""
    hits, trials = _floats(hits, trials)
    low, high = clopper_pearson(hits, trials, np.asarray(alpha)[..., None] / 2)
    with np.errstate(divide="ignore"):
        return Limits(low[..., 0] / high[..., 1], high[..., 0] / low[..., 1])


def ratio_z(
    hits: ArrayLike, trials: ArrayLike, ratio: ArrayLike, *, correction: ArrayLike = 0.0
) -> Array:
    """Return the score statistic of the null that rate 0 is ``ratio`` times rate 1.

    Args:
        hits, trials: (..., 2).
        correction: (...), subtracted from the tested difference (rate 0 - ratio * rate 1) after
            scaling by sqrt(ratio), so that the inverse ratio gives the same test.

    Returns:
        (...), positive where the observed ratio is above ``ratio``.
    """
    hits, trials, ratio, correction = _floats(hits, trials, ratio, correction)
    (x, y), (n, m) = np.moveaxis(hits, -1, 0), np.moveaxis(trials, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Maximum likelihood under the null: a q^2 - b q + c = 0 for rate 1 = q.
        a, b, c = (n + m) * ratio, n * ratio + x + m + y * ratio, x + y
        q = 2 * c / (b + np.sqrt(np.maximum(b * b - 4 * a * c, 0.0)))
        p = ratio * q
        variance = (p * (1 - p) / n + ratio * ratio * q * (1 - q) / m) * _variance_factor(trials)
        difference = x / n - ratio * y / m - correction * np.sqrt(ratio)
        return np.asarray(difference / np.sqrt(variance))


@dataclass(frozen=True)
class _LinearCombination:
    """sum(coefficient * rate) of independent rates; all (..., C).

    The most likely rates for a given value of the sum solve, for some Lagrange multiplier, trials *
    (observed - rate) = multiplier * coefficient * rate * (1 - rate). The sum is then multiplier *
    variance below the observed one, and the squared score statistic is the multiplier times that
    distance.
    """

    hits: Array
    trials: Array
    coefficients: Array

    @cached_property
    def estimate(self) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.coefficients * self.hits / self.trials).sum(-1))

    @property
    def variance(self) -> Array:
        """Approximate variance of the estimate, smoothed so that it is never 0."""
        rate = (self.hits + 1) / (self.trials + 2)
        return np.asarray((self.coefficients**2 * rate * (1 - rate) / self.trials).sum(-1))

    def distance(self, multiplier: Array) -> tuple[Array, Array]:
        """Return how far the sum is below the observed one, and the derivative of that."""
        a = multiplier[..., None] * self.coefficients
        total = self.trials + a
        misses = self.trials - self.hits
        # Two forms of the same root and rate, to avoid differences of large numbers.
        root = np.sqrt(
            np.where(
                a > 0,
                (self.trials - a) ** 2 + 4 * a * misses,
                total * total - 4 * a * self.hits,
            )
        )
        rate = np.where(total > 0, 2 * self.hits / (total + root), (total - root) / (2 * a))
        slope = self.coefficients**2 * rate * (1 - rate) / root
        return self.estimate - (self.coefficients * rate).sum(-1), slope.sum(-1)

    def lower(self, z: float) -> Array:
        """Return the smallest sum whose score statistic is at most ``z``."""
        target = z * z * _variance_factor(self.trials)

        def squared_z(multiplier: Array) -> tuple[Array, Array]:
            distance, slope = self.distance(multiplier)
            return multiplier * distance, distance + multiplier * slope

        with np.errstate(invalid="ignore", divide="ignore"):
            multiplier = _solve_increasing(squared_z, target, np.sqrt(target / self.variance))
            return np.asarray(self.estimate - self.distance(multiplier)[0])

    def z(self, distance: Array) -> Array:
        """Return the score statistic of the null that the sum is ``distance`` >= 0 lower."""
        with np.errstate(invalid="ignore", divide="ignore"):
            multiplier = _solve_increasing(self.distance, distance, distance / self.variance)
            return np.asarray(np.sqrt(multiplier * distance / _variance_factor(self.trials)))


def _solve_increasing(
    function: Callable[[Array], tuple[Array, Array]], target: Array, start: Array
) -> Array:
    """Return the smallest positive x, (...), at which an increasing function reaches its target.

    Newton's method in log(x) from ``start``, with bisection where a step leaves the bracket or does
    not halve.

    Args:
        function: gives its value and derivative.
    """
    x = np.log(start)
    low, high, last_step = x - 30.0, x + 30.0, np.full(x.shape, np.inf)
    for _ in range(100):
        value, slope = function(np.exp(x))
        reached = value >= target
        low, high = np.where(reached, low, x), np.where(reached, x, high)
        step = np.log(target / value) * value / (slope * np.exp(x))
        inside = (low < x + step) & (x + step < high)
        newton = (abs(step) < TOLERANCE) | (inside & (abs(step) < last_step / 2))
        last_step = np.where(newton, abs(step), high - low)
        x = np.where(newton, x + step, (low + high) / 2)
        if not (last_step > TOLERANCE).any():
            break
    return np.exp(x)


def _bisect(condition: Callable[[Array], NDArray[np.bool_]], shape: tuple[int, ...]) -> Array:
    """Return the smallest positive x, of the given shape, from which the condition holds."""
    low, high = np.full(shape, -30.0), np.full(shape, 30.0)
    for _ in range(45):
        middle = (low + high) / 2
        holds = condition(np.exp(middle))
        low, high = np.where(holds, low, middle), np.where(holds, middle, high)
    return np.asarray(np.exp(high))


def _variance_factor(trials: Array) -> Array:
    """Return the factor N / (N - 1) of Miettinen and Nurminen, N being all trials."""
    n = trials.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(n / (n - 1))


def _floats(*arrays: ArrayLike) -> list[Array]:
    return [np.asarray(array, dtype=np.float64) for array in arrays]

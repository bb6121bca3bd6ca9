"""Power analysis: the largest gap that a table can certify, and the rows needed to certify one.

Power is that of the test that certifies, on tables drawn from the given rates. The same
quasi-random points are used for every number of rows, so that power grows smoothly; it is accurate
to about half a percentage point.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from scipy import special

from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import (
    MIN_CLUSTERS,
    MIN_ROWS,
    MetricRates,
    certified,
    size_upper_limit,
    to_array,
)
from fairfix.stats.intervals import Array

POWER = 0.8
DRAWS = 2048
NO_GAP = 1e-9

NORMAL_DEVIATION = 50.0
"""Standard deviation in hits above which a binomial is approximated by a normal distribution."""

MAX_FACTOR = 1e6
"""Largest multiple of the table's rows that is considered."""


def certifiable_gap(
    metric: str, counts: Counts, budget: float, *, confidence: ConfidenceLevel = DEFAULT_CONFIDENCE
) -> float | None:
    """Return the largest gap that would still be certified if observed on rows like these.

    The groups keep their sizes; their rates move around the overall rate.

    Returns:
        None if not even a gap of 0 would be certified.
    """
    rates = MetricRates.from_counts(metric, counts)

    def passes(gap: float) -> bool:
        moved = at_gap(rates, gap)
        return bool(certified(moved, budget, confidence.alpha, exact=confidence.exact))

    if not passes(0.0):
        seen = float(METRICS[metric](counts).size)
        held = certified(rates, budget, confidence.alpha, exact=confidence.exact)
        return seen if bool(held) else None  # at the rates observed, if not at the overall rate
    low, high = 0.0, budget
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def rows_needed(
    metric: str,
    counts: Counts,
    budget: float,
    *,
    true_gap: float | None = None,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    power: float = POWER,
) -> list[int] | None:
    """Return the rows of each group with which the budget is certified with probability ``power``.

    Args:
        counts: (G,) observed or expected rows. Their rates and the proportions of groups and labels
            are taken as true; the table is scaled as a whole.
        true_gap: size of the gap, if not the one in ``counts``.

    Returns:
        (G,) rows of the table; None if the gap is undefined or not below the budget, or if a
        million times the rows would not be enough.
    """
    rates = MetricRates.from_counts(metric, counts)
    if true_gap is not None:
        rates = at_gap(rates, true_gap)
    factor = _scale_factor(rates, budget, confidence, power)
    if factor is None:
        return None
    rows = np.sum([to_array(side) for side in counts.sides], axis=0)
    return [math.ceil(factor * n - 1e-6) for n in rows]


@dataclass(frozen=True)
class PowerAnalysis:
    """What rows can certify of a budget.

    Attributes:
        certifiable_gap: the largest gap that would still be certified if observed; None if not even
            a gap of 0 would be.
        rows_needed: by group, to certify if there is no gap; None if ``certifiable_gap`` is given
            or no number of rows is enough.
    """

    certifiable_gap: float | None
    rows_needed: dict[str, int] | None


def power_analysis(
    metric: str,
    counts: Counts,
    names: Sequence[str],
    budget: float,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> PowerAnalysis:
    """Return what counts (G,) of the groups ``names`` can certify of a metric's budget."""
    gap = certifiable_gap(metric, counts, budget, confidence=confidence)
    if gap is not None:
        return PowerAnalysis(gap, None)
    needed = rows_needed(metric, counts, budget, true_gap=0.0, confidence=confidence)
    by_group = None if needed is None else dict(zip(names, needed, strict=True))
    return PowerAnalysis(None, by_group)


def power_at(
    rates: MetricRates, factor: float, budget: float, confidence: ConfidenceLevel
) -> float:
    """Return the probability that a table ``factor`` times as large is certified."""
    trials = np.maximum(np.rint(rates.trials * factor), 1.0)
    points = _points(rates.trials.size).reshape(DRAWS, *rates.trials.shape)
    true_rates = np.clip(rates.hits / rates.trials, 0.0, 1.0)
    hits = _binomial_quantiles(points, trials, true_rates)
    clusters = np.asarray(rates.clusters) * factor
    drawn = replace(rates, hits=hits, trials=np.broadcast_to(trials, hits.shape), clusters=clusters)
    return float(certified(drawn, budget, confidence.alpha, exact=confidence.exact).mean())


def _binomial_quantiles(points: Array, trials: Array, rates: Array) -> Array:
    """Return binomial quantiles, (DRAWS, R, G), approximated by the normal's where large."""
    deviation = np.sqrt(trials * rates * (1 - rates))
    hits = np.clip(np.rint(trials * rates + special.ndtri(points) * deviation), 0.0, trials)
    small = deviation <= NORMAL_DEVIATION
    for index in np.argwhere(small):
        at = (slice(None), *index)
        hits[at] = _binomial_quantile(
            points[at], int(trials[tuple(index)]), float(rates[tuple(index)])
        )
    return np.asarray(hits)


def _binomial_quantile(points: Array, trials: int, rate: float) -> Array:
    """Return the smallest hits whose cumulative probability reaches each point, (DRAWS,)."""
    mean, reach = trials * rate, 10 * math.sqrt(trials * rate * (1 - rate)) + 10
    first, last = max(0, math.floor(mean - reach)), min(trials, math.ceil(mean + reach))
    hits = np.arange(first, last)
    return np.asarray(first + np.searchsorted(special.bdtr(hits, trials, rate), points), float)


def at_gap(rates: MetricRates, gap: float) -> MetricRates:
    """Return the same rows with rates moved so that the size of the gap is ``gap``.

    Each rate is scaled around the overall rate, for ratios on the logarithmic scale, and kept
    within [0, 1]. If there is no gap to scale, the first group moves away from the others.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        values = rates.hits / rates.trials
        center = rates.hits.sum(-1, keepdims=True) / rates.trials.sum(-1, keepdims=True)
        if rates.ratio:
            values, center = np.log(values), np.log(center)
        deviations, size = values - center, float(rates.size)
    if not NO_GAP < size < math.inf:
        deviations, size = np.eye(values.shape[-1])[:1], 1.0
    moved = center + deviations * (rates.contrast.bound(gap) / size)
    if rates.ratio:
        moved = np.exp(moved - np.maximum(moved.max(-1, keepdims=True), 0.0))
    else:
        moved = moved - np.maximum(moved.max(-1, keepdims=True) - 1, 0.0)
        moved = moved - np.minimum(moved.min(-1, keepdims=True), 0.0)
    return replace(rates, hits=moved * rates.trials)


def _scale_factor(
    rates: MetricRates, budget: float, confidence: ConfidenceLevel, power: float
) -> float | None:
    """Return the factor on the table's rows that gives the power, or None."""
    size, bound = float(rates.size), rates.contrast.bound(budget)
    if not size < bound:
        return None
    smallest = max(
        MIN_ROWS / float(rates.trials.min()), MIN_CLUSTERS / float(np.min(rates.clusters))
    )
    target = float(special.ndtri(power))

    @cache
    def shortfall(root: float) -> float:
        """Return the missing power in normal quantiles, nearly linear in the root of the rows."""
        reached = power_at(rates, root * root, budget, confidence)
        return target - float(special.ndtri(np.clip(reached, 1e-4, 1 - 1e-4)))

    low = math.sqrt(smallest)
    # Interval widths shrink with the root of the rows; start where the limit meets the bound.
    upper = float(size_upper_limit(rates, confidence.alpha, exact=confidence.exact))
    start = (upper - size) / (bound - size)
    high, highest = max(low, start if math.isfinite(start) else 1.0), math.sqrt(MAX_FACTOR)
    if shortfall(low) <= 0:
        return smallest
    while high <= highest and shortfall(high) > 0:
        low, high = high, high * 1.5
    if high > highest:
        return None
    return _root(shortfall, low, high) ** 2


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a decreasing function becomes 0, to a relative error of 1e-3.

    Regula falsi in the Illinois form, which halves the value of an end that stays.
    """
    at_low, at_high = function(low), function(high)
    side = 0
    while high - low > 1e-3 * high:
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        middle = min(max(middle, low + 5e-4 * high), high - 5e-4 * high)
        value = function(middle)
        if value > 0:
            low, at_low, at_high = middle, value, at_high / 2 if side > 0 else at_high
            side = 1
        else:
            high, at_high, at_low = middle, value, at_low / 2 if side < 0 else at_low
            side = -1
    return high


@cache
def _points(dimensions: int) -> Array:
    """Return the Sobol points of the unit cube, (DRAWS, dimensions), always the same."""
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0)
    return np.asarray(engine.draw(DRAWS, dtype=torch.float64).numpy())

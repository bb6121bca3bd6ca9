"""Rates of all rows together, and the smallest rate of any group, with their intervals."""

from __future__ import annotations

import math

import numpy as np

from fairfix.metrics.counts import Counts
from fairfix.metrics.rates import Rate
from fairfix.stats.gap_intervals import MIN_ROWS, to_array
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    WILSON,
    Array,
    Interval,
    rate_limits,
)
from fairfix.stats.performance_intervals import PerformanceEstimate


def overall_rate(rate: Rate, counts: Counts, *, exact: bool = False) -> PerformanceEstimate:
    """Return a rate of all rows together, for counts (G,)."""
    return _smallest(*_effective(rate, counts.total()), exact=exact)


def smallest_rate(rate: Rate, counts: Counts, *, exact: bool = False) -> PerformanceEstimate:
    """Return the smallest rate of any group, for counts (G,); NaN if one is undefined.

    The lower limit needs no correction, since every group must be above it (intersection-union
    test); the upper limit has Bonferroni's over the groups, since any of them may be below it.
    """
    return _smallest(*_effective(rate, counts), exact=exact)


def _effective(rate: Rate, counts: Counts) -> tuple[Array, Array]:
    """Return hits and trials by group in effective rows, (G,) each."""
    share = rate(counts)
    effect = to_array(share.design_effect)
    return to_array(share.hits) / effect, to_array(share.trials) / effect


def _smallest(hits: Array, trials: Array, *, exact: bool) -> PerformanceEstimate:
    def interval(alpha: float) -> Interval:
        limits, is_exact = rate_limits(hits, trials, alpha, exact=exact)
        corrected, _ = rate_limits(hits, trials, alpha / len(hits), exact=exact)
        method = CLOPPER_PEARSON if is_exact.any() else WILSON
        return Interval(float(limits.low.min()), float(corrected.high.min()), method)

    if not trials.all():
        return PerformanceEstimate(math.nan, lambda _: Interval(math.nan, math.nan, "none"))
    few = f"a group has fewer than {MIN_ROWS} rows behind the rate"
    return PerformanceEstimate(
        float((hits / trials).min()), interval, few if np.any(trials < MIN_ROWS) else ""
    )

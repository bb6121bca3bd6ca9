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
    Interval,
    few_clusters_alpha,
    rate_limits,
)
from fairfix.stats.performance_intervals import PerformanceEstimate, few_clusters_reason


def overall_rate(rate: Rate, counts: Counts, *, exact: bool = False) -> PerformanceEstimate:
    """Return a rate of all rows together, for counts (G,)."""
    return _smallest(rate, counts.total(), exact=exact)


def smallest_rate(rate: Rate, counts: Counts, *, exact: bool = False) -> PerformanceEstimate:
    """Return the smallest rate of any group, for counts (G,); NaN if one is undefined.

    The lower limit needs no correction, since every group must be above it (intersection-union
    test); the upper limit has Bonferroni's over the groups, since any of them may be below it.
    """
    return _smallest(rate, counts, exact=exact)


def _smallest(rate: Rate, counts: Counts, *, exact: bool) -> PerformanceEstimate:
    share = rate(counts)
    effect = to_array(share.design_effect)
    hits, trials = to_array(share.hits) / effect, to_array(share.trials) / effect
    clusters = math.inf
    if counts.clusters is not None:
        clusters = float(counts.clusters.number(rate.trials).min())

    def interval(alpha: float) -> Interval:
        single, corrected = (
            few_clusters_alpha(each, clusters) for each in (alpha, alpha / len(hits))
        )
        limits, is_exact = rate_limits(hits, trials, single, exact=exact)
        upper, _ = rate_limits(hits, trials, corrected, exact=exact)
        method = CLOPPER_PEARSON if is_exact.any() else WILSON
        return Interval(float(limits.low.min()), float(upper.high.min()), method)

    if not trials.all():
        return PerformanceEstimate(math.nan, lambda _: Interval(math.nan, math.nan, "none"))
    few = few_clusters_reason(clusters)
    if np.any(trials < MIN_ROWS):
        few = f"a group has fewer than {MIN_ROWS} rows behind the rate"
    return PerformanceEstimate(float((hits / trials).min()), interval, few)

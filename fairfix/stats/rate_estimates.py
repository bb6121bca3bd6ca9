"""Rates by group and of all rows, the smallest of a group, and a change, with intervals."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike

from fairfix.metrics.clusters import design_effect_of_mean
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import rates
from fairfix.metrics.rates import Rate
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_intervals import MIN_ROWS, to_array
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    WILSON,
    Interval,
    few_clusters_alpha,
    normal_quantile,
    rate_interval,
    rate_limits,
)
from fairfix.stats.performance_intervals import PerformanceEstimate, few_clusters_reason


def group_rate_intervals(counts: Counts, confidence: ConfidenceLevel) -> list[dict[str, Interval]]:
    """Return the intervals of every rate by key, one dictionary for each group of counts (G,)."""
    groups = counts.tp.shape[-1]
    found: list[dict[str, Interval]] = [{} for _ in range(groups)]
    for key, of in rates().items():
        here = of(counts)
        effect = torch.as_tensor(here.design_effect, dtype=torch.float64).expand(groups)
        number = None if counts.clusters is None else counts.clusters.number(of.trials)
        for g in range(groups):
            hits, trials = float(here.hits[g] / effect[g]), float(here.trials[g] / effect[g])
            n = math.inf if number is None else float(number[g])
            alpha = few_clusters_alpha(confidence.alpha, n)
            found[g][key] = rate_interval(hits, trials, alpha, exact=confidence.exact)
    return found


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


def selection_rate_change(
    before: ArrayLike,
    after: ArrayLike,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the selection rate of decisions ``after`` over that of ``before``, minus 1.

    A ratio of sums over the same rows, by the delta method. One row is added to each change of
    decision, so that the variance is never 0. NaN if ``before`` selects no row.

    Args:
        before, after: (N,) 0/1 each; weights, clusters: (N,).
    """
    was, now = (np.asarray(a).astype(np.float64) for a in (before, after))
    w = np.ones(len(was)) if weights is None else np.asarray(weights, np.float64)
    w = w / ((w**2).sum() / w.sum())  # in effective rows
    today = float(w @ was)
    n_clusters = math.inf
    if not today:
        return PerformanceEstimate(math.nan, lambda _: Interval(math.nan, math.nan, "none"))
    ratio = float(w @ now) / today
    residuals = now - ratio * was
    variance = (float(w @ residuals**2) + 1 + ratio**2) / today**2
    if clusters is not None:
        ids = np.asarray(clusters)
        variance *= design_effect_of_mean(residuals, w, ids)
        n_clusters = len(np.unique(ids))
    sd = math.sqrt(variance)

    def interval(alpha: float) -> Interval:
        half = normal_quantile(few_clusters_alpha(alpha, n_clusters)) * sd
        return Interval(ratio - 1 - half, ratio - 1 + half, "paired, delta method")

    few = few_clusters_reason(n_clusters)
    if today < MIN_ROWS:
        few = f"the baseline has fewer than {MIN_ROWS} positive decisions"
    return PerformanceEstimate(ratio - 1, interval, few)

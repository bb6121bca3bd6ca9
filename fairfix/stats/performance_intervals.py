"""Confidence intervals of performance measures and of their changes on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairfix.metrics.clusters import Cell
from fairfix.metrics.counts import Counts
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import (
    accuracy_rate,
    false_positive_rate,
    jaccard_index,
    positive_predictive_value,
    true_positive_rate,
)
from fairfix.stats.gap_intervals import MIN_CLUSTERS, to_array
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    MIETTINEN_NURMINEN,
    WILSON,
    Array,
    Interval,
    Limits,
    continuity_correction,
    contrast_limits,
    exact_contrast_limits,
    few_clusters_alpha,
    has_small_counts,
    normal_quantile,
    rate_limits,
    select_limits,
)

PAIRED = "paired, stratified by label"
POSITIVE_AFTER = np.array([[0.0, 1.0], [0.0, 1.0]])
CHANGED = np.array([[0.0, 1.0], [1.0, 0.0]])
"""Indicators over decisions (before, after)."""


@dataclass(frozen=True)
class PerformanceEstimate:
    """A performance, or a change of one, with its confidence interval.

    Attributes:
        value: NaN if undefined.
        interval: from alpha to the two-sided interval at 1 - 2 alpha.
        too_few: why the rows are too few to certify anything; empty if they are enough.
    """

    value: float
    interval: Callable[[float], Interval]
    too_few: str = ""

    def negated(self) -> PerformanceEstimate:
        """Return the estimate of minus the performance."""

        def interval(alpha: float) -> Interval:
            found = self.interval(alpha)
            return Interval(-found.high, -found.low, found.method)

        return PerformanceEstimate(-self.value, interval, self.too_few)


def performance(key: str, counts: Counts, *, exact: bool = False) -> PerformanceEstimate:
    """Return a performance measure over all groups, with its interval.

    Args:
        counts: (G,).
        exact: use exact limits; otherwise only where counts are small.

    Raises:
        KeyError: for another key.
    """
    limits_of, method = LIMITS[key]
    if not counts.labeled:
        return PerformanceEstimate(math.nan, lambda _: Interval(math.nan, math.nan, method))
    total = counts.total()
    sides, clusters = _effective(key, total), _clusters(total)

    def interval(alpha: float) -> Interval:
        (low, high), is_exact = limits_of(*sides, few_clusters_alpha(alpha, clusters), exact=exact)
        return Interval(float(low), float(high), CLOPPER_PEARSON if is_exact else method)

    return PerformanceEstimate(
        float(PERFORMANCES[key](counts)), interval, few_clusters_reason(clusters)
    )


def few_clusters_reason(clusters: float) -> str:
    """Return why so many clusters of rows certify nothing; empty if they are enough."""
    if not clusters < MIN_CLUSTERS:
        return ""
    return f"the rows are of {clusters:.0f} clusters, and at least {MIN_CLUSTERS} are needed"


def _clusters(total: Counts) -> float:
    """Return the number of clusters of the rows of the rarer label; infinite without clusters."""
    if total.clusters is None:
        return math.inf
    sides: tuple[tuple[Cell, Cell], ...] = (("tp", "fn"), ("fp", "tn"))
    return min(float(total.clusters.number(side)) for side in sides)


def _effective(key: str, total: Counts) -> list[Array]:
    """Return tp, fp, fn and tn over all groups, in effective rows behind a performance."""
    tp, fp, fn, tn = (to_array(side)[0] for side in total.sides)
    if total.clusters is None:
        return [side / float(total.design_effect) for side in (tp, fp, fn, tn)]
    if key != "balanced_accuracy":
        effect = float(_RATES[key](total).design_effect)
        return [side / effect for side in (tp, fp, fn, tn)]
    rates = [true_positive_rate, false_positive_rate]
    shares = [rate(total) for rate in rates]
    covariance = to_array(total.clusters.covariance([(r.hits, r.trials) for r in rates]))
    effects = [float(share.design_effect) for share in shares]
    separate = sum(
        float(share.value * (1 - share.value) / share.trials * share.design_effect)
        for share in shares
    )
    together = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    shared = max(1.0, together / separate) if separate else 1.0
    of_favorable, of_unfavorable = (effect * shared for effect in effects)
    return [tp / of_favorable, fp / of_unfavorable, fn / of_favorable, tn / of_unfavorable]


_RATES = {
    "accuracy": accuracy_rate,
    "f1": jaccard_index,
    "precision": positive_predictive_value,
    "recall": true_positive_rate,
}
"""The rate whose design effect is that of a performance measure."""

LimitsAndMask = tuple[Limits, NDArray[np.bool_]]
"""Limits (...), and where they are exact."""


def balanced_accuracy_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, exact: bool = False
) -> LimitsAndMask:
    """Return limits of balanced accuracy, (TPR - FPR + 1) / 2, from those of TPR - FPR."""
    hits, trials = np.stack([tp, fp], -1), np.stack([tp + fn, fp + tn], -1)
    is_exact = np.asarray(has_small_counts(hits, trials).any(-1) | exact)
    correction = continuity_correction(trials)
    low, high = contrast_limits(hits, trials, [1, -1], alpha)
    low, high = select_limits(
        is_exact,
        exact_contrast_limits(hits, trials, [1, -1], alpha),
        Limits(low - correction, high + correction),
    )
    return Limits(np.maximum((low + 1) / 2, 0.0), np.minimum((high + 1) / 2, 1.0)), is_exact


def accuracy_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, exact: bool = False
) -> LimitsAndMask:
    """Return limits of accuracy, a rate among all rows."""
    return rate_limits(tp + tn, tp + fp + fn + tn, alpha, exact=exact)


def f1_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, exact: bool = False
) -> LimitsAndMask:
    """Return limits of F1 = 2 J / (1 + J), where J = tp / (tp + fp + fn) is the Jaccard index.

    For random rows J is an ordinary rate.
    """
    (low, high), is_exact = rate_limits(tp, tp + fp + fn, alpha, exact=exact)
    return Limits(2 * low / (1 + low), 2 * high / (1 + high)), is_exact


def precision_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, exact: bool = False
) -> LimitsAndMask:
    """Return limits of precision, a rate among the selected rows."""
    return rate_limits(tp, tp + fp, alpha, exact=exact)


def recall_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, exact: bool = False
) -> LimitsAndMask:
    """Return limits of recall, a rate among the rows with a favorable label."""
    return rate_limits(tp, tp + fn, alpha, exact=exact)


LIMITS: dict[str, tuple[Callable[..., LimitsAndMask], str]] = {
    "balanced_accuracy": (balanced_accuracy_limits, f"{MIETTINEN_NURMINEN}, continuity-corrected"),
    "accuracy": (accuracy_limits, WILSON),
    "f1": (f1_limits, f"{WILSON} of tp / (tp + fp + fn)"),
    "precision": (precision_limits, WILSON),
    "recall": (recall_limits, WILSON),
}


def performance_change(
    key: str,
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the performance of decisions ``after`` minus that of ``before``, on the same rows.

    Args:
        key: of ``fairfix.metrics.performance.PERFORMANCES``.
        before, after, labels: (N,) 0/1 each; weights, clusters: (N,).

    Raises:
        KeyError: for another key.
    """
    before, after, labels = (np.asarray(a).astype(int) for a in (before, after, labels))
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    effect = (weights**2).sum() / weights.sum()
    table = np.bincount(4 * labels + 2 * before + after, weights, 8).reshape(2, 2, 2) / effect
    value, n_clusters = float(_change(key, table)), math.inf
    if clusters is not None:
        kind = 4 * labels + 2 * before + after
        table = table / _change_effect(key, table, kind, weights, np.asarray(clusters))
        n_clusters = min(len(np.unique(np.asarray(clusters)[labels == y])) for y in (0, 1))

    def interval(alpha: float) -> Interval:
        low, high = performance_change_limits(key, table, few_clusters_alpha(alpha, n_clusters))
        return Interval(float(low), float(high), PAIRED)

    return PerformanceEstimate(value, interval, few_clusters_reason(n_clusters))


def _change_effect(
    key: str, table: Array, kind: NDArray[np.int64], weights: Array, clusters: NDArray[Any]
) -> float:
    """Return the design effect of clusters on a change of performance, at least 1.

    Args:
        kind: (N,) position of each row in the flat table.
    """
    contribution, rows = _contributions(key, table)
    mean = (table * contribution).sum((-1, -2), keepdims=True) / rows[..., None, None]
    influence = ((contribution - mean) / rows[..., None, None]).reshape(-1)[kind]
    unit = (weights**2).sum() / weights.sum()
    _, position = np.unique(clusters, return_inverse=True)
    sums = np.bincount(position, influence * weights / unit)
    n = len(sums)
    separate = ((influence * weights / unit) ** 2).sum()
    if n < 2 or not separate:
        sizes = np.bincount(position)
        return float((sizes**2).sum() / sizes.sum())
    return max(1.0, float(n / (n - 1) * (sums**2).sum() / separate))


def performance_change_limits(key: str, table: Array, alpha: float) -> Limits:
    """Return limits of a change of performance, (...).

    One row is added to each kind of change of decision, so that the variance is not 0 where none
    was observed (Bonett and Price 2012).

    Args:
        table: (..., label, decision before, decision after) effective rows.
    """
    rows = table.sum((-1, -2))
    table = (table + CHANGED) * (rows / (rows + 2))[..., None, None]
    contribution, _ = _contributions(key, table)
    mean, square = ((table * power).sum((-1, -2)) for power in (contribution, contribution**2))
    variance = ((square - mean**2 / rows) / rows**2).sum(-1)
    half_width = normal_quantile(alpha) * np.sqrt(variance)
    center = _change(key, table)
    return Limits(np.maximum(center - half_width, -1.0), np.minimum(center + half_width, 1.0))


def _contributions(key: str, table: Array) -> tuple[Array, Array]:
    """Return the first-order contribution of a row of each kind to the change, and rows by label.

    The variance of the change is that of the contributions within each label.
    """
    before, after = _gradient(key, table.sum(-1)), _gradient(key, table.sum(-2))
    contribution = (
        after[..., None, None] * POSITIVE_AFTER - before[..., None, None] * POSITIVE_AFTER.T
    )
    return contribution, table.sum((-1, -2))


def _change(key: str, table: Array) -> Array:
    return performance_of_table(key, table.sum(-2)) - performance_of_table(key, table.sum(-1))


def performance_of_table(key: str, table: Array) -> Array:
    """Return the performance, (...), of rows (..., label, decision)."""
    tn, fp, fn, tp = (table[..., label, decision] for label in (0, 1) for decision in (0, 1))
    if key == "balanced_accuracy":
        return np.asarray((tp / (tp + fn) + tn / (tn + fp)) / 2)
    if key == "accuracy":
        return np.asarray((tp + tn) / table.sum((-1, -2)))
    if key == "recall":
        return np.asarray(tp / (tp + fn))
    if key == "precision":
        with np.errstate(invalid="ignore"):  # undefined if no row is selected
            return np.asarray(tp / (tp + fp))
    return np.asarray(2 * tp / (2 * tp + fp + fn))


def _gradient(key: str, table: Array) -> Array:
    """Return the derivative of performance by the positive rate of each label, (..., 2)."""
    rows = table.sum(-1)
    if key == "balanced_accuracy":
        return np.broadcast_to([-0.5, 0.5], rows.shape)
    if key == "accuracy":
        return np.asarray(rows * [-1, 1] / rows.sum(-1, keepdims=True))
    if key == "recall":
        return np.broadcast_to([0.0, 1.0], rows.shape)
    fp, tp = table[..., 0, 1], table[..., 1, 1]
    if key == "precision":
        selected = (tp + fp)[..., None]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.stack([-tp, fp], -1) / selected**2 * rows)
    denominator = tp + fp + rows[..., 1]
    by_row = np.stack([-2 * tp, 2 * (denominator - tp)], -1) / denominator[..., None] ** 2
    return np.asarray(by_row * rows)

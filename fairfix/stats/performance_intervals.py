"""Confidence intervals of performance measures and of their changes on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fairfix.metrics.counts import Counts
from fairfix.metrics.performance import PERFORMANCES
from fairfix.stats.gap_intervals import to_array
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    MIETTINEN_NURMINEN,
    WILSON,
    Array,
    Interval,
    Limits,
    clopper_pearson,
    continuity_correction,
    contrast_limits,
    exact_contrast_limits,
    has_small_counts,
    normal_quantile,
    rate_limits,
    select_limits,
)

DELONG = "DeLong"
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
    """Return balanced accuracy, accuracy or F1 over all groups, with its interval.

    Args:
        counts: (G,).
        exact: use exact limits; otherwise only where counts are small.

    Raises:
        KeyError: for another key.
    """
    limits_of, method = LIMITS[key]
    sides = _effective(counts)

    def interval(alpha: float) -> Interval:
        (low, high), is_exact = limits_of(*sides, alpha, exact=exact)
        return Interval(float(low), float(high), CLOPPER_PEARSON if is_exact else method)

    return PerformanceEstimate(float(PERFORMANCES[key](counts)), interval)


def _effective(counts: Counts) -> list[Array]:
    """Return tp, fp, fn and tn over all groups, in effective rows."""
    sides = [to_array(side) for side in counts.sides]
    rows = np.sum(sides, axis=0)
    effect = (rows * to_array(counts.design_effect)).sum() / rows.sum()
    return [side.sum() / effect for side in sides]


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


LIMITS: dict[str, tuple[Callable[..., LimitsAndMask], str]] = {
    "balanced_accuracy": (balanced_accuracy_limits, f"{MIETTINEN_NURMINEN}, continuity-corrected"),
    "accuracy": (accuracy_limits, WILSON),
    "f1": (f1_limits, f"{WILSON} of tp / (tp + fp + fn)"),
}


@dataclass(frozen=True)
class PlacementValues:
    """Placement values: the position of each row's score among those of the other label.

    Source: DeLong, DeLong and Clarke-Pearson 1988.

    Attributes:
        values: (S, N) weighted fraction of the rows of the other label that are ordered correctly
            relative to the row, ties counted one half; S score vectors.
        fraction: (N,) the row's fraction of the total weight of its label.
        labels: (N,) bool.
    """

    values: Array
    fraction: Array
    labels: NDArray[np.bool_]

    @classmethod
    def from_scores(
        cls, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None
    ) -> PlacementValues:
        """Return the placement values of S score vectors (S, N) for the same N rows."""
        vectors, positive = np.atleast_2d(np.asarray(scores, float)), np.asarray(labels) == 1
        weight = np.ones(len(positive)) if weights is None else np.asarray(weights, float)
        fraction = np.where(
            positive,
            _divide(weight, weight[positive].sum()),
            _divide(weight, weight[~positive].sum()),
        )
        values = np.stack([_placement_values(vector, positive, fraction) for vector in vectors])
        return cls(values, fraction, positive)

    @property
    def auc(self) -> Array:
        """Areas under the ROC curve, (S,); NaN if a label is missing."""
        if self.labels.all() or not self.labels.any():
            return np.full(len(self.values), np.nan)
        return np.asarray(self.values[:, self.labels] @ self.fraction[self.labels])

    @property
    def covariance(self) -> Array:
        """Covariance of the areas, (S, S)."""
        deviations = (self.values - self.auc[:, None]) * self.fraction
        parts = []
        for side in (self.labels, ~self.labels):
            inverse_rows = (self.fraction[side] ** 2).sum()  # 1 / effective rows
            with np.errstate(invalid="ignore"):  # undefined for a single row
                product = deviations[:, side] @ deviations[:, side].T
                parts.append(product * _divide(1.0, 1 - inverse_rows))
        return np.asarray(sum(parts))

    @property
    def rarer_label_rows(self) -> float:
        """Effective rows of the rarer label."""
        return min(
            float(_divide(1.0, (self.fraction[side] ** 2).sum()))
            for side in (self.labels, ~self.labels)
        )


def _placement_values(scores: Array, labels: NDArray[np.bool_], fraction: Array) -> Array:
    _, rank = np.unique(scores, return_inverse=True)
    size = int(rank.max()) + 1
    negative, positive = (np.bincount(rank, fraction * side, size) for side in (~labels, labels))
    below = np.cumsum(negative) - negative / 2
    above = 1 - np.cumsum(positive) + positive / 2
    return np.asarray(np.where(labels, below[rank], above[rank]))


def auc(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, *, exact: bool = False
) -> PerformanceEstimate:
    """Return the area under the ROC curve, ties counted one half.

    The interval is DeLong's on the logistic scale. With small counts, or if ``exact``, it is the
    Clopper-Pearson interval for as many independent pairs of rows as the rarer label has rows,
    which is conservative: the area is at least as precise as the fraction of such pairs in order.

    Args:
        scores, labels, weights: (N,) each.
    """
    placements = PlacementValues.from_scores(scores, labels, weights)
    area, variance = float(placements.auc[0]), float(placements.covariance[0, 0])
    pairs = placements.rarer_label_rows
    is_exact = exact or bool(has_small_counts(area * pairs, pairs))

    def interval(alpha: float) -> Interval:
        if is_exact:
            limits = clopper_pearson(area * pairs, pairs, alpha)
            method = f"{CLOPPER_PEARSON} of independent pairs"
            return Interval(float(limits.low), float(limits.high), method)
        half_width = normal_quantile(alpha) * math.sqrt(variance) / (area * (1 - area))
        logit = math.log(area / (1 - area))
        low, high = (float(special.expit(logit + side)) for side in (-half_width, half_width))
        return Interval(low, high, DELONG)

    return PerformanceEstimate(area, interval)


def auc_change(
    before: ArrayLike, after: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> PerformanceEstimate:
    """Return the area of scores ``after`` minus that of ``before``, (N,) each on the same rows.

    The interval is that of the paired DeLong test.
    """
    vectors = np.stack([np.asarray(before), np.asarray(after)])
    placements = PlacementValues.from_scores(vectors, labels, weights)
    change = float(placements.auc[1] - placements.auc[0])
    variance = float(np.array([-1, 1]) @ placements.covariance @ [-1, 1])
    standard_error = math.sqrt(max(variance, 0.0))

    def interval(alpha: float) -> Interval:
        half_width = normal_quantile(alpha) * standard_error
        low, high = max(change - half_width, -1.0), min(change + half_width, 1.0)
        return Interval(low, high, f"paired {DELONG}")

    return PerformanceEstimate(change, interval)


def performance_change(
    key: str,
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the performance of decisions ``after`` minus that of ``before``, on the same rows.

    Args:
        key: of ``fairfix.metrics.performance.PERFORMANCES``.
        before, after, labels: (N,) 0/1 each; weights: (N,).

    Raises:
        KeyError: for another key.
    """
    before, after, labels = (np.asarray(a).astype(int) for a in (before, after, labels))
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    effect = (weights**2).sum() / weights.sum()
    table = np.bincount(4 * labels + 2 * before + after, weights, 8).reshape(2, 2, 2) / effect
    value = float(_change(key, table))

    def interval(alpha: float) -> Interval:
        low, high = performance_change_limits(key, table, alpha)
        return Interval(float(low), float(high), PAIRED)

    return PerformanceEstimate(value, interval)


def performance_change_limits(key: str, table: Array, alpha: float) -> Limits:
    """Return limits of a change of performance, (...).

    One row is added to each kind of change of decision, so that the variance is not 0 where none
    was observed (Bonett and Price 2012).

    Args:
        table: (..., label, decision before, decision after) effective rows.
    """
    rows = table.sum((-1, -2))
    table = (table + CHANGED) * (rows / (rows + 2))[..., None, None]
    # First-order contribution of a row of each kind to the change; its variance within the label.
    before, after = _gradient(key, table.sum(-1)), _gradient(key, table.sum(-2))
    contribution = (
        after[..., None, None] * POSITIVE_AFTER - before[..., None, None] * POSITIVE_AFTER.T
    )
    mean, square = ((table * power).sum((-1, -2)) for power in (contribution, contribution**2))
    variance = ((square - mean**2 / rows) / rows**2).sum(-1)
    half_width = normal_quantile(alpha) * np.sqrt(variance)
    center = _change(key, table)
    return Limits(np.maximum(center - half_width, -1.0), np.minimum(center + half_width, 1.0))


def _change(key: str, table: Array) -> Array:
    return performance_of_table(key, table.sum(-2)) - performance_of_table(key, table.sum(-1))


def performance_of_table(key: str, table: Array) -> Array:
    """Return the performance, (...), of rows (..., label, decision)."""
    tn, fp, fn, tp = (table[..., label, decision] for label in (0, 1) for decision in (0, 1))
    if key == "balanced_accuracy":
        return np.asarray((tp / (tp + fn) + tn / (tn + fp)) / 2)
    if key == "accuracy":
        return np.asarray((tp + tn) / table.sum((-1, -2)))
    return np.asarray(2 * tp / (2 * tp + fp + fn))


def _gradient(key: str, table: Array) -> Array:
    """Return the derivative of performance by the positive rate of each label, (..., 2)."""
    rows = table.sum(-1)
    if key == "balanced_accuracy":
        return np.broadcast_to([-0.5, 0.5], rows.shape)
    if key == "accuracy":
        return np.asarray(rows * [-1, 1] / rows.sum(-1, keepdims=True))
    fp, tp = table[..., 0, 1], table[..., 1, 1]
    denominator = tp + fp + rows[..., 1]
    by_row = np.stack([-2 * tp, 2 * (denominator - tp)], -1) / denominator[..., None] ** 2
    return np.asarray(by_row * rows)


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> Array:
    """Return the quotient without warnings; NaN or infinite where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(numerator, denominator))


def auc_gap(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    n_groups: int,
    weights: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the area of group 0 minus that of group 1, or the range over more than two groups.

    The limits of a difference combine those of its two areas (MOVER, Zou and Donner 2008).

    Args:
        scores, labels, weights: (N,) each.
        groups: (N,) in 0..n_groups-1.
    """
    scores, labels, groups = np.asarray(scores), np.asarray(labels), np.asarray(groups)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    masks = [groups == group for group in range(n_groups)]
    areas = [auc(scores[here], labels[here], weights[here]) for here in masks]
    values = np.array([area.value for area in areas])
    one, other = np.array(list(combinations(range(n_groups), 2))).T
    value = float(values[0] - values[1] if n_groups == 2 else values.max() - values.min())

    def limits(alpha: float) -> Limits:
        """Return the limits of the difference of every pair of groups."""
        intervals = [area.interval(alpha) for area in areas]
        below = values - [interval.low for interval in intervals]
        above = [interval.high for interval in intervals] - values
        difference = values[one] - values[other]
        return Limits(
            difference - np.hypot(below[one], above[other]),
            difference + np.hypot(above[one], below[other]),
        )

    def interval(alpha: float) -> Interval:
        low, high = limits(alpha)
        if n_groups == 2:
            return Interval(float(low[0]), float(high[0]), f"{DELONG}, difference")
        corrected = limits(alpha / len(one))
        lower = np.maximum(np.maximum(corrected.low, -corrected.high), 0.0).max()
        upper = np.maximum(abs(low), abs(high)).max()
        return Interval(float(lower), float(upper), f"{DELONG}, every pair")

    return PerformanceEstimate(value, interval)

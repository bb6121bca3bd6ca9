"""Confidence intervals of the area under the ROC curve, its changes, and gaps between groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    Array,
    Interval,
    Limits,
    clopper_pearson,
    few_clusters_alpha,
    has_small_counts,
    normal_quantile,
)
from fairfix.stats.performance_intervals import PerformanceEstimate, few_clusters_reason

DELONG = "DeLong"


@dataclass(frozen=True)
class PlacementValues:
    """Placement values: the position of each row's score among those of the other label.

    Source: DeLong, DeLong and Clarke-Pearson 1988; Obuchowski 1997 for clusters.

    Attributes:
        values: (S, N) weighted fraction of the rows of the other label that are ordered correctly
            relative to the row, ties counted one half; S score vectors.
        fraction: (N,) the row's fraction of the total weight of its label.
        labels: (N,) bool.
        clusters: (N,) position of the row's cluster; None for independent rows.
    """

    values: Array
    fraction: Array
    labels: NDArray[np.bool_]
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def from_scores(
        cls,
        scores: ArrayLike,
        labels: ArrayLike,
        weights: ArrayLike | None,
        clusters: ArrayLike | None = None,
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
        position = None if clusters is None else np.unique(clusters, return_inverse=True)[1]
        return cls(values, fraction, positive, position)

    @property
    def auc(self) -> Array:
        """Areas under the ROC curve, (S,); NaN if a label is missing."""
        if self.labels.all() or not self.labels.any():
            return np.full(len(self.values), np.nan)
        return np.asarray(self.values[:, self.labels] @ self.fraction[self.labels])

    def variance(self, contrast: Array) -> float:
        """Return the variance of a contrast (S,) of the areas.

        That of sums by cluster (with CR1), if it is larger than that of independent rows.
        """
        variance = float(contrast @ self.covariance @ contrast)
        if self.clusters is None:
            return variance
        sums = np.bincount(self.clusters, contrast @ self.deviations)
        n = len(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            return max(variance, float(np.divide(n, n - 1) * (sums**2).sum()))

    @property
    def n_clusters(self) -> float:
        """The smaller number of clusters with rows of a label; infinite for independent rows."""
        if self.clusters is None:
            return math.inf
        return min(len(np.unique(self.clusters[side])) for side in (self.labels, ~self.labels))

    @property
    def deviations(self) -> Array:
        """Influence of each row on the areas, (S, N)."""
        return np.asarray((self.values - self.auc[:, None]) * self.fraction)

    @property
    def covariance(self) -> Array:
        """Covariance of the areas for independent rows, (S, S)."""
        deviations = self.deviations
        parts = []
        for side in (self.labels, ~self.labels):
            inverse_rows = (self.fraction[side] ** 2).sum()  # 1 / effective rows
            with np.errstate(invalid="ignore"):  # undefined for a single row
                product = deviations[:, side] @ deviations[:, side].T
                parts.append(product * _divide(1.0, 1 - inverse_rows))
        return np.asarray(sum(parts))

    @property
    def rarer_label_rows(self) -> float:
        """Effective rows of the rarer label; the rows of a cluster count as one."""
        return min(
            float(_divide(1.0, (self._fractions(side) ** 2).sum()))
            for side in (self.labels, ~self.labels)
        )

    def _fractions(self, side: NDArray[np.bool_]) -> Array:
        """Return the fraction of the rows of a label, or of its clusters."""
        if self.clusters is None:
            return self.fraction[side]
        return np.asarray(np.bincount(self.clusters[side], self.fraction[side]), float)


def _placement_values(scores: Array, labels: NDArray[np.bool_], fraction: Array) -> Array:
    _, rank = np.unique(scores, return_inverse=True)
    size = int(rank.max()) + 1
    negative, positive = (np.bincount(rank, fraction * side, size) for side in (~labels, labels))
    below = np.cumsum(negative) - negative / 2
    above = 1 - np.cumsum(positive) + positive / 2
    return np.asarray(np.where(labels, below[rank], above[rank]))


def auc(
    scores: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    exact: bool = False,
) -> PerformanceEstimate:
    """Return the area under the ROC curve, ties counted one half.

    The interval is DeLong's on the logistic scale. With small counts, or if ``exact``, it is the
    Clopper-Pearson interval for as many independent pairs of rows as the rarer label has rows,
    which is conservative: the area is at least as precise as the fraction of such pairs in order.

    Args:
        scores, labels, weights, clusters: (N,) each.
    """
    placements = PlacementValues.from_scores(scores, labels, weights, clusters)
    area, variance = float(placements.auc[0]), placements.variance(np.ones(1))
    pairs, n_clusters = placements.rarer_label_rows, placements.n_clusters
    is_exact = exact or bool(has_small_counts(area * pairs, pairs))

    def interval(alpha: float) -> Interval:
        alpha = few_clusters_alpha(alpha, n_clusters)
        if is_exact:
            limits = clopper_pearson(area * pairs, pairs, alpha)
            method = f"{CLOPPER_PEARSON} of independent pairs"
            return Interval(float(limits.low), float(limits.high), method)
        half_width = normal_quantile(alpha) * math.sqrt(variance) / (area * (1 - area))
        logit = math.log(area / (1 - area))
        low, high = (float(special.expit(logit + side)) for side in (-half_width, half_width))
        return Interval(low, high, DELONG)

    return PerformanceEstimate(area, interval, few_clusters_reason(n_clusters))


def auc_change(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the area of scores ``after`` minus that of ``before``, (N,) each on the same rows.

    The interval is that of the paired DeLong test.
    """
    vectors = np.stack([np.asarray(before), np.asarray(after)])
    placements = PlacementValues.from_scores(vectors, labels, weights, clusters)
    change = float(placements.auc[1] - placements.auc[0])
    variance = placements.variance(np.array([-1.0, 1.0]))
    standard_error = math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan
    n_clusters = placements.n_clusters

    def interval(alpha: float) -> Interval:
        half_width = normal_quantile(few_clusters_alpha(alpha, n_clusters)) * standard_error
        low, high = max(change - half_width, -1.0), min(change + half_width, 1.0)
        return Interval(low, high, f"paired {DELONG}")

    return PerformanceEstimate(change, interval, few_clusters_reason(n_clusters))


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
    clusters: ArrayLike | None = None,
) -> PerformanceEstimate:
    """Return the area of group 0 minus that of group 1, or the range over more than two groups.

    The limits of a difference combine those of its two areas (MOVER, Zou and Donner 2008).

    Args:
        scores, labels, weights, clusters: (N,) each.
        groups: (N,) in 0..n_groups-1.
    """
    scores, labels, groups = np.asarray(scores), np.asarray(labels), np.asarray(groups)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    masks = [groups == group for group in range(n_groups)]
    of = None if clusters is None else np.asarray(clusters)
    areas = [
        auc(scores[here], labels[here], weights[here], None if of is None else of[here])
        for here in masks
    ]
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

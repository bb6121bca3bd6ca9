"""Intervals of performance, and of its change on the same rows."""

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
from fairfix.stats.gap_intervals import array
from fairfix.stats.intervals import (
    SCORE,
    STRICT,
    WILSON,
    Array,
    Interval,
    Limits,
    clopper_pearson,
    contrast,
    half_step,
    normal_quantile,
    pick,
    share,
    small,
    strict_contrast,
)

DELONG = "DeLong"
PAIRED = "paired, stratified by label"
AFTER = np.array([[0.0, 1.0], [0.0, 1.0]])
SWAPS = np.array([[0.0, 1.0], [1.0, 0.0]])
"""Of decisions (before, after): those positive after, and those that changed."""


@dataclass(frozen=True)
class Measured:
    """A figure and its interval, two-sided at 1 - 2 alpha, for any alpha. NaN undefined."""

    value: float
    interval: Callable[[float], Interval]


def performance(key: str, counts: Counts, *, strict: bool = False) -> Measured:
    """Balanced accuracy, accuracy or F1 over all groups of counts (G,).

    Raises:
        KeyError: for another key.
    """
    limits_of, method = LIMITS[key]
    sides = _effective(counts)

    def interval(alpha: float) -> Interval:
        (low, high), exact = limits_of(*sides, alpha, strict=strict)
        return Interval(float(low), float(high), STRICT if exact else method)

    return Measured(float(PERFORMANCES[key](counts)), interval)


def _effective(counts: Counts) -> list[Array]:
    """The four sides over all groups, in effective rows."""
    sides = [array(side) for side in counts.sides]
    rows = np.sum(sides, axis=0)
    effect = (rows * array(counts.design_effect)).sum() / rows.sum()
    return [side.sum() / effect for side in sides]


Found = tuple[Limits, NDArray[np.bool_]]
"""Limits (...), and where they are the exact ones."""


def balanced_accuracy_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, strict: bool = False
) -> Found:
    """Of (TPR - FPR + 1) / 2, from the two shares."""
    hits, trials = np.stack([tp, fp], -1), np.stack([tp + fn, fp + tn], -1)
    exact = np.asarray(small(hits, trials).any(-1) | strict)
    step = half_step(trials)
    low, high = contrast(hits, trials, [1, -1], alpha)
    low, high = pick(
        exact, strict_contrast(hits, trials, [1, -1], alpha), Limits(low - step, high + step)
    )
    return Limits(np.maximum((low + 1) / 2, 0.0), np.minimum((high + 1) / 2, 1.0)), exact


def accuracy_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, strict: bool = False
) -> Found:
    """Of one share of all rows."""
    return share(tp + tn, tp + fp + fn + tn, alpha, strict=strict)


def f1_limits(
    tp: Array, fp: Array, fn: Array, tn: Array, alpha: float, *, strict: bool = False
) -> Found:
    """Of F1 = 2 J / (1 + J), where J is the share of true ones among all that are or seem positive.

    Of random rows J is an ordinary share of those.
    """
    (low, high), exact = share(tp, tp + fp + fn, alpha, strict=strict)
    return Limits(2 * low / (1 + low), 2 * high / (1 + high)), exact


LIMITS: dict[str, tuple[Callable[..., Found], str]] = {
    "balanced_accuracy": (balanced_accuracy_limits, f"{SCORE}, continuity-corrected"),
    "accuracy": (accuracy_limits, WILSON),
    "f1": (f1_limits, f"{WILSON} of tp / (tp + fp + fn)"),
}


@dataclass(frozen=True)
class Placements:
    """How each row's score lies among those of the other label (DeLong 1988).

    Attributes:
        place: (S, N) the share of weight of the other label on the right side of the row's score,
            ties counted one half; S score vectors.
        share: (N,) the row's share of the weight of its label.
        labels: (N,) bool.
    """

    place: Array
    share: Array
    labels: NDArray[np.bool_]

    @classmethod
    def of(cls, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None) -> Placements:
        """Of S score vectors (S, N) for the same N rows."""
        vectors, positive = np.atleast_2d(np.asarray(scores, float)), np.asarray(labels) == 1
        weight = np.ones(len(positive)) if weights is None else np.asarray(weights, float)
        share = np.where(
            positive,
            _ratio(weight, weight[positive].sum()),
            _ratio(weight, weight[~positive].sum()),
        )
        places = np.stack([_places(vector, positive, share) for vector in vectors])
        return cls(places, share, positive)

    @property
    def auc(self) -> Array:
        """(S,) NaN when a label is missing."""
        if self.labels.all() or not self.labels.any():
            return np.full(len(self.place), np.nan)
        return np.asarray(self.place[:, self.labels] @ self.share[self.labels])

    @property
    def covariance(self) -> Array:
        """(S, S) sampling covariance of the areas."""
        away = (self.place - self.auc[:, None]) * self.share
        parts = []
        for side in (self.labels, ~self.labels):
            lost = (self.share[side] ** 2).sum()  # 1 / effective rows
            with np.errstate(invalid="ignore"):  # of a single row nothing is known
                parts.append(away[:, side] @ away[:, side].T * _ratio(1.0, 1 - lost))
        return np.asarray(sum(parts))

    @property
    def rarer(self) -> float:
        """Effective rows of the rarer label."""
        return min(
            float(_ratio(1.0, (self.share[side] ** 2).sum()))
            for side in (self.labels, ~self.labels)
        )


def _places(scores: Array, labels: NDArray[np.bool_], share: Array) -> Array:
    _, rank = np.unique(scores, return_inverse=True)
    size = int(rank.max()) + 1
    negative, positive = (np.bincount(rank, share * side, size) for side in (~labels, labels))
    below = np.cumsum(negative) - negative / 2
    above = 1 - np.cumsum(positive) + positive / 2
    return np.asarray(np.where(labels, below[rank], above[rank]))


def auc(
    scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None, *, strict: bool = False
) -> Measured:
    """Area under the ROC curve of scores (N,) for labels (N,), ties counted one half.

    The interval is DeLong's on the logistic scale. Where that leans on too few rows, or if
    ``strict``, it is the exact one of as many independent pairs of rows as the rarer label has
    rows: the area is no less certain than their share in order.
    """
    placed = Placements.of(scores, labels, weights)
    area, variance, pairs = float(placed.auc[0]), float(placed.covariance[0, 0]), placed.rarer
    exact = strict or bool(small(area * pairs, pairs))

    def interval(alpha: float) -> Interval:
        if exact:
            low, high = clopper_pearson(area * pairs, pairs, alpha)
            return Interval(float(low), float(high), f"{STRICT} of independent pairs")
        reach = normal_quantile(alpha) * math.sqrt(variance) / (area * (1 - area))
        logit = math.log(area / (1 - area))
        return Interval(
            float(special.expit(logit - reach)), float(special.expit(logit + reach)), DELONG
        )

    return Measured(area, interval)


def auc_change(
    before: ArrayLike, after: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> Measured:
    """Area of scores ``after`` minus ``before``, (N,) each for the same rows (paired DeLong)."""
    placed = Placements.of(np.stack([np.asarray(before), np.asarray(after)]), labels, weights)
    change = float(placed.auc[1] - placed.auc[0])
    spread = math.sqrt(max(float(np.array([-1, 1]) @ placed.covariance @ [-1, 1]), 0.0))

    def interval(alpha: float) -> Interval:
        reach = normal_quantile(alpha) * spread
        return Interval(max(change - reach, -1.0), min(change + reach, 1.0), f"paired {DELONG}")

    return Measured(change, interval)


def change(
    key: str,
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    weights: ArrayLike | None = None,
) -> Measured:
    """A performance of decisions ``after`` minus ``before``, (N,) 0/1 each for the same rows.

    Raises:
        KeyError: for a key that is none of ``rates.PERFORMANCES``.
    """
    before, after, labels = (np.asarray(a).astype(int) for a in (before, after, labels))
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights, float)
    effect = (weights**2).sum() / weights.sum()
    table = np.bincount(4 * labels + 2 * before + after, weights, 8).reshape(2, 2, 2) / effect
    value = float(_change(key, table))

    def interval(alpha: float) -> Interval:
        low, high = change_limits(key, table, alpha)
        return Interval(float(low), float(high), PAIRED)

    return Measured(value, interval)


def change_limits(key: str, table: Array, alpha: float) -> Limits:
    """Limits of the change, (...), from effective rows (..., label, decision before, after).

    One row is added to each kind of change of decision (Bonett and Price 2012), so that what was
    not seen is not taken for impossible.
    """
    rows = table.sum((-1, -2))
    table = (table + SWAPS) * (rows / (rows + 2))[..., None, None]
    # What a row of each kind adds to the change, to first order; its variance within its label.
    before, after = _slopes(key, table.sum(-1)), _slopes(key, table.sum(-2))
    worth = after[..., None, None] * AFTER - before[..., None, None] * AFTER.T
    mean, square = ((table * power).sum((-1, -2)) for power in (worth, worth**2))
    variance = ((square - mean**2 / rows) / rows**2).sum(-1)
    reach = normal_quantile(alpha) * np.sqrt(variance)
    center = _change(key, table)
    return Limits(np.maximum(center - reach, -1.0), np.minimum(center + reach, 1.0))


def _change(key: str, table: Array) -> Array:
    return score(key, table.sum(-2)) - score(key, table.sum(-1))


def score(key: str, table: Array) -> Array:
    """Performance, (...), of rows (..., label, decision)."""
    tn, fp, fn, tp = (table[..., label, decision] for label in (0, 1) for decision in (0, 1))
    if key == "balanced_accuracy":
        return np.asarray((tp / (tp + fn) + tn / (tn + fp)) / 2)
    if key == "accuracy":
        return np.asarray((tp + tn) / table.sum((-1, -2)))
    return np.asarray(2 * tp / (2 * tp + fp + fn))


def _slopes(key: str, table: Array) -> Array:
    """How fast performance grows with the share of positive decisions of each label, (..., 2)."""
    rows = table.sum(-1)
    if key == "balanced_accuracy":
        return np.broadcast_to([-0.5, 0.5], rows.shape)
    if key == "accuracy":
        return np.asarray(rows * [-1, 1] / rows.sum(-1, keepdims=True))
    fp, tp = table[..., 0, 1], table[..., 1, 1]
    around = tp + fp + rows[..., 1]
    by_row = np.stack([-2 * tp, 2 * (around - tp)], -1) / around[..., None] ** 2
    return np.asarray(by_row * rows)


def _ratio(part: ArrayLike, whole: ArrayLike) -> Array:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.divide(part, whole))


def auc_gap(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    n_groups: int,
    weights: ArrayLike | None = None,
) -> Measured:
    """Area of group 0 minus that of group 1; of more groups, the largest minus the smallest.

    Limits of a difference from those of its two areas (MOVER, Zou and Donner 2008).
    """
    scores, labels, groups = np.asarray(scores), np.asarray(labels), np.asarray(groups)
    weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
    masks = [groups == group for group in range(n_groups)]
    areas = [auc(scores[here], labels[here], weights[here]) for here in masks]
    values = np.array([area.value for area in areas])
    one, other = np.array(list(combinations(range(n_groups), 2))).T
    value = float(values[0] - values[1] if n_groups == 2 else values.max() - values.min())

    def limits(alpha: float) -> Limits:
        """Of every pair."""
        found = [area.interval(alpha) for area in areas]
        below = values - [interval.low for interval in found]
        above = [interval.high for interval in found] - values
        apart = values[one] - values[other]
        return Limits(
            apart - np.hypot(below[one], above[other]), apart + np.hypot(above[one], below[other])
        )

    def interval(alpha: float) -> Interval:
        low, high = limits(alpha)
        if n_groups == 2:
            return Interval(float(low[0]), float(high[0]), f"{DELONG}, difference")
        sure = limits(alpha / len(one))
        least = np.maximum(np.maximum(sure.low, -sure.high), 0.0).max()
        most = np.maximum(abs(low), abs(high)).max()
        return Interval(float(least), float(most), f"{DELONG}, every pair")

    return Measured(value, interval)

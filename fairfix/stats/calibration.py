"""Calibration of scores by group: of rows with score 0.7, 70 % should have a favorable label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fairfix.data.problem import Problem
from fairfix.metrics.clusters import design_effect_of_mean
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.intervals import Interval, few_clusters_alpha, normal_quantile, rate_interval

BINS = 10

MIN_BIN_ROWS = 30
"""Fewest rows of a bin; small groups have fewer bins."""


@dataclass(frozen=True)
class Bin:
    """A range of scores and the favorable labels in it.

    Attributes:
        low, high: smallest and largest score of the rows in the bin.
        mean_score: expected rate of favorable labels.
        rate: observed rate of favorable labels.
        interval: of the rate.
    """

    low: float
    high: float
    rows: int
    mean_score: float
    rate: float
    interval: Interval


@dataclass(frozen=True)
class Calibration:
    """The scores of one group, or of all rows, compared with the labels.

    Attributes:
        base_rate: rate of favorable labels, with its interval.
        mean_score: rate of favorable labels that the scores predict.
        bias: mean_score - base_rate, with its interval; above 0 the scores are too high.
        error: expected calibration error, the mean over rows of abs(mean score - rate) by bin.
        error_by_chance: approximate value of ``error`` on as many rows if scores were calibrated.
        bins: of about equal size, by increasing score; equal scores share a bin.
    """

    name: str
    rows: int
    base_rate: float
    base_rate_interval: Interval
    mean_score: float
    bias: float
    bias_interval: Interval
    error: float
    error_by_chance: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class _ScoredRows:
    """Scores, labels, weights and clusters, (M,) each, by increasing score."""

    scores: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    clusters: np.ndarray | None

    def take(self, rows: slice | np.ndarray) -> _ScoredRows:
        """Return some of the rows."""
        clusters = None if self.clusters is None else self.clusters[rows]
        return _ScoredRows(self.scores[rows], self.labels[rows], self.weights[rows], clusters)

    def effective(self, values: np.ndarray) -> float:
        """Return the effective number of rows behind the mean of values (M,).

        sum(w)^2 / sum(w^2) (Kish), divided by the design effect of clusters; 0 without weight.
        """
        total = float(self.weights.sum())
        if not total:
            return 0.0
        rows = total**2 / float(self.weights @ self.weights)
        if self.clusters is None:
            return rows
        return rows / design_effect_of_mean(values, self.weights, self.clusters)

    def alpha(self, alpha: float) -> float:
        """Return the alpha whose normal quantile is that of t, for few clusters."""
        if self.clusters is None:
            return alpha
        return few_clusters_alpha(alpha, len(np.unique(self.clusters)))

    def mean(self, values: np.ndarray) -> float:
        """Return the weighted mean of values (M,); NaN if there is no weight."""
        total = float(self.weights.sum())
        return float(self.weights @ values) / total if total else math.nan

    def favorable_rate(self, alpha: float) -> tuple[float, Interval]:
        """Return the rate of favorable labels and its interval."""
        rate, n = self.mean(self.labels), self.effective(self.labels)
        return rate, rate_interval(rate * n if n else 0.0, n, self.alpha(alpha))


def calibration(
    problem: Problem, *, bins: int = BINS, confidence: ConfidenceLevel = DEFAULT_CONFIDENCE
) -> tuple[Calibration, ...]:
    """Return the calibration of a problem's probabilities on "all rows", then on each group.

    Args:
        bins: largest number of bins.
        confidence: intervals are two-sided at 1 - 2 alpha.
    """
    alpha = confidence.alpha
    given = problem.scores if problem.probabilities is None else problem.probabilities
    order = given.cpu().numpy().argsort(kind="stable")
    scores = given.cpu().numpy()[order].astype(float)
    labels = problem.labels.cpu().numpy()[order].astype(float)
    groups = problem.groups.cpu().numpy()[order]
    weights = np.ones(len(order))
    if problem.weights is not None:
        weights = problem.weights.cpu().numpy()[order].astype(float)
    clusters = None if problem.clusters is None else problem.clusters.cpu().numpy()[order]
    rows = _ScoredRows(scores, labels, weights, clusters)

    def part(name: str, mask: np.ndarray) -> Calibration:
        return _calibration(name, rows.take(mask), bins, alpha)

    overall = part("all rows", np.ones(len(order), bool))
    return overall, *(part(name, groups == g) for g, name in enumerate(problem.group_names))


def _calibration(name: str, rows: _ScoredRows, bins: int, alpha: float) -> Calibration:
    base_rate, base_rate_interval = rows.favorable_rate(alpha)
    mean_score = rows.mean(rows.scores)
    parts = _split_into_bins(rows, min(bins, len(rows.scores) // MIN_BIN_ROWS))
    binned = [_bin(part, alpha) for part in parts]
    total = float(rows.weights.sum())
    fractions = [float(part.weights.sum()) / total if total else math.nan for part in parts]
    errors = [abs(each.mean_score - each.rate) for each in binned]
    return Calibration(
        name=name,
        rows=len(rows.scores),
        base_rate=base_rate,
        base_rate_interval=base_rate_interval,
        mean_score=mean_score,
        bias=mean_score - base_rate,
        bias_interval=_bias_interval(rows, alpha),
        error=_weighted_sum(fractions, errors),
        error_by_chance=_weighted_sum(fractions, [_expected_error(part) for part in parts]),
        bins=tuple(binned),
    )


def _weighted_sum(fractions: list[float], values: list[float]) -> float:
    """Return the sum of fraction * value, ignoring values with fraction 0, which may be NaN."""
    products = zip(fractions, values, strict=True)
    return sum(fraction * value for fraction, value in products if fraction != 0)


def _split_into_bins(rows: _ScoredRows, bins: int) -> list[_ScoredRows]:
    """Split into at least one bin of about equal size, keeping equal scores together."""
    n = len(rows.scores)
    edges = rows.scores[[n * i // max(bins, 1) for i in range(1, bins)]]
    bounds = np.unique([0, *np.searchsorted(rows.scores, edges), n])
    return [rows.take(slice(a, b)) for a, b in pairwise(bounds.tolist())]


def _bin(rows: _ScoredRows, alpha: float) -> Bin:
    rate, interval = rows.favorable_rate(alpha)
    return Bin(
        low=float(rows.scores[0]),
        high=float(rows.scores[-1]),
        rows=len(rows.scores),
        mean_score=rows.mean(rows.scores),
        rate=rate,
        interval=interval,
    )


def _expected_error(rows: _ScoredRows) -> float:
    """Return the mean absolute error of a rate under calibrated scores (half-normal)."""
    variance = rows.mean(rows.scores * (1 - rows.scores))
    n = rows.effective(rows.scores - rows.labels)
    return math.sqrt(2 / math.pi * variance / n) if n else math.nan


def _bias_interval(rows: _ScoredRows, alpha: float) -> Interval:
    """Return the interval of the mean of score - label, with a smoothed variance."""
    differences = rows.scores - rows.labels
    n = rows.effective(differences)
    if not n:
        return Interval(math.nan, math.nan, "normal")
    bias = rows.mean(differences)
    # Smoothed like the rate (k + 1) / (n + 2), so that it is not 0 if all rows agree.
    variance = (n * rows.mean((differences - bias) ** 2) + 1) / (n + 2)
    half_width = float(normal_quantile(rows.alpha(alpha))) * math.sqrt(variance / n)
    return Interval(max(-1.0, bias - half_width), min(1.0, bias + half_width), "normal")

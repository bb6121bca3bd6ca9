"""Whether scores mean what they say, for every group: a score of 0.7 should come true in 70 %."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fairfix.data.problem import Problem
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.intervals import Interval, normal_quantile, rate

BINS = 10
MIN_ROWS = 30  # a bin, so that a small group has fewer


@dataclass(frozen=True)
class Bin:
    """Neighboring scores from ``low`` to ``high``, both scores that rows have.

    ``mean_score`` says which share of its ``rows`` should be favorable; ``rate`` is.
    """

    low: float
    high: float
    rows: int
    mean_score: float
    rate: float
    interval: Interval


@dataclass(frozen=True)
class Calibration:
    """The scores of one group, or of all rows, against their labels.

    Attributes:
        base_rate: the share of favorable labels, and its interval.
        mean_score: the share that the scores promise.
        bias: mean_score - base_rate, and its interval: above 0 they promise too much.
        error: expected calibration error, the mean over rows of abs(mean score - rate) by bin.
        error_by_chance: about what ``error`` would be on as many rows if the scores were right.
        bins: of about equal rows, by rising scores; equal scores share one.
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
class _Rows:
    """Scores, labels and weights, (M,) each, by rising score."""

    scores: np.ndarray
    labels: np.ndarray
    weights: np.ndarray

    @property
    def effective(self) -> float:
        """Rows that weigh as much: sum(w)^2 / sum(w^2), 0 for none."""
        total = float(self.weights.sum())
        return total**2 / float(self.weights @ self.weights) if total else 0.0

    def mean(self, values: np.ndarray) -> float:
        total = float(self.weights.sum())
        return float(self.weights @ values) / total if total else math.nan

    def rate(self, alpha: float) -> tuple[float, Interval]:
        """The share of favorable labels, and its interval."""
        share, n = self.mean(self.labels), self.effective
        return share, rate(share * n if n else 0.0, n, alpha)


def calibration(
    problem: Problem, *, bins: int = BINS, confidence: ConfidenceLevel = DEFAULT_CONFIDENCE
) -> tuple[Calibration, ...]:
    """The calibration of a problem's scores: of all rows, called "all rows", then of each group.

    Intervals are two-sided at 1 - 2 alpha, 90 % by default.
    """
    alpha = confidence.alpha
    order = problem.scores.cpu().numpy().argsort(kind="stable")
    scores = problem.scores.cpu().numpy()[order].astype(float)
    labels = problem.labels.cpu().numpy()[order].astype(float)
    groups = problem.groups.cpu().numpy()[order]
    weights = np.ones(len(order))
    if problem.weights is not None:
        weights = problem.weights.cpu().numpy()[order].astype(float)

    def part(name: str, here: np.ndarray) -> Calibration:
        return _calibration(name, _Rows(scores[here], labels[here], weights[here]), bins, alpha)

    everyone = part("all rows", np.ones(len(order), bool))
    return everyone, *(part(name, groups == g) for g, name in enumerate(problem.group_names))


def _calibration(name: str, rows: _Rows, bins: int, alpha: float) -> Calibration:
    base_rate, base_rate_interval = rows.rate(alpha)
    mean_score = rows.mean(rows.scores)
    found = [
        (part, _bin(part, alpha)) for part in _parts(rows, min(bins, len(rows.scores) // MIN_ROWS))
    ]
    total = float(rows.weights.sum())
    shares = [float(part.weights.sum()) / total if total else math.nan for part, _ in found]
    misses = [abs(each.mean_score - each.rate) for _, each in found]
    return Calibration(
        name=name,
        rows=len(rows.scores),
        base_rate=base_rate,
        base_rate_interval=base_rate_interval,
        mean_score=mean_score,
        bias=mean_score - base_rate,
        bias_interval=_bias_interval(rows, alpha),
        error=_weighted(shares, misses),
        error_by_chance=_weighted(shares, [_miss_by_chance(part) for part, _ in found]),
        bins=tuple(each for _, each in found),
    )


def _weighted(shares: list[float], values: list[float]) -> float:
    """The mean of those values whose share is not 0."""
    return sum(share * value for share, value in zip(shares, values, strict=True) if share != 0)


def _parts(rows: _Rows, bins: int) -> list[_Rows]:
    """About equal numbers of rows, at least one part, cut only between different scores."""
    n = len(rows.scores)
    wanted = rows.scores[[n * i // max(bins, 1) for i in range(1, bins)]]
    cuts = np.unique([0, *np.searchsorted(rows.scores, wanted), n])
    return [
        _Rows(rows.scores[a:b], rows.labels[a:b], rows.weights[a:b])
        for a, b in pairwise(cuts.tolist())
    ]


def _bin(rows: _Rows, alpha: float) -> Bin:
    share, interval = rows.rate(alpha)
    return Bin(
        low=float(rows.scores[0]),
        high=float(rows.scores[-1]),
        rows=len(rows.scores),
        mean_score=rows.mean(rows.scores),
        rate=share,
        interval=interval,
    )


def _miss_by_chance(rows: _Rows) -> float:
    """The mean absolute error of a rate when labels follow the scores (half-normal)."""
    variance = rows.mean(rows.scores * (1 - rows.scores))
    return math.sqrt(2 / math.pi * variance / rows.effective) if rows.effective else math.nan


def _bias_interval(rows: _Rows, alpha: float) -> Interval:
    """Of the mean of score - label; rows that all agree do not make it certain."""
    n = rows.effective
    if not n:
        return Interval(math.nan, math.nan, "normal")
    off = rows.scores - rows.labels
    bias = rows.mean(off)
    variance = (n * rows.mean((off - bias) ** 2) + 1) / (n + 2)  # as (k + 1) / (n + 2) of a share
    spread = float(normal_quantile(alpha)) * math.sqrt(variance / n)
    return Interval(max(-1.0, bias - spread), min(1.0, bias + spread), "normal")

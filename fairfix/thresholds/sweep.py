"""Threshold sweep: gap, performance and selection rates at every shared threshold."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import selection_rate
from fairfix.thresholds.shared import evaluate_all_thresholds

MAX_POINTS = 101


@dataclass(frozen=True)
class SweepPoint:
    """The figures at one threshold: positive where score > threshold.

    Attributes:
        threshold: in [-1, 1].
        gap: value of the metric as reported, signed where the metric has a sign; NaN = undefined.
        size: what a budget bounds, >= 0; NaN = undefined.
        performance: in [0, 1]; NaN = undefined.
        selection_rates: (G,) P(decision = 1) of each group.
    """

    threshold: float
    gap: float
    size: float
    performance: float
    selection_rates: tuple[float, ...]


@dataclass(frozen=True)
class ThresholdSweep:
    """A metric and a performance measure over shared thresholds.

    Attributes:
        metric, performance: keys of the metric and of the performance measure.
        groups: group names, in the order of each point's selection rates.
        points: at most 101 of all thresholds between two scores, ascending from -1 (all positive)
            to 1 (none positive); the figures of each are exact.
        current: the threshold in use.
    """

    metric: str
    performance: str
    groups: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    current: SweepPoint


def threshold_sweep(problem: Problem, objective: Objective, threshold: float) -> ThresholdSweep:
    """Return the objective's metric and performance over shared thresholds.

    Args:
        problem: scores, labels and groups.
        objective: gives the metric and the performance measure.
        threshold: the threshold in use, in [-1, 1].
    """
    thresholds, counts = evaluate_all_thresholds(problem)
    kept = _thin(thresholds, selection_rate(counts.total()).value[:, 0]).flip(0)
    current = problem.counts((problem.scores > threshold).unsqueeze(0))
    return ThresholdSweep(
        metric=objective.metric.key,
        performance=objective.performance.key,
        groups=problem.group_names,
        points=_points(objective, thresholds[kept].tolist(), counts.take(kept)),
        current=_points(objective, [threshold], current)[0],
    )


def _thin(thresholds: Tensor, selected: Tensor) -> Tensor:
    """Return the indices of at most 101 of K thresholds, ascending, both ends included.

    Steps are even in the sum of threshold and selection rate. Steps even in the threshold alone
    would skip most decisions where scores are dense; even in the rate, most of the axis.

    Args:
        thresholds: (K,) descending.
        selected: (K,) selection rate at each threshold.
    """
    if len(thresholds) <= MAX_POINTS:
        return torch.arange(len(thresholds), device=thresholds.device)
    place = selected - thresholds.clamp(0, 1).to(selected)
    goals = torch.linspace(float(place[0]), float(place[-1]), MAX_POINTS).to(place)
    above = torch.searchsorted(place.contiguous(), goals).clamp(1, len(place) - 1)
    nearer = goals - place[above - 1] < place[above] - goals
    kept: Tensor = torch.where(nearer, above - 1, above).unique()
    return kept


def _points(
    objective: Objective, thresholds: list[float], counts: Counts
) -> tuple[SweepPoint, ...]:
    gap, performance = objective.metric(counts), objective.performance(counts)
    rates = selection_rate(counts).value.tolist()
    columns = (gap.value.tolist(), gap.size.tolist(), performance.tolist())
    return tuple(
        SweepPoint(threshold, value, size, score, tuple(selected))
        for threshold, value, size, score, selected in zip(thresholds, *columns, rates, strict=True)
    )

"""What another shared threshold would do: gap, performance and selection rates at every cut."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import Counts, selection_rate
from fairfix.thresholds.shared import evaluate_all_thresholds

MAX_POINTS = 101


@dataclass(frozen=True)
class SweepPoint:
    """One threshold: positive where score > threshold.

    Attributes:
        gap: the metric as it is reported, NaN undefined; ``size`` is what a budget bounds.
        performance: in [0, 1], NaN undefined.
        selection_rates: P(decision = 1) of each group.
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
        metric, performance: keys of ``rates.METRICS`` and ``rates.PERFORMANCES``.
        groups: names, in the order of every point's selection rates.
        points: at most 101 of all the cuts between two scores, thresholds rising from -1, everyone
            positive, to 1, no one; each is exact.
        current: the threshold in use.
    """

    metric: str
    performance: str
    groups: tuple[str, ...]
    points: tuple[SweepPoint, ...]
    current: SweepPoint


def threshold_sweep(problem: Problem, objective: Objective, threshold: float) -> ThresholdSweep:
    """The objective's metric and performance by shared threshold, on the problem's scores.

    Args:
        threshold: the one in use, in [-1, 1].
    """
    thresholds, counts = evaluate_all_thresholds(problem)
    kept = _spread(thresholds, selection_rate(counts.total()).value[:, 0]).flip(0)
    current = problem.counts((problem.scores > threshold).unsqueeze(0))
    return ThresholdSweep(
        metric=objective.metric.key,
        performance=objective.performance.key,
        groups=problem.group_names,
        points=_points(objective, thresholds[kept].tolist(), _some(counts, kept)),
        current=_points(objective, [threshold], current)[0],
    )


def _spread(thresholds: Tensor, selected: Tensor) -> Tensor:
    """Which of K cuts to keep, rising: the ends, and steps alike in threshold and share selected.

    Even steps in threshold alone would skip most decisions where scores crowd, even steps in the
    share most of the axis.
    """
    if len(thresholds) <= MAX_POINTS:
        return torch.arange(len(thresholds), device=thresholds.device)
    place = selected - thresholds.clamp(0, 1).to(selected)
    goals = torch.linspace(float(place[0]), float(place[-1]), MAX_POINTS).to(place)
    above = torch.searchsorted(place.contiguous(), goals).clamp(1, len(place) - 1)
    nearer = goals - place[above - 1] < place[above] - goals
    kept: Tensor = torch.where(nearer, above - 1, above).unique()
    return kept


def _some(counts: Counts, index: Tensor) -> Counts:
    tp, fp, fn, tn = (side[index] for side in counts.sides)
    return Counts(tp, fp, fn, tn, counts.design_effect)


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

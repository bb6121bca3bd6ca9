"""Overfitting: whether a result is better on its validation rows than on test rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import Performance
from fairfix.stats.auc_figures import of_auc, of_auc_gap
from fairfix.stats.linearized_figures import LinearizedFigure

Z_CRITICAL = 1.96
"""Standard errors by which test rows must be worse."""


@dataclass(frozen=True)
class Overfitted:
    """A figure that is worse on test rows: the key of the metric or measure, and a sentence."""

    key: str
    sentence: str


Estimate = tuple[float, float]
"""A value and its variance."""


def overfitting(
    validation: Problem,
    validation_decisions: Tensor,
    test: Problem,
    test_decisions: Tensor,
    objective: Objective,
) -> tuple[Overfitted, ...]:
    """Return the figures that are worse on test rows, as sentences without a full stop.

    The gap and the performance of the objective are compared by a z-test of two independent
    estimates.

    Args:
        validation, test: rows with the scores of the result.
        validation_decisions, test_decisions: decisions (N,) bool of the result on each.
    """
    pairs = (validation, validation_decisions), (test, test_decisions)
    counts = [problem.clustered_counts(decisions) for problem, decisions in pairs]
    metric, measure = objective.metric, objective.performance
    gaps = _estimates(pairs, of_auc_gap) if metric.of_scores else [_gap(metric, c) for c in counts]
    performances = (
        _estimates(pairs, of_auc)
        if measure.of_scores
        else [_performance(measure, each.total()) for each in counts]
    )
    sizes = [g for g, _ in gaps] if metric.of_scores else [float(metric(c).size) for c in counts]
    comparisons = (
        (
            metric.key,
            f"abs({metric.key})",
            sizes,
            _z_score(gaps[1], gaps[0]),
        ),
        (
            measure.key,
            measure.title,
            [value for value, _ in performances],
            _z_score(*performances),
        ),
    )
    return tuple(
        Overfitted(
            key,
            f"overfitting: {name} is {values[0]:.3f} on the {len(validation):,} validation rows "
            f"and {values[1]:.3f} on the {len(test):,} test rows, worse by {z:.1f} standard errors",
        )
        for key, name, values, z in comparisons
        if z > Z_CRITICAL and math.isfinite(sum(values))
    )


def _estimates(
    pairs: Sequence[tuple[Problem, Tensor]], figure: Callable[[Problem, Tensor], LinearizedFigure]
) -> list[Estimate]:
    """Return a figure of the scores of each problem."""
    found = [(figure(problem, problem.scores), problem.clusters) for problem, _ in pairs]
    return [(each.value, each.variance(clusters)) for each, clusters in found]


def _z_score(larger: Estimate, smaller: Estimate) -> float:
    """Return the difference of independent estimates in standard errors; NaN if undefined."""
    return (larger[0] - smaller[0]) / math.sqrt(larger[1] + smaller[1])


def _gap(metric: Metric, counts: Counts) -> Estimate:
    """Return the largest absolute part of a gap, on the scale of the parts."""
    parts = metric(counts).parts
    sizes = torch.cat([part.value.abs() for part in parts])
    largest = int(sizes.argmax())
    return float(sizes[largest]), float(torch.cat([part.variance for part in parts])[largest])


def _performance(measure: Performance, total: Counts) -> Estimate:
    return float(measure(total)), float(measure.variance(total))

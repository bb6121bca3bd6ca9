"""Whether a result is better on the rows it was fitted on than on rows it never saw."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, design_effect
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import Performance
from fairfix.metrics.registry import Metric

BEYOND_NOISE = 1.96  # standard errors
Estimate = tuple[float, float]
"""A value and its sampling variance."""


def overfitting(
    fitting: Problem, fitted: Tensor, judged: Problem, decided: Tensor, objective: Objective
) -> tuple[str, ...]:
    """Sentences, without a full stop, that name what is better on the fitting rows.

    Better by more than the sampling noise of both estimates explains, they being independent.

    Args:
        fitted, decided: decisions (N,) bool of the result on the fitting and the judged rows.
        objective: whose gap and performance are compared.
    """
    here, there = fitting.counts(fitted), judged.counts(decided)
    metric, measure = objective.metric, objective.performance
    totals = _in_total(fitting, here), _in_total(judged, there)
    found = (
        (
            f"abs({metric.key})",
            (float(metric(here).size), float(metric(there).size)),
            _excess(_gap(metric, there), _gap(metric, here)),
        ),
        (
            measure.title,
            (float(measure(here)), float(measure(there))),
            _excess(*(_performance(measure, total) for total in totals)),
        ),
    )
    return tuple(
        f"overfitting: {what} is {values[0]:.3f} on the {len(fitting):,} fitting rows and "
        f"{values[1]:.3f} on the {len(judged):,} judged rows, worse by {z:.1f} standard errors"
        for what, values, z in found
        if z > BEYOND_NOISE and math.isfinite(sum(values))
    )


def _excess(more: Estimate, less: Estimate) -> float:
    """By how many standard errors one estimate exceeds an independent other; NaN undefined."""
    return (more[0] - less[0]) / math.sqrt(more[1] + less[1])


def _gap(metric: Metric, counts: Counts) -> Estimate:
    """The size of the gap on the scale of the metric's parts: that of the largest."""
    parts = metric(counts).parts
    sizes = torch.cat([part.value.abs() for part in parts])
    largest = int(sizes.argmax())
    return float(sizes[largest]), float(torch.cat([part.variance for part in parts])[largest])


def _in_total(problem: Problem, counts: Counts) -> Counts:
    """The counts of all groups together, with the design effect of all rows."""
    everyone = problem.groups.new_zeros(len(problem))
    return Counts(*counts.total().sides, design_effect(everyone, 1, problem.weights))


def _performance(measure: Performance, total: Counts) -> Estimate:
    return float(measure(total)), float(measure.variance(total))

"""What a result makes worse than both the decisions in use today and the network's own optimum.

The optimum is the unmodified network at the threshold of best performance, without a budget. A
change is serious if it is worse than both on the same test rows by more than 2 standard errors;
whatever today's decisions or that optimum do as well is not the work of the method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from scipy import special
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, Metric
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import accuracy
from fairfix.metrics.rates import selection_rate
from fairfix.stats.auc_figures import of_auc, of_auc_gap
from fairfix.stats.auc_levelling_down import auc_levelling_down
from fairfix.stats.calibration_error import calibration_error
from fairfix.stats.decision_changes import levelling_down
from fairfix.stats.linearized_figures import LinearizedFigure, of_decisions, standard_errors
from fairfix.stats.other_attributes import GroupColumn, column_change
from fairfix.stats.overfitting import overfitting
from fairfix.stats.verdicts import holm

STANDARD_ERRORS = 2.0
ALPHA = float(special.ndtr(-STANDARD_ERRORS))

OTHER_GAPS = ("spd", "eod", "fprd")
"""Metrics watched besides the debiased one: the rates of decisions, of all rows and by label."""
CALIBRATION_LIMIT = 0.03
SELECTION_RATE_LIMIT = 0.5


class Decided(Protocol):
    """Rows with three sets of decisions (N,) bool, and the scores (N,) of the result."""

    @property
    def problem(self) -> Problem: ...

    @property
    def scores(self) -> Tensor: ...

    @property
    def unmodified(self) -> Tensor: ...

    @property
    def optimum(self) -> Tensor: ...

    @property
    def debiased(self) -> Tensor: ...

    @property
    def probabilities(self) -> Tensor | None: ...
    @property
    def groups(self) -> Sequence[GroupColumn]: ...


@dataclass(frozen=True)
class Deterioration:
    """A figure that is past its limit on the test rows.

    Attributes:
        what: the kind of figure: "accuracy", "selection rate", "calibration error", "gap",
            "reversed gap", "levelling down" or "overfitting".
        metric, column: of a gap; empty otherwise.
        today, optimum, debiased: the figure of each; NaN where it has none.
        limit: the limit that it is past.
        serious: whether it is worse than both by more than 2 standard errors.
        detail: the sentence of levelling down and overfitting; empty otherwise.
    """

    what: str
    today: float
    optimum: float
    debiased: float
    limit: float
    serious: bool
    metric: str = ""
    column: str = ""
    detail: str = ""


def deteriorations(
    validation: Decided, test: Decided, objective: Objective
) -> tuple[Deterioration, ...]:
    """Return every figure of a result that is past its limit, serious or not.

    Args:
        validation, test: the rows that the method was tuned on and rows that it never saw.
    """
    found = (_accuracy(test), _selection_rate(test), _calibration(test))
    return (
        *(each for each in found if each is not None),
        *_gaps(test, objective),
        *_levelling_down(test, objective.metric),
        *_overfitting(validation, test, objective),
    )


def _accuracy(rows: Decided) -> Deterioration | None:
    """Accuracy below the share of the more frequent label."""
    problem = rows.problem
    today, optimum, debiased = _three(rows, lambda counts: accuracy(counts.total()))
    base_rate = float(problem.cells[:, 1::2].sum() / problem.cells.sum())
    majority = max(base_rate, 1 - base_rate)
    if not debiased.value < majority:
        return None
    worse = all(_worse(each - debiased, problem) for each in (today, optimum))
    return Deterioration(
        "accuracy", today.value, optimum.value, debiased.value, majority, serious=worse
    )


def _selection_rate(rows: Decided) -> Deterioration | None:
    """A selection rate more than half above or below today's."""
    today, optimum, debiased = _three(rows, lambda counts: selection_rate(counts.total()).value)
    change = debiased - today
    if not abs(change.value) > SELECTION_RATE_LIMIT * today.value:
        return None
    size, own = _absolute(change), _absolute(optimum - today)
    worse = _worse(size, rows.problem) and _worse(size - own, rows.problem)
    return Deterioration(
        "selection rate",
        today.value,
        optimum.value,
        debiased.value,
        SELECTION_RATE_LIMIT,
        serious=worse,
    )


def _calibration(rows: Decided) -> Deterioration | None:
    """A calibration error that is more than .03 above that of the unmodified network."""
    problem, scores = rows.problem, rows.scores
    if rows.probabilities is not None:
        scores = rows.probabilities
    if torch.equal(problem.scores, scores):
        return None
    before, after = (calibration_error(problem, s).figure for s in (problem.scores, scores))
    if not after.value - before.value > CALIBRATION_LIMIT:
        return None
    return Deterioration(
        "calibration error",
        before.value,
        before.value,
        after.value,
        CALIBRATION_LIMIT,
        serious=_worse(after - before, problem),
    )


def _gaps(rows: Decided, objective: Objective) -> tuple[Deterioration, ...]:
    """Other gaps that are beyond the budget or reversed, with Holm's correction over all."""
    own = objective.metric
    watched = [
        (METRICS[key], column)
        for position, column in enumerate(rows.groups)
        for key in dict.fromkeys(OTHER_GAPS if own.of_scores else (own.key, *OTHER_GAPS))
        if position or key != own.key
    ]
    tested = [pair for metric, column in watched for pair in _gap(rows, metric, column)]
    rejected = holm([p for _, p in tested], ALPHA)
    found = [
        replace(each, serious=worse)
        for (each, _), worse in zip(tested, rejected, strict=True)
        if _past(each, objective.budget)
    ]
    return tuple(replace(each, limit=objective.budget) for each in found)


def _past(each: Deterioration, budget: float) -> bool:
    if each.what == "gap":
        return abs(each.debiased) >= budget
    return each.today * each.debiased < 0 and each.optimum * each.debiased < 0


def _gap(
    rows: Decided, metric: Metric, column: GroupColumn
) -> Iterator[tuple[Deterioration, float]]:
    """Yield the size of a gap and, for a signed gap of two groups, its value, with p-values.

    The hypotheses are "it is no larger than today's or than the optimum's" and "its sign is that
    of today's or of the optimum's".
    """
    of_today, of_optimum = (
        column_change(rows.problem, reference, rows.debiased, metric, column)
        for reference in (rows.unmodified, rows.optimum)
    )
    grown = Deterioration(
        "gap",
        of_today.before,
        of_optimum.before,
        of_today.after,
        math.nan,
        serious=False,
        metric=metric.key,
        column=column.column,
    )
    p_grown = float(np.maximum(of_today.p, of_optimum.p))
    yield grown, p_grown
    if math.isnan(p_grown) or len(column.names) != 2 or not metric.signed or metric.ratio:
        return
    problem = replace(
        rows.problem,
        groups=torch.as_tensor(column.ids, device=rows.problem.groups.device),
        group_names=column.names,
        further={},
    )
    today, optimum, debiased = (
        of_decisions(problem, decisions, lambda counts: metric(counts).value)
        for decisions in (rows.unmodified, rows.optimum, rows.debiased)
    )
    values = (today.value, optimum.value, debiased.value)
    sign = math.copysign(1.0, debiased.value)
    signed = (today.scaled(-sign), optimum.scaled(-sign), debiased.scaled(sign))
    p_reversed = max(float(special.ndtr(-_z(each, problem))) for each in signed)
    yield (
        replace(grown, what="reversed gap", today=values[0], optimum=values[1], debiased=values[2]),
        p_reversed,
    )


def _levelling_down(rows: Decided, metric: Metric) -> Iterator[Deterioration]:
    """Yield a gap that is smaller because groups lost, compared with today and the optimum."""

    def against(decisions: Tensor) -> tuple[str, ...]:
        if metric.of_scores:
            return auc_levelling_down(rows.problem, rows.scores)
        return levelling_down(rows.problem, decisions, rows.debiased, metric)

    sentences = against(rows.unmodified)
    if not sentences:
        return
    own = against(rows.optimum)
    nan = math.nan
    yield Deterioration(
        "levelling down", nan, nan, nan, nan, serious=bool(own), detail=sentences[0]
    )


def _overfitting(
    validation: Decided, test: Decided, objective: Objective
) -> Iterator[Deterioration]:
    """Yield what is worse on test rows than on validation rows, compared with the references'."""
    measure, metric = objective.performance, objective.metric
    figures: dict[str, tuple[float, Callable[[Decided], Three]]] = {
        metric.key: (
            1.0,
            partial(_three_of_scores, figure=of_auc_gap)
            if metric.of_scores
            else partial(_three, figure=lambda counts: metric(counts).size),
        ),
        measure.key: (
            -1.0,
            partial(_three_of_scores, figure=of_auc)
            if measure.of_scores
            else partial(_three, figure=measure),
        ),
    }
    nan = math.nan
    validation_rows, test_rows = (
        replace(each.problem, scores=each.scores) for each in (validation, test)
    )
    for each in overfitting(
        validation_rows, validation.debiased, test_rows, test.debiased, objective
    ):
        sign, three = figures[each.key]
        *references, own = zip(three(validation), three(test), strict=True)
        worse = all(
            standard_errors(
                ((own[1] - reference[1]).scaled(sign), test.problem.clusters),
                ((reference[0] - own[0]).scaled(sign), validation.problem.clusters),
            )
            > STANDARD_ERRORS
            for reference in references
        )
        yield Deterioration("overfitting", nan, nan, nan, nan, serious=worse, detail=each.sentence)


Three = tuple[LinearizedFigure, LinearizedFigure, LinearizedFigure]


def _three(rows: Decided, figure: Callable[[Counts], Tensor]) -> Three:
    """Return a figure of today's decisions, of the optimum, and of the result."""

    def of(decisions: Tensor) -> LinearizedFigure:
        return of_decisions(rows.problem, decisions, figure)

    return of(rows.unmodified), of(rows.optimum), of(rows.debiased)


def _three_of_scores(rows: Decided, figure: Callable[[Problem, Tensor], LinearizedFigure]) -> Three:
    """Return a figure of the unmodified scores, twice, and of the result's."""
    before = figure(rows.problem, rows.problem.scores)
    return before, before, figure(rows.problem, rows.scores)


def _absolute(figure: LinearizedFigure) -> LinearizedFigure:
    return figure.scaled(math.copysign(1.0, figure.value))


def _z(figure: LinearizedFigure, problem: Problem) -> float:
    return standard_errors((figure, problem.clusters))


def _worse(difference: LinearizedFigure, problem: Problem) -> bool:
    return _z(difference, problem) > STANDARD_ERRORS

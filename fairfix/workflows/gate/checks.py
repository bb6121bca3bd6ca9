"""Checks of a gate: one demand tested on the rows of one table, and the power of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.text import did_you_mean
from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import goal, rates, title
from fairfix.metrics.performance import PERFORMANCES
from fairfix.stats.auc_intervals import auc, auc_change
from fairfix.stats.calibration_error import calibration_error_estimate
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_claims import gap_claim
from fairfix.stats.intervals import Interval
from fairfix.stats.performance_intervals import (
    PerformanceEstimate,
    performance,
    performance_change,
)
from fairfix.stats.power import power_analysis
from fairfix.stats.rate_estimates import overall_rate, selection_rate_change, smallest_rate
from fairfix.stats.verdicts import Claim, Verdict, floor_claim
from fairfix.workflows.gate.demands import AUC, CALIBRATION_ERROR, Demand, Kind, Severity

TRIVIAL = "trivial"


@dataclass(frozen=True)
class Check:
    """One demand and its verdict.

    Attributes:
        asked: the demand in symbols.
        kind: that of the demand, or "trivial".
        key: the metric or measure; column: the group column, None for all rows.
        sign: what is subtracted from what; empty where nothing is.
        value, interval: as reported, the interval two-sided at 1 - 2 alpha; NaN undefined.
        rows_needed: rows by group that would certify if the true value is the estimate.
        p_violated: p-value of the hypothesis that the demand holds; NaN if undefined.
        alongside: claims on components of the gap that may cancel.
    """

    asked: str
    kind: str
    key: str
    limit: float | None
    severity: Severity
    title: str
    column: str | None
    sign: str
    value: float
    interval: Interval
    verdict: Verdict
    reason: str
    rows_needed: dict[str, int] | None
    p_violated: float
    test: str
    alongside: tuple[Claim, ...] = ()

    @property
    def name(self) -> str:
        return self.asked if self.column is None else f"{self.asked} by {self.column}"

    @property
    def blocking(self) -> bool:
        """Whether it decides the exit code."""
        return self.severity is Severity.ERROR


@dataclass(frozen=True)
class BudgetPower:
    """What a table can certify of a budget.

    Attributes:
        rows: by group.
        certifiable_gap: the largest gap that would still be certified if observed; None if not even
            a gap of 0 would be.
        rows_needed: by group, to certify if there is no gap; None if ``certifiable_gap`` is given
            or no number of rows is enough.
    """

    metric: str
    column: str
    limit: float
    rows: dict[str, int]
    certifiable_gap: float | None
    rows_needed: dict[str, int] | None


class Scored(NamedTuple):
    """Rows under another model: scores (N,) and decisions (N,) bool."""

    scores: Tensor
    decisions: Tensor


@dataclass(frozen=True)
class Rows:
    """The rows that demands are tested on.

    Attributes:
        problem: the rows, with the scores of the model.
        decisions: (N,) bool.
        columns: the group columns, the first being that of ``problem``.
        before: the same rows under the baseline, for largest drops.
    """

    problem: Problem
    decisions: Tensor
    columns: tuple[Group, ...]
    before: Scored | None = None

    def by(self, column: str | None) -> Problem:
        """Return the rows by the groups of a column; None for the first."""
        for group in self.columns:
            if group.column == column:
                ids = torch.from_numpy(group.ids).to(self.problem.groups.device)
                return replace(self.problem, groups=ids, group_names=group.names)
        return self.problem


def with_column(demand: Demand, columns: Sequence[Group]) -> Demand:
    """Return a demand by group with its group column, by default the first.

    Raises:
        UsageError: if it names another column than the group columns.
    """
    if not demand.by_group:
        return demand
    names = [group.column for group in columns]
    column = names[0] if demand.column is None else demand.column
    if column not in names:
        hint = did_you_mean(column, names, "")
        raise UsageError(
            f"{demand.condition} is by {column!r}, which is not a group column; add "
            f"--group {column}{hint or '.'}"
        )
    return replace(demand, column=column)


def run_check(demand: Demand, rows: Rows, confidence: ConfidenceLevel) -> Check:
    """Test one demand, with its group column (``with_column``), on rows."""
    problem = rows.by(demand.column)
    if demand.is_gap:
        return _check_gap(demand, problem, rows.decisions, confidence)
    if demand.kind is Kind.MAX_DROP:
        assert rows.before is not None
        return _check_drop(demand, problem, rows.decisions, rows.before, confidence)
    if demand.kind is Kind.SELECTION_CHANGE:
        assert rows.before is not None
        return _check_change(demand, problem, rows.decisions, rows.before, confidence)
    return _check_rate(demand, problem, rows.decisions, confidence)


def _check_gap(
    demand: Demand, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> Check:
    """Check a budget of the gap between the groups of one column, or a floor of their ratio."""
    names = problem.group_names
    metric = goal(demand.key)
    found = gap_claim(metric, problem, decisions, demand.budget, confidence=confidence)
    limit = "budget" if demand.kind is Kind.BUDGET else "ratio that is allowed"
    return Check(
        asked=demand.condition,
        kind=str(demand.kind),
        key=demand.key,
        limit=demand.limit,
        severity=demand.severity,
        title=found.title,
        column=demand.column,
        sign=metric.sign(names),
        value=found.value,
        interval=found.interval,
        verdict=found.verdict,
        reason=found.reason.replace("the budget", f"the {limit}"),
        rows_needed=found.rows_needed,
        p_violated=found.p_violated,
        test=found.test,
        alongside=found.alongside,
    )


def _check_rate(
    demand: Demand, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> Check:
    """Check a floor or a ceiling of performance or of a rate."""
    found = _estimate(demand, problem, decisions, exact=confidence.exact)
    if demand.kind is not Kind.CEILING:
        return _held(demand, found, demand.limit, confidence)
    held = _held(demand, found.negated(), -demand.limit, confidence)
    low, high = -held.interval.high, -held.interval.low
    return replace(
        held,
        value=-held.value,
        interval=replace(held.interval, low=low, high=high),
        reason=_of_ceiling(held.verdict, held.reason, low, high),
    )


def _estimate(
    demand: Demand, problem: Problem, decisions: Tensor, *, exact: bool
) -> PerformanceEstimate:
    if demand.key == AUC:
        return auc(_array(problem.scores), *_row_data(problem), exact=exact)
    if demand.key == CALIBRATION_ERROR:
        return calibration_error_estimate(problem)
    counts = problem.clustered_counts(decisions)
    if demand.smallest:
        return smallest_rate(rates()[demand.key], counts, exact=exact)
    if demand.key in PERFORMANCES:
        return performance(demand.key, counts, exact=exact)
    return overall_rate(rates()[demand.key], counts, exact=exact)


def _of_ceiling(verdict: Verdict, reason: str, low: float, high: float) -> str:
    return {
        Verdict.CERTIFIED: f"the upper limit {high:.3f} is not above the ceiling",
        Verdict.VIOLATED: f"the lower limit {low:.3f} is above the ceiling",
        Verdict.INCONCLUSIVE: f"the upper limit {high:.3f} is above the ceiling",
    }.get(verdict, reason)


def _check_drop(
    demand: Demand, problem: Problem, decisions: Tensor, before: Scored, confidence: ConfidenceLevel
) -> Check:
    """Check a largest drop of performance below that of ``before``, on the same rows."""
    if demand.key == AUC:
        was, now = _array(before.scores), _array(problem.scores)
        found = auc_change(was, now, *_row_data(problem))
    else:
        was, now = _array(before.decisions), _array(decisions)
        found = performance_change(demand.key, was, now, *_row_data(problem))
    held = _held(demand, found, -demand.limit, confidence)
    low, high = held.interval.low, held.interval.high
    return replace(
        held,
        title=f"drop of {held.title}",
        sign="baseline minus this",
        value=-held.value,
        interval=replace(held.interval, low=-high, high=-low),
        reason=_of_drop(held.verdict, held.reason, -low, -high),
    )


def _check_change(
    demand: Demand, problem: Problem, decisions: Tensor, before: Scored, confidence: ConfidenceLevel
) -> Check:
    """Check a largest relative change of the selection rate against that of ``before``.

    The nearer end of the allowed range is tested: the farther one is then met as well.
    """
    _, weights, clusters = _row_data(problem)
    found = selection_rate_change(_array(before.decisions), _array(decisions), weights, clusters)
    rose = found.value > 0
    held = _held(demand, found.negated() if rose else found, -demand.limit, confidence)
    low, high = held.interval.low, held.interval.high
    if rose:
        low, high = -high, -low
    return replace(
        held,
        title="relative change of the selection rate",
        sign="this / baseline - 1",
        value=found.value,
        interval=replace(held.interval, low=low, high=high),
        reason=_of_change(held.verdict, held.reason, low, high),
    )


def _of_change(verdict: Verdict, reason: str, low: float, high: float) -> str:
    interval = f"the interval from {low:.3f} to {high:.3f}"
    return {
        Verdict.CERTIFIED: f"{interval} lies inside the allowed change",
        Verdict.VIOLATED: f"{interval} lies outside the allowed change",
        Verdict.INCONCLUSIVE: f"{interval} reaches beyond the allowed change",
    }.get(verdict, reason)


def _of_drop(verdict: Verdict, reason: str, upper: float, lower: float) -> str:
    """Return the reason in terms of the drop, the negative of the change."""
    return {
        Verdict.CERTIFIED: f"the upper limit {upper:.3f} keeps within the allowed drop",
        Verdict.VIOLATED: f"the lower limit {lower:.3f} is beyond the allowed drop",
        Verdict.INCONCLUSIVE: f"the upper limit {upper:.3f} is beyond the allowed drop",
    }.get(verdict, reason)


def _held(
    demand: Demand,
    found: PerformanceEstimate,
    floor: float,
    confidence: ConfidenceLevel,
) -> Check:
    held = floor_claim(demand.key, found, floor, confidence=confidence)
    return Check(
        asked=demand.condition,
        kind=str(demand.kind),
        key=demand.key,
        limit=demand.limit,
        severity=demand.severity,
        title=f"{'smallest ' if demand.smallest else ''}{title(demand.key)}",
        column=demand.column,
        sign="",
        value=held.value,
        interval=held.interval,
        verdict=held.verdict,
        reason=held.reason,
        rows_needed=None,
        p_violated=held.p_violated,
        test=f"one-sided limits, {held.interval.method}",
    )


def _row_data(problem: Problem) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Labels, row weights and clusters, (N,) each; None without."""
    weights, clusters = (
        None if values is None else _array(values) for values in (problem.weights, problem.clusters)
    )
    return _array(problem.labels), weights, clusters


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def power_of(demand: Demand, rows: Rows, confidence: ConfidenceLevel) -> BudgetPower:
    """Return what the rows of a table can certify of a limit on a gap."""
    problem, column = rows.by(demand.column), demand.column
    assert column is not None
    names = problem.group_names
    found = power_analysis(
        demand.key,
        problem.clustered_counts(rows.decisions),
        names,
        demand.budget,
        confidence=confidence,
    )
    sizes = problem.group_sizes.tolist()
    return BudgetPower(
        metric=demand.key,
        column=column,
        limit=demand.budget,
        rows=dict(zip(names, sizes, strict=True)),
        certifiable_gap=found.certifiable_gap,
        rows_needed=found.rows_needed,
    )


def check_trivial() -> Check:
    """Return the check that a trivial rule fails unless the gate has a floor."""
    return Check(
        asked="the rule is not trivial",
        kind=TRIVIAL,
        key=TRIVIAL,
        limit=None,
        severity=Severity.ERROR,
        title="share of rows decided like the rest",
        column=None,
        sign="",
        value=math.nan,
        interval=Interval(math.nan, math.nan, "none"),
        verdict=Verdict.INCONCLUSIVE,
        reason=(
            "the rule decides nearly all rows alike, which meets any budget; say what it must "
            "still achieve, such as --floor balanced_accuracy=0.7"
        ),
        rows_needed=None,
        p_violated=math.nan,
        test="count",
    )

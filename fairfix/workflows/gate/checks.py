"""One demand held against the rows of one table: what they show of it, and could show at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.registry import METRICS
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.intervals import Interval
from fairfix.stats.performance_intervals import Measured, auc, auc_change, change, performance
from fairfix.stats.power import power
from fairfix.stats.verdicts import Claim, Verdict, claim, floor_claim, holm
from fairfix.workflows.gate.demands import AUC, Demand, Severity

TRIVIAL = "trivial"
TITLES = {key: measure.title for key, measure in PERFORMANCES.items()} | {
    AUC: "area under the ROC curve"
}


@dataclass(frozen=True)
class Check:
    """One demand and what the rows show of it.

    Attributes:
        asked: the demand as a formula.
        kind: of the demand, or "trivial".
        key: the metric or measure; column: the group column, None for all rows.
        sign: what is subtracted from what; empty where nothing is.
        value, interval: as reported, the interval two-sided at 1 - 2 alpha; NaN undefined.
        rows_needed: of the table by group, to certify if the true value is what was seen.
        p_violated: of the test that the demand holds; small speaks against it. NaN undefined.
        alongside: claims of the parts of a gap that may cancel.
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
class Power:
    """What a table can certify of a budget at all.

    ``smallest`` is the largest gap seen that would still be certified; None where not even none
    would, and then ``rows_needed`` says what it takes if there is none.
    """

    metric: str
    column: str
    limit: float
    rows: dict[str, int]
    smallest: float | None
    rows_needed: dict[str, int] | None


class Scored(NamedTuple):
    """Rows under another model: its scores (N,) and its decisions (N,) bool."""

    scores: Tensor
    decisions: Tensor


def check_budget(
    demand: Demand, column: str, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> Check:
    """A budget of the gap between the groups of one column."""
    names = problem.group_names
    found = claim(
        demand.key,
        problem.counts(decisions),
        names,
        demand.limit,
        confidence=confidence,
    )
    return Check(
        asked=demand.condition,
        kind=str(demand.kind),
        key=demand.key,
        limit=demand.limit,
        severity=demand.severity,
        title=found.title,
        column=column,
        sign=METRICS[demand.key].sign(names),
        value=found.value,
        interval=found.interval,
        verdict=found.verdict,
        reason=found.reason,
        rows_needed=found.rows_needed,
        p_violated=found.p_violated,
        test=found.test,
        alongside=found.alongside,
    )


def check_floor(
    demand: Demand, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> Check:
    """A floor of performance, on all rows together."""
    if demand.key == AUC:
        labels, weights = _labels(problem)
        found = auc(_array(problem.scores), labels, weights, strict=confidence.exact)
    else:
        found = performance(demand.key, problem.counts(decisions), strict=confidence.exact)
    return _held(demand, found, demand.limit, confidence)


def check_drop(
    demand: Demand, problem: Problem, decisions: Tensor, before: Scored, confidence: ConfidenceLevel
) -> Check:
    """A largest drop of performance below that of ``before``, on the same rows."""
    labels, weights = _labels(problem)
    if demand.key == AUC:
        found = auc_change(_array(before.scores), _array(problem.scores), labels, weights)
    else:
        decided = _array(before.decisions), _array(decisions)
        found = change(demand.key, *decided, labels, weights)
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


def _of_drop(verdict: Verdict, reason: str, most: float, least: float) -> str:
    """The reason in terms of the drop, whose limits are those of the change turned round."""
    return {
        Verdict.CERTIFIED: f"the upper limit {most:.3f} keeps within the allowed drop",
        Verdict.VIOLATED: f"the lower limit {least:.3f} is beyond the allowed drop",
        Verdict.INCONCLUSIVE: f"the upper limit {most:.3f} is beyond the allowed drop",
    }.get(verdict, reason)


def _held(demand: Demand, found: Measured, floor: float, confidence: ConfidenceLevel) -> Check:
    held = floor_claim(demand.key, found, floor, confidence=confidence)
    return Check(
        asked=demand.condition,
        kind=str(demand.kind),
        key=demand.key,
        limit=demand.limit,
        severity=demand.severity,
        title=TITLES[demand.key],
        column=None,
        sign="",
        value=held.value,
        interval=held.interval,
        verdict=held.verdict,
        reason=held.reason,
        rows_needed=None,
        p_violated=held.p_violated,
        test=f"one-sided limits, {held.interval.method}",
    )


def _labels(problem: Problem) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (N,) and row weights (N,), None without."""
    weights = problem.weights
    return _array(problem.labels), None if weights is None else _array(weights)


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()


def power_of(
    demand: Demand, column: str, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> Power:
    """What the rows of a table can certify of a budget at all."""
    names = problem.group_names
    found = power(demand.key, problem.counts(decisions), names, demand.limit, confidence=confidence)
    rows = torch.bincount(problem.groups, minlength=problem.n_groups).tolist()
    return Power(
        metric=demand.key,
        column=column,
        limit=demand.limit,
        rows=dict(zip(names, rows, strict=True)),
        smallest=found.certifiable,
        rows_needed=found.rows_needed,
    )


def check_trivial() -> Check:
    """What a rule that decides nearly all rows alike must not pass without: a floor."""
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


def after_holm(checks: Sequence[Check], alpha: float) -> list[Check]:
    """The checks with violations that do not stand Holm's correction taken back.

    Those that decide the exit code are one family, those that only warn another.
    """
    kept = list(checks)
    for severity in Severity:
        family = [
            index
            for index, check in enumerate(checks)
            if check.severity is severity and not math.isnan(check.p_violated)
        ]
        stands = holm([checks[index].p_violated for index in family], alpha)
        for index, still in zip(family, stands, strict=True):
            if checks[index].verdict is Verdict.VIOLATED and not still:
                kept[index] = _taken_back(checks[index], len(family))
    return kept


def _taken_back(check: Check, tests: int) -> Check:
    reason = f"{check.reason}, but not after Holm's correction for {tests} demands"
    return replace(check, verdict=Verdict.INCONCLUSIVE, reason=reason)

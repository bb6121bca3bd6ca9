"""The goals of a search: demands as limits of the objective, and their figures at the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.errors import TableError, UsageError
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import AUCD, METRICS, rates
from fairfix.metrics.limits import (
    TODAY,
    AucLimit,
    GapLimit,
    Limit,
    RangeLimit,
    SelectionChangeLimit,
    SmallestRateLimit,
)
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds.score_figures import with_score_figures
from fairfix.workflows.gate.demands import AUC, CALIBRATION_ERROR, Demand, Kind, Severity

MAX_JOINT_GROUPS = 256
"""Most joint groups of the columns that limits name; each is counted at every threshold."""


@dataclass(frozen=True)
class Goal:
    """One goal at the result, on the rows it was searched on.

    Attributes:
        text: the goal as a formula; ``column`` its group column, None for all rows.
        value: as reported; NaN if undefined.
        probability: that it holds on new rows.
        held: whether it holds on these rows.
    """

    text: str
    column: str | None
    value: float
    probability: float
    held: bool

    @property
    def name(self) -> str:
        return self.text if self.column is None else f"{self.text} by {self.column}"


@dataclass(frozen=True)
class Goals:
    """All goals of a search at its result.

    Attributes:
        goals: the budget first.
        probability: that all hold on new rows.
    """

    goals: tuple[Goal, ...]
    probability: float

    @property
    def binding(self) -> Goal:
        """The goal that is least likely to hold."""
        return min(self.goals, key=lambda goal: goal.probability)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say which limit binds if not all goals hold."""
        missed = sum(not goal.held for goal in self.goals)
        if not missed:
            return ()
        binding = self.binding
        return (
            f"not all goals hold on the validation rows, and the nearest result is kept: "
            f"{binding.name} binds (value {binding.value:.3f}, probability "
            f"{binding.probability:.2f})",
        )


def searched(demands: Sequence[Demand]) -> tuple[Demand, ...]:
    """Return the demands that a search must keep.

    Those that only warn, and limits on the calibration error and on the AUC difference, which
    thresholds do not change, are tested afterwards.
    """
    return tuple(
        each
        for each in demands
        if each.severity is Severity.ERROR and each.key not in (CALIBRATION_ERROR, AUCD)
    )


def limits_of(demands: Sequence[Demand], first: str) -> tuple[Limit, ...]:
    """Return demands, with their group columns, as limits of an objective.

    Args:
        first: the group column that is debiased.

    Raises:
        UsageError: if a floor is above the ceiling of the same figure.
    """
    for floor in demands:
        for ceiling in demands:
            same = floor.key == ceiling.key and not floor.smallest
            ordered = floor.kind is Kind.FLOOR and ceiling.kind is Kind.CEILING
            if same and ordered and floor.limit > ceiling.limit:
                raise UsageError(
                    f"The floor of {floor.key} ({floor.limit:g}) is above its ceiling "
                    f"({ceiling.limit:g}), so nothing can keep both; lower the floor."
                )
    return tuple(_limit(demand, first) for demand in demands)


def _limit(demand: Demand, first: str) -> Limit:
    column = None if demand.column == first else demand.column
    if demand.is_gap:
        return GapLimit(METRICS[demand.key], demand.budget, column)
    if demand.kind is Kind.SELECTION_CHANGE:
        return SelectionChangeLimit(demand.limit)
    if demand.smallest:
        return SmallestRateLimit(rates()[demand.key], demand.limit, column)
    low, high = demand.limit, math.inf
    if demand.kind is Kind.CEILING:
        low, high = -math.inf, demand.limit
    if demand.key == AUC:
        return AucLimit(low, high)
    figure = PERFORMANCES.get(demand.key) or rates()[demand.key]
    return RangeLimit(figure, low, high)


def with_columns(problem: Problem, limits: Sequence[Limit], columns: Sequence[Group]) -> Problem:
    """Return a problem with the further columns that limits need.

    Args:
        columns: the group columns on these rows.

    Raises:
        TableError: if no row is selected today, or there are too many joint groups.
    """
    needed = {limit.column for limit in limits}
    missing = needed - {None, TODAY, *(group.column for group in columns)}
    if missing:
        column = min(map(str, missing))
        raise UsageError(f"A limit is by {column!r}; add --group {column} to the group columns.")
    device = problem.groups.device
    further = {
        group.column: torch.from_numpy(group.ids).to(device)
        for group in columns
        if group.column in needed
    }
    if TODAY in needed:
        further[TODAY] = (problem.scores > problem.threshold).long()
        if not further[TODAY].any():
            raise TableError(
                "No row has a positive decision today, so the selection rate has no relative "
                "change; give today's threshold with --threshold."
            )
    problem = replace(problem, further=further)
    if problem.columns is not None and problem.columns.n_joint > MAX_JOINT_GROUPS:
        raise TableError(
            f"The group columns of all goals form {problem.columns.n_joint} joint groups, and at "
            f"most {MAX_JOINT_GROUPS} are searched; put values into bins or omit a goal."
        )
    counts = problem.counts(torch.ones_like(problem.labels, dtype=torch.bool))
    for limit in limits:
        if isinstance(limit, GapLimit | SmallestRateLimit) and limit.column is not None:
            names = next(group.names for group in columns if group.column == limit.column)
            _check_defined(limit, counts.by(limit.column), names)
    return problem


def _check_defined(
    limit: GapLimit | SmallestRateLimit, counts: Counts, names: Sequence[str]
) -> None:
    """Raise TableError if a group lacks the rows that a limit needs, whatever is decided."""
    compared = limit.metric.rates if isinstance(limit, GapLimit) else (limit.rate,)
    for rate in compared:
        sides = {1: counts.tp + counts.fn, 0: counts.fp + counts.tn}
        needed = [sides[label] for label in rate.labels] or [sides[1] + sides[0]]
        rows = torch.stack(needed).sum(0)
        lacking = [name for g, name in enumerate(names) if g >= len(rows) or not rows[g]]
        if lacking:
            raise TableError(
                f"The limit {limit.name} is undefined on the validation rows: group {lacking[0]!r} "
                f"has no {rate.rows}. Add such rows, merge the group, or omit the limit."
            )


def goals_at(
    problem: Problem, decisions: Tensor, objective: Objective, first: str, scores: Tensor
) -> Goals | None:
    """Return the goals at decisions (N,) in [0, 1]; None if there is only a budget.

    Args:
        problem: the validation rows with their further columns.
        objective: with the factor ``k`` for these rows.
        first: the group column that is debiased.
        scores: (N,) that were decided.
    """
    if not objective.limits:
        return None
    counts = with_score_figures(problem.counts(decisions), problem, scores, objective)
    chances = objective.chances(counts).tolist()
    goals = tuple(
        Goal(
            text=str(limit),
            column=_column(limit, first),
            value=float(limit.value(counts)),
            probability=chance,
            held=bool(limit.held(counts)),
        )
        for limit, chance in zip(objective.goals, chances, strict=True)
    )
    return Goals(goals, float(objective.probability_met(counts)))


def _column(limit: Limit, first: str) -> str | None:
    if limit.column is not None:
        return None if limit.column == TODAY else limit.column
    return first if isinstance(limit, GapLimit | SmallestRateLimit) else None

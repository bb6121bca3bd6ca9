"""Summaries of a study: one line per method, for every task and goal.

The unmodified model and the retuned threshold (``identity``) are in every summary. Methods that
need the group column at prediction are ranked apart: they use information that the others do not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from fairfix.bench.cell_table import BASELINE, UNMODIFIED, Row, cell_table, latest_rows
from fairfix.bench.goal import Goal
from fairfix.bench.split_statistics import (
    ALPHA,
    MIN_SPLITS,
    MeanInterval,
    Quartiles,
    flatten,
    mean_interval,
    paired_gain,
    quartiles,
)
from fairfix.stats.verdicts import holm_adjusted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class MethodSummary:
    """One method on one task for one goal, over all splits.

    Attributes:
        splits, missing: number of splits with a result, and without one (refused or failed).
        objective: the ranking value, named by ``objective_name``; ``mean_objective`` is its mean.
        held: share of splits on which the budget held.
        ceiling: mean probability that the budget would hold for a rule with a true gap of 0, given
            the sampling noise of the test rows.
        gap, performance: gap size and performance, whether or not the budget held.
        gain: mean difference in the ranking value to the baseline on the same splits; positive is
            better.
        p: two-sided p-value of the gain, Holm-adjusted over the methods of the table.
        pareto: no other method of the same kind (group-free or not) has both a smaller mean gap
            and a better mean performance.
        seconds: wall time to fit and evaluate.
        peak_memory_mib: largest peak memory of the process over all cells.
    """

    task: str
    metric: str
    performance_key: str
    kind: str
    budget: float
    objective_name: str
    smaller_is_better: bool
    method: str
    needs_group: bool
    splits: int
    missing: int
    objective: Quartiles
    mean_objective: MeanInterval
    held: float
    ceiling: float
    gap: Quartiles
    mean_gap: float
    performance: Quartiles
    mean_performance: float
    trivial: float
    gain: MeanInterval
    p: float
    gain_shown: bool
    pareto: bool
    seconds: Quartiles
    peak_memory_mib: float

    def flat(self) -> dict[str, Any]:
        """Return one scalar per name, as in ``summary.csv``."""
        return flatten(vars(self))


@dataclass(frozen=True)
class TaskSummary:
    """One task for one goal: its cells (see ``cell_table``) and its methods, best first."""

    task: str
    goal: Goal
    cells: pd.DataFrame
    methods: tuple[MethodSummary, ...]


def summarize(rows: Iterable[Row]) -> list[TaskSummary]:
    """Return one summary per task and goal, in row order; those without any result are left out."""
    cells = cell_table(latest_rows(rows))
    if cells.empty:
        return []
    goal_columns = [each.name for each in fields(Goal)]
    summaries = []
    for (task, *goal), table in cells.groupby(["task", *goal_columns], sort=False, dropna=False):
        if (table["status"] == "done").any():
            # pandas stores None as NaN in a numeric column.
            values: list[Any] = [None if x != x else x for x in goal]
            summaries.append(_summarize_task(str(task), Goal(*values), table))
    return summaries


def _summarize_task(task: str, goal: Goal, cells: pd.DataFrame) -> TaskSummary:
    done = cells[cells["status"] == "done"]
    objectives = done.pivot_table("objective", "task_sha256", "method", aggfunc="mean")
    overlap = float(done["overlap"].mean())
    sign = -1 if goal.smaller_is_better else 1
    methods = []
    for method in dict.fromkeys(done["method"]):
        gain, p = paired_gain(sign * objectives, str(method), BASELINE, overlap)
        own = cells[cells["method"] == method]
        methods.append(_summarize_method(task, goal, own, gain, p, overlap))
    methods = _mark_pareto(_adjust_p(methods))
    methods.sort(key=lambda method: (method.needs_group, -sign * method.mean_objective.value))
    return TaskSummary(task, goal, cells, tuple(methods))


def _summarize_method(
    task: str, goal: Goal, cells: pd.DataFrame, gain: MeanInterval, p: float, overlap: float
) -> MethodSummary:
    done = cells[cells["status"] == "done"]
    return MethodSummary(
        task=task,
        metric=goal.metric,
        performance_key=goal.performance_key,
        kind=goal.kind,
        budget=goal.budget,
        objective_name=goal.value_name,
        smaller_is_better=goal.smaller_is_better,
        method=str(done.iloc[0]["method"]),
        needs_group=bool(done["needs_group"].any()),
        splits=len(done),
        missing=len(cells) - len(done),
        objective=quartiles(done["objective"]),
        mean_objective=mean_interval(
            done["objective"].to_numpy(dtype=float), overlap, (0.0, 1.0), MIN_SPLITS
        ),
        held=float(done["held"].mean()),
        ceiling=float(done["ceiling"].mean()),
        gap=quartiles(done["gap_size"]),
        mean_gap=float(done["gap_size"].mean(skipna=False)),
        performance=quartiles(done["performance"]),
        mean_performance=float(done["performance"].mean(skipna=False)),
        trivial=float(done["trivial"].mean()),
        gain=gain,
        p=p,
        gain_shown=False,
        pareto=False,
        seconds=quartiles(done["seconds"]),
        peak_memory_mib=float(done["peak_memory_mib"].astype(float).max()),
    )


def _adjust_p(methods: Sequence[MethodSummary]) -> list[MethodSummary]:
    """Return the methods with Holm-adjusted p-values; the unmodified model is not tested."""
    tested = [method for method in methods if method.method != UNMODIFIED]
    adjusted = holm_adjusted([method.p for method in tested])
    p_by_method = {method.method: p for method, p in zip(tested, adjusted, strict=True)}
    marked = []
    for method in methods:
        p = p_by_method.get(method.method, math.nan)
        marked.append(replace(method, p=p, gain_shown=p < ALPHA and method.gain.value > 0))
    return marked


def _mark_pareto(methods: Sequence[MethodSummary]) -> list[MethodSummary]:
    """Return the methods with the Pareto front of each kind marked; undefined is never on it."""
    return [
        replace(
            method,
            pareto=not math.isnan(method.mean_gap + method.mean_performance)
            and not any(
                _dominates(other, method)
                for other in methods
                if other.needs_group == method.needs_group
            ),
        )
        for method in methods
    ]


def _dominates(one: MethodSummary, other: MethodSummary) -> bool:
    gap, performance = one.mean_gap - other.mean_gap, one.mean_performance - other.mean_performance
    return gap <= 0 <= performance and (gap < 0 or performance > 0)

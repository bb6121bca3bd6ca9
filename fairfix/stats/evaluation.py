"""The only judge: what a rule does on rows, by group. Methods never judge themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, auc_by_group, is_trivial
from fairfix.metrics.rates import Cell
from fairfix.metrics.registry import METRICS, rates


@dataclass(frozen=True)
class GroupRate:
    """A rate of one group: ``value`` of ``n`` rows that have it; NaN with n = 0."""

    value: float
    n: int


@dataclass(frozen=True)
class GroupEvaluation:
    """One group: its rows by outcome, its rates, its AUC, and the threshold it is cut at."""

    name: str
    rows: int
    tp: float
    fp: float
    fn: float
    tn: float
    rates: dict[str, GroupRate]
    auc: float
    threshold: float


@dataclass(frozen=True)
class Evaluation:
    """Decisions judged on rows.

    Attributes:
        gaps: every metric by key as it is reported (signed where it has a sign), NaN undefined.
        gap_sizes: what a budget bounds, >= 0.
        performance: balanced accuracy, accuracy, F1, and AUC of the scores.
        met: whether the objective's metric lies strictly below its budget; undefined does not.
        objective: the objective's performance where met, else 0 (Savani 2020).
        trivial: (nearly) all rows are decided alike.
    """

    rows: int
    groups: tuple[GroupEvaluation, ...]
    gaps: dict[str, float]
    gap_sizes: dict[str, float]
    performance: dict[str, float]
    met: bool
    objective: float
    trivial: bool


def evaluate(
    problem: Problem,
    scores: Tensor,
    decisions: Tensor,
    objective: Objective,
    thresholds: tuple[float, ...],
) -> Evaluation:
    """Judge decisions (N,) bool that ``thresholds``, one a group, made of ``scores`` (N,)."""
    counts = problem.counts(decisions)
    auc = auc_by_group(scores, problem.labels, problem.groups, problem.n_groups, problem.weights)
    one_group = torch.zeros_like(problem.groups)
    overall = auc_by_group(scores, problem.labels, one_group, 1, problem.weights)
    gaps = {key: metric(counts) for key, metric in METRICS.items()}
    values = {key: float(gap.value) for key, gap in gaps.items()}
    sizes = {key: float(gap.size) for key, gap in gaps.items()}
    values["aucd"] = _auc_difference(auc)
    sizes["aucd"] = abs(values["aucd"])
    performance = {key: float(measure(counts)) for key, measure in PERFORMANCES.items()}
    met = sizes[objective.metric.key] < objective.budget
    return Evaluation(
        rows=len(problem),
        groups=tuple(
            _group(problem, decisions, counts, auc, thresholds, g) for g in range(problem.n_groups)
        ),
        gaps=values,
        gap_sizes=sizes,
        performance={**performance, "auc": float(overall)},
        met=met,
        objective=performance[objective.performance.key] if met else 0.0,
        trivial=is_trivial(counts),
    )


def _auc_difference(auc: Tensor) -> float:
    if len(auc) == 2:
        return float(auc[0] - auc[1])
    return float(auc.max() - auc.min()) if not auc.isnan().any() else math.nan


def _group(
    problem: Problem,
    decisions: Tensor,
    counts: Counts,
    auc: Tensor,
    thresholds: tuple[float, ...],
    g: int,
) -> GroupEvaluation:
    here = problem.groups == g
    labels, decided = problem.labels[here] == 1, decisions[here]
    rows: dict[Cell, int] = {
        "tp": int((labels & decided).sum()),
        "fp": int((~labels & decided).sum()),
        "fn": int((labels & ~decided).sum()),
        "tn": int((~labels & ~decided).sum()),
    }
    found = {
        key: GroupRate(float(rate(counts).value[g]), rate.total(rows, rate.trials))
        for key, rate in rates().items()
    }
    return GroupEvaluation(
        name=problem.group_names[g],
        rows=len(labels),
        tp=float(counts.tp[g]),
        fp=float(counts.fp[g]),
        fn=float(counts.fn[g]),
        tn=float(counts.tn[g]),
        rates=found,
        auc=float(auc[g]),
        threshold=thresholds[g],
    )

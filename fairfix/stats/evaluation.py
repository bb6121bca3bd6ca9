"""Evaluation of decisions: gaps, performance, and rates of each group.

Every result is evaluated here; methods do not evaluate themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.clusters import Cell
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, rates
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, auc_by_group, is_trivial
from fairfix.metrics.rates import Rate, Share


@dataclass(frozen=True)
class GroupRate:
    """A rate of one group.

    Attributes:
        value: NaN if ``n`` is 0.
        n: rows in the denominator.
    """

    value: float
    n: int


@dataclass(frozen=True)
class GroupEvaluation:
    """One group: its confusion matrix, rates, AUC and threshold.

    Attributes:
        rows: rows of the group.
        tp, fp, fn, tn: weighted counts; NaN without labels.
        rates: by key.
        threshold: the value a score must exceed; NaN if the group has none of its own.
    """

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
    """Figures of decisions on some rows.

    Attributes:
        gaps: every metric by key, as reported (with its sign if it has one); NaN if undefined.
        gap_sizes: sizes of the gaps, >= 0, which budgets limit.
        performance: every measure by key, with the AUC of the scores.
        met: whether the objective's metric is strictly below its budget; False if undefined.
        objective: the objective's performance if ``met``, else 0 (Savani 2020).
        trivial: whether (nearly) all decisions are the same.
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
    """Evaluate decisions on the rows of a problem.

    Args:
        scores: (N,) of the evaluated network.
        decisions: (N,) bool.
        thresholds: one for each group.
    """
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
    performance["auc"] = float(overall)
    shares = {key: (rate, rate(counts)) for key, rate in rates().items()}
    met = sizes[objective.metric.key] < objective.budget
    return Evaluation(
        rows=len(problem),
        groups=tuple(
            _group(problem, decisions, counts, shares, auc, thresholds, g)
            for g in range(problem.n_groups)
        ),
        gaps=values,
        gap_sizes=sizes,
        performance=performance,
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
    shares: Mapping[str, tuple[Rate, Share]],
    auc: Tensor,
    thresholds: tuple[float, ...],
    g: int,
) -> GroupEvaluation:
    in_group = problem.groups == g
    labels, decided = problem.labels[in_group] == 1, decisions[in_group]
    rows: dict[Cell, int] = {
        "tp": int((labels & decided).sum()),
        "fp": int((~labels & decided).sum()),
        "fn": int((labels & ~decided).sum()),
        "tn": int((~labels & ~decided).sum()),
    }
    group_rates = {
        key: GroupRate(
            float(share.value[g]),
            0 if rate.needs_labels and not problem.labeled else rate.total(rows, rate.trials),
        )
        for key, (rate, share) in shares.items()
    }
    unknown = 0.0 if problem.labeled else math.nan
    tp, fp, fn, tn = (float(side[g]) + unknown for side in counts.sides)
    return GroupEvaluation(
        name=problem.group_names[g],
        rows=len(labels),
        tp=tp,
        fp=fp,
        fn=fn,
        tn=tn,
        rates=group_rates,
        auc=float(auc[g]),
        threshold=thresholds[g],
    )

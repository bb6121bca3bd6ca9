"""Gaps of every other group to a reference group, with simultaneous confidence intervals.

They are reported where the reference group is compared with all others merged, whose gap can hide
opposite gaps of the merged groups. The limits have Bonferroni's correction over the groups.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.clusters import ClusterIndex
from fairfix.metrics.counts import Counts, design_effect, in_rows
from fairfix.metrics.fairness_metrics import Metric
from fairfix.stats.auc_intervals import auc_gap
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import MetricRates, metric_limits


@dataclass(frozen=True)
class ReferenceGap:
    """The metric between one group and the reference group.

    Attributes:
        rows: of the group.
        value: as reported: the group minus the reference group, or divided by it; NaN if
            undefined.
        low, high: limits of all groups together, two-sided at 1 - 2 alpha; NaN if undefined.
    """

    name: str
    rows: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ReferenceGaps:
    """The metric between every other group and the reference group.

    Attributes:
        reference: the name of the reference group.
        metric: its key.
        gaps: one entry per other group that has rows.
    """

    reference: str
    metric: str
    gaps: tuple[ReferenceGap, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the gaps as plain data."""
        return {**asdict(self), "gaps": [asdict(gap) for gap in self.gaps]}


def reference_gaps(
    problem: Problem,
    decisions: Tensor,
    group: Group,
    metric: Metric,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> ReferenceGaps | None:
    """Return the gaps for decisions (N,) bool; None if no groups were merged into ``group``."""
    if group.unmerged is None:
        return None
    reference, names = group.names[1], group.unmerged.names
    ids = torch.from_numpy(group.unmerged.ids).to(problem.groups.device)
    counts, rows = _counts(problem, decisions, ids, len(names)), ids.bincount(minlength=len(names))
    at = names.index(reference)
    others = [g for g in range(len(names)) if g != at and rows[g]]
    alpha = confidence.alpha / max(1, len(others))

    def gap(g: int) -> ReferenceGap:
        if metric.of_scores:
            return _area_gap(names[g], problem, ids, (g, at), alpha)
        pair = counts.of_groups([g, at])
        return _gap(names[g], int(rows[g]), metric, pair, alpha, confidence.exact)

    return ReferenceGaps(reference, metric.key, tuple(gap(g) for g in others))


def _area_gap(
    name: str, problem: Problem, ids: Tensor, pair: tuple[int, int], alpha: float
) -> ReferenceGap:
    """Return the AUC difference between two groups of other groups (N,) than the problem's."""
    ids = ids.cpu()
    rows = (ids == pair[0]) | (ids == pair[1])
    columns = (problem.scores, problem.labels, problem.weights, problem.clusters)
    scores, labels, weights, clusters = (
        None if values is None else values.cpu()[rows].numpy() for values in columns
    )
    assert scores is not None
    assert labels is not None
    found = auc_gap(scores, labels, (ids[rows] == pair[1]).numpy(), 2, weights, clusters)
    interval = found.interval(alpha)
    return ReferenceGap(name, int((ids == pair[0]).sum()), found.value, interval.low, interval.high)


def _gap(
    name: str, rows: int, metric: Metric, pair: Counts, alpha: float, exact: bool
) -> ReferenceGap:
    value = float(metric(pair).value)
    if math.isnan(value):
        return ReferenceGap(name, rows, math.nan, math.nan, math.nan)
    low, high = metric_limits(MetricRates.from_counts(metric.key, pair), alpha, exact=exact)
    return ReferenceGap(name, rows, value, float(low), float(high))


def _counts(problem: Problem, decisions: Tensor, groups: Tensor, n_groups: int) -> Counts:
    """Return the counts of decisions (N,) by other groups (N,) than the problem's."""
    ones = torch.ones_like(problem.scores, dtype=torch.float64)
    weights = ones if problem.weights is None else in_rows(problem.weights)
    cell = 4 * groups + 2 * problem.labels + decisions.long()
    tn, fp, fn, tp = cell.bincount(weights, 4 * n_groups).reshape(n_groups, 4).T
    clusters = None
    if problem.clusters is not None:
        index = ClusterIndex.of(problem.clusters, groups, n_groups)
        clusters = index.counts(decisions, problem.labels, weights)
    effect = design_effect(groups, n_groups, problem.weights)
    return Counts(tp, fp, fn, tn, effect, clusters=clusters, labeled=problem.labeled)

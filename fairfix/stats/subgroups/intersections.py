"""Intersections: the groups formed by the values of several group columns together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.clusters import ClusterIndex
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.evaluation import Evaluation, GroupEvaluation, evaluate
from fairfix.stats.gap_intervals import MIN_CLUSTERS, MIN_ROWS
from fairfix.stats.intervals import Interval
from fairfix.stats.rate_estimates import group_rate_intervals

MAX_COLUMNS = 3
"""Most group columns that are combined."""


@dataclass(frozen=True)
class Intersection:
    """The groups formed by the values of several columns together.

    Attributes:
        columns: two or more.
        group: column name such as "sex & race", ids (N,), and names such as "sex=F & race=Black" of
            the combinations that occur, in the order of the columns' own groups.
    """

    columns: tuple[str, ...]
    group: Group

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each combination, at least 1."""
        return tuple(np.bincount(self.group.ids, minlength=len(self.group.names)).tolist())

    def are_large(self, problem: Problem) -> np.ndarray:
        """Return which combinations have at least 30 rows of at least 10 clusters, (G,) bool."""
        large = np.array(self.sizes) >= MIN_ROWS
        if problem.clusters is None:
            return large
        ids = torch.from_numpy(self.group.ids).to(problem.clusters.device)
        found = ClusterIndex.of(problem.clusters, ids, len(large)).group.bincount()
        return large & (found.cpu().numpy() >= MIN_CLUSTERS)

    def regroup(self, problem: Problem) -> Problem:
        """Return the problem (N,) with all combinations, at least two, as its groups."""
        ids = torch.from_numpy(self.group.ids).to(problem.groups.device)
        return replace(problem, groups=ids, group_names=self.group.names)

    def regroup_large(self, problem: Problem) -> tuple[Problem, Tensor] | None:
        """Return the rows in large combinations, regrouped, and their indices (M,).

        Returns:
            None if there are fewer than two such combinations, or rows of one label only.
        """
        kept = self.are_large(problem)
        names = tuple(name for name, keep in zip(self.group.names, kept, strict=True) if keep)
        device = problem.groups.device
        rows = torch.from_numpy(np.flatnonzero(kept[self.group.ids])).to(device)
        labels = problem.labels[rows].unique()
        if len(names) < 2 or (problem.labeled and len(labels) < 2):
            return None
        new_ids = np.where(kept, np.cumsum(kept) - 1, 0)
        ids = torch.from_numpy(new_ids[self.group.ids]).to(device)
        return replace(problem, groups=ids, group_names=names).take(rows), rows


@dataclass(frozen=True)
class IntersectionAudit:
    """Evaluation of decisions by the combinations of several columns.

    Attributes:
        groups: every combination that occurs.
        intervals: of their rates by key, in the same order.
        too_small: the names of those with fewer than 30 rows, or rows of fewer than 10 clusters.
        evaluation: gaps between the others, on their rows; None if there are fewer than two.
    """

    columns: tuple[str, ...]
    groups: tuple[GroupEvaluation, ...]
    intervals: tuple[Mapping[str, Interval], ...]
    too_small: tuple[str, ...]
    evaluation: Evaluation | None


def intersections(groups: Sequence[Group]) -> tuple[Intersection, ...]:
    """Return the intersection of every two and three columns with more than one combination."""
    largest = min(MAX_COLUMNS, len(groups))
    choices = (c for size in range(2, largest + 1) for c in combinations(groups, size))
    return tuple(each for each in map(_intersection, choices) if len(each.group.names) > 1)


def audit_intersections(
    problem: Problem,
    decisions: Tensor,
    groups: Sequence[Group],
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> tuple[IntersectionAudit, ...]:
    """Evaluate decisions (N,) bool by every intersection of the group columns."""
    return tuple(_audit(each, problem, decisions, confidence) for each in intersections(groups))


def _audit(
    intersection: Intersection, problem: Problem, decisions: Tensor, confidence: ConfidenceLevel
) -> IntersectionAudit:
    regrouped, large = intersection.regroup(problem), intersection.regroup_large(problem)
    found = zip(intersection.group.names, intersection.are_large(problem), strict=True)
    return IntersectionAudit(
        columns=intersection.columns,
        groups=_evaluate(regrouped, decisions).groups,
        intervals=tuple(group_rate_intervals(regrouped.clustered_counts(decisions), confidence)),
        too_small=tuple(name for name, is_large in found if not is_large),
        evaluation=None if large is None else _evaluate(large[0], decisions[large[1]]),
    )


def _evaluate(problem: Problem, decisions: Tensor) -> Evaluation:
    no_thresholds = (math.nan,) * problem.n_groups
    return evaluate(problem, problem.scores, decisions, Objective(), no_thresholds)


def _intersection(groups: Sequence[Group]) -> Intersection:
    codes = np.zeros(len(groups[0].ids), np.int64)
    for group in groups:
        codes = codes * len(group.names) + group.ids
    used, ids = np.unique(codes, return_inverse=True)
    parts = np.unravel_index(used, [len(group.names) for group in groups])
    names = (
        " & ".join(f"{g.column}={g.names[value]}" for g, value in zip(groups, values, strict=True))
        for values in zip(*parts, strict=True)
    )
    columns = tuple(group.column for group in groups)
    return Intersection(columns, Group(" & ".join(columns), ids, tuple(names)))

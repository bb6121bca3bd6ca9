"""Groups of several protected columns together: fair by each column is not yet fair by both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.objective import Objective
from fairfix.stats.evaluation import Evaluation, GroupEvaluation, evaluate

MIN_ROWS = 30
COLUMNS = 3  # so many are combined at most, whatever the number of protected columns


@dataclass(frozen=True)
class Intersection:
    """The groups that the values of several columns make together.

    Attributes:
        columns: two or more.
        group: called "sex & race", with ids (N,) and the names, "sex=F & race=Black", of the
            combinations that rows have, in the order of the columns' own groups.
    """

    columns: tuple[str, ...]
    group: Group

    @property
    def sizes(self) -> tuple[int, ...]:
        """Rows of each combination, at least 1."""
        return tuple(np.bincount(self.group.ids, minlength=len(self.group.names)).tolist())

    @property
    def too_small(self) -> tuple[str, ...]:
        """The combinations of fewer than 30 rows: too few to say anything."""
        pairs = zip(self.group.names, self.sizes, strict=True)
        return tuple(name for name, rows in pairs if rows < MIN_ROWS)

    def of(self, problem: Problem) -> Problem:
        """The problem (N,) with all the combinations, at least two, as its groups."""
        ids = torch.from_numpy(self.group.ids).to(problem.groups.device)
        return replace(problem, groups=ids, group_names=self.group.names)

    def large(self, problem: Problem) -> tuple[Problem, Tensor] | None:
        """The rows in combinations of 30 rows or more, these as groups, and the row numbers (M,).

        None where fewer than two such combinations are left, or rows of one label only.
        """
        kept = np.array(self.sizes) >= MIN_ROWS
        names = tuple(name for name, large in zip(self.group.names, kept, strict=True) if large)
        device = problem.groups.device
        rows = torch.from_numpy(np.flatnonzero(kept[self.group.ids])).to(device)
        if len(names) < 2 or len(problem.labels[rows].unique()) < 2:
            return None
        place = np.where(kept, np.cumsum(kept) - 1, 0)
        ids = torch.from_numpy(place[self.group.ids]).to(device)
        return replace(problem, groups=ids, group_names=names).take(rows), rows


@dataclass(frozen=True)
class IntersectionAudit:
    """What decisions do to the combinations of several columns.

    Attributes:
        groups: every combination that rows have; ``too_small`` names those of under 30 rows.
        evaluation: gaps between the others, on their rows; None where fewer than two are left.
    """

    columns: tuple[str, ...]
    groups: tuple[GroupEvaluation, ...]
    too_small: tuple[str, ...]
    evaluation: Evaluation | None


def intersections(groups: Sequence[Group]) -> tuple[Intersection, ...]:
    """One for every choice of two and of three columns whose values make several combinations."""
    most = min(COLUMNS, len(groups))
    choices = (c for size in range(2, most + 1) for c in combinations(groups, size))
    return tuple(each for each in map(_intersection, choices) if len(each.group.names) > 1)


def audit_intersections(
    problem: Problem, decisions: Tensor, groups: Sequence[Group]
) -> tuple[IntersectionAudit, ...]:
    """Judge decisions (N,) bool by every intersection of the protected columns."""
    return tuple(_audits(problem, decisions, intersections(groups)))


def _audits(
    problem: Problem, decisions: Tensor, found: Sequence[Intersection]
) -> Iterator[IntersectionAudit]:
    for each in found:
        large = each.large(problem)
        yield IntersectionAudit(
            columns=each.columns,
            groups=_judged(each.of(problem), decisions).groups,
            too_small=each.too_small,
            evaluation=None if large is None else _judged(large[0], decisions[large[1]]),
        )


def _judged(problem: Problem, decisions: Tensor) -> Evaluation:
    unknown = (math.nan,) * problem.n_groups  # a combination has no cut of its own
    return evaluate(problem, problem.scores, decisions, Objective(), unknown)


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

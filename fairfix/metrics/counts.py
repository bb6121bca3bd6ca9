"""Confusion counts by group, hard or soft.

Counts are hard for decisions in {0, 1} and soft for scores in [0, 1]; soft counts make every metric
a differentiable proxy (Marcinkevics 2022, section 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.metrics.areas import GroupAreas
from fairfix.metrics.clusters import Cell, ClusterCounts


@dataclass(frozen=True)
class JointCounts:
    """Counts by the joint groups of several group columns.

    Attributes:
        sides: tp, fp, fn and tn, (..., J) each, in rows.
        groups: (J,) group of each joint group in the first column; -1 of rows without a group.
        n_groups: number of groups of the first column.
        columns: by name of a further column, the groups (J,), their number, and the design effect.
    """

    sides: tuple[Tensor, Tensor, Tensor, Tensor]
    groups: Tensor
    n_groups: int
    columns: Mapping[str, tuple[Tensor, int, Tensor | float]]

    @property
    def has_unknown(self) -> bool:
        """Whether some rows have no group."""
        return bool((self.groups < 0).any())

    def take(self, index: int | Tensor) -> JointCounts:
        """One entry of the leading axis, or several."""
        tp, fp, fn, tn = (side[index] for side in self.sides)
        return JointCounts((tp, fp, fn, tn), self.groups, self.n_groups, self.columns)

    def by(self, column: str, *, labeled: bool = True) -> Counts:
        """Return the counts by the groups of a further column."""
        groups, number, effect = self.columns[column]
        tp, fp, fn, tn = (sum_groups(side, groups, number) for side in self.sides)
        return Counts(tp, fp, fn, tn, effect, labeled=labeled)


def sum_groups(side: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """Return the sums (..., n_groups) of values (..., J) over joint groups of the same group.

    Those without a group, -1, are left out.
    """
    known = groups >= 0
    if not known.all():
        side, groups = side[..., known], groups[known]
    zeros = side.new_zeros(*side.shape[:-1], n_groups)
    return zeros.index_add(-1, groups, side)


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives by group.

    Attributes:
        tp, fp, fn, tn: (..., G) in rows; weighted rows are scaled to mean weight 1.
        design_effect: scalar or (G,), the factor by which row weights increase a variance; 1
            without weights.
        clusters: the counts by cluster, for hard decisions (G,) on rows that are clustered; they
            replace ``design_effect`` where they show a larger one.
        labeled: whether the rows have labels. Without, they count as rows with an unfavorable
            label, and every rate that depends on labels is undefined.
        joint: the same rows by joint group of several columns, if limits need them, with the rows
            that have no group; those count in ``total`` alone.
        all_clusters: the counts by cluster of all rows together (1,), if some have no group.
        auc: (...) area under the ROC curve of the scores that are decided, if an objective needs
            it.
        areas: that of each group, if an objective needs it.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    design_effect: Tensor | float = 1.0
    clusters: ClusterCounts | None = field(default=None, kw_only=True)
    labeled: bool = field(default=True, kw_only=True)
    joint: JointCounts | None = field(default=None, kw_only=True)
    all_clusters: ClusterCounts | None = field(default=None, kw_only=True)
    auc: Tensor | None = field(default=None, kw_only=True)
    areas: GroupAreas | None = field(default=None, kw_only=True)

    @property
    def sides(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.tp, self.fp, self.fn, self.tn

    def take(self, index: int | Tensor) -> Counts:
        """One entry of the leading axis, or several."""
        tp, fp, fn, tn = (side[index] for side in self.sides)
        joint = None if self.joint is None else self.joint.take(index)
        shape = self.tp.shape[:-1]
        return Counts(
            tp,
            fp,
            fn,
            tn,
            self.design_effect,
            labeled=self.labeled,
            joint=joint,
            auc=None if self.auc is None else self.auc.expand(shape)[index],
            areas=None if self.areas is None else self.areas.expand(shape).take(index),
        )

    def by(self, column: str | None) -> Counts:
        """Return the counts by the groups of a further column; None for the first.

        Raises:
            UsageError: if the column was not counted.
        """
        if column is None:
            return self
        if self.joint is None or column not in self.joint.columns:
            raise UsageError(
                f"A limit is by {column!r}, which was not counted; take counts from problem.counts."
            )
        return self.joint.by(column, labeled=self.labeled)

    def cells(self) -> Tensor:
        """Return tp, fp, fn and tn of all groups, or joint groups if there are any, (..., 4 J)."""
        return torch.cat(self.sides if self.joint is None else self.joint.sides, -1)

    def with_cells(self, cells: Tensor) -> Counts:
        """Return the counts of other ``cells``."""
        tp, fp, fn, tn = cells.chunk(4, -1)
        if self.joint is None:
            return replace(self, tp=tp, fp=fp, fn=fn, tn=tn, clusters=None)
        joint = replace(self.joint, sides=(tp, fp, fn, tn))
        groups = self.joint.groups, self.joint.n_groups
        tp, fp, fn, tn = (sum_groups(side, *groups) for side in joint.sides)
        return replace(self, tp=tp, fp=fp, fn=fn, tn=tn, clusters=None, joint=joint)

    def of_groups(self, groups: Sequence[int]) -> Counts:
        """Return the counts (G,) of some groups, in their order."""
        tp, fp, fn, tn = (side[list(groups)] for side in self.sides)
        effect = self.design_effect
        if isinstance(effect, Tensor) and effect.ndim:
            effect = effect[list(groups)]
        clusters = None if self.clusters is None else self.clusters.of_groups(groups)
        return Counts(tp, fp, fn, tn, effect, clusters=clusters, labeled=self.labeled)

    def total(self) -> Counts:
        """The same counts over all rows, shape (..., 1); also of those without a group."""
        tp, fp, fn, tn = (side.sum(-1, keepdim=True) for side in self.everyone().sides)
        clusters = self.all_clusters
        if clusters is None and self.clusters is not None:
            clusters = self.clusters.pooled()
        return Counts(tp, fp, fn, tn, self._total_effect(), clusters=clusters, labeled=self.labeled)

    def everyone(self) -> Counts:
        """Return counts over groups that have all rows: joint groups if some have no group."""
        if self.joint is None or not self.joint.has_unknown:
            return self
        return Counts(*self.joint.sides, labeled=self.labeled)

    def effect_on(self, hits: Sequence[Cell], trials: Sequence[Cell]) -> Tensor | float:
        """Return the design effect on a rate of these cells: scalar or (G,)."""
        if self.clusters is None:
            return self.design_effect
        effect = self.clusters.design_effect(hits, trials)
        return torch.maximum(effect, torch.as_tensor(self.design_effect).to(effect))

    def _total_effect(self) -> Tensor | float:
        """The design effect of all rows: the mean of the groups', by their rows."""
        if isinstance(self.design_effect, float):
            return self.design_effect
        rows = self.tp + self.fp + self.fn + self.tn
        return (rows * self.design_effect).sum(-1, keepdim=True) / rows.sum(-1, keepdim=True)


def count(
    decisions: Tensor, labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None
) -> Counts:
    """Count N rows by group.

    Args:
        decisions: (..., N) in [0, 1]: bool, 0/1, or soft. Gradients flow into the counts.
        labels: (N,) 0/1, 1 = favorable.
        groups: (N,) group ids in 0..n_groups-1, or -1 for a row that is not counted.
        weights: (N,) non-negative row weights, scaled to mean 1.
    """
    return count_cells(
        decisions,
        cells(labels, groups, n_groups, weights),
        design_effect(groups, n_groups, weights),
    )


def cells(labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None) -> Tensor:
    """Membership of N rows in 2 G cells, (N, 2 G) float64: the row's weight in its cell, else 0.

    Cell 2 g + y holds label y of group g. A row without a group, -1, is in none.
    """
    weight = 1.0 if weights is None else in_rows(weights).unsqueeze(1)
    cell = torch.where(groups < 0, 2 * n_groups, 2 * groups + labels)
    return torch.nn.functional.one_hot(cell, 2 * n_groups + 1)[:, :-1].double() * weight


def in_rows(weights: Tensor) -> Tensor:
    """Row weights (N,) as float64 with mean 1."""
    weights = weights.double()
    return weights / weights.mean()


def count_cells(decisions: Tensor, cells: Tensor, design_effect: Tensor | float = 1.0) -> Counts:
    """Count decisions (..., N), hard or soft, given ``cells`` (N, 2 G)."""
    positive = decisions.to(cells.dtype) @ cells
    size = cells.sum(0)
    tp, fp = positive[..., 1::2], positive[..., 0::2]
    return Counts(tp, fp, size[1::2] - tp, size[0::2] - fp, design_effect)


def design_effect(groups: Tensor, n_groups: int, weights: Tensor | None) -> Tensor | float:
    """Return sum(w^2) / sum(w) by group, (n_groups,), for weights scaled to mean 1.

    The weighted rows of a group divided by it are Kish's effective rows, sum(w)^2 / sum(w^2).
    Without weights it is 1.0. Rows without a group, -1, do not count.
    """
    if weights is None:
        return 1.0
    zeros = torch.zeros(n_groups, dtype=torch.float64, device=groups.device)
    w, groups = in_rows(weights) * (groups >= 0), groups.clamp(min=0)
    return zeros.index_add(0, groups, w * w) / zeros.index_add(0, groups, w)

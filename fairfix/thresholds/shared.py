"""The exact best single threshold over all distinct scores, for many score vectors at once.

One sort and one cumulative sum per cell give the counts at every possible threshold; the objective
then rates them all. There is no grid.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.areas import GroupAreas, group_areas
from fairfix.metrics.counts import Counts, design_effect, in_rows
from fairfix.metrics.group_columns import GroupColumns
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import Performance

ALL_POSITIVE, NONE_POSITIVE = -1.0, 1.0

# Relative difference below which two scores may change order when the same network runs with
# another batch size or on another machine. No threshold is placed between such scores.
ROUND_OFF = 16 * torch.finfo(torch.float32).eps
_SMALLEST = torch.finfo(torch.float32).tiny  # below it, ROUND_OFF times a score underflows to 0

_MAX_CELLS = 2**21  # scores times groups that are sorted together
_MAX_RATED = 2**15  # counts rated together on a CPU, so that intermediate results fit its cache


@dataclass(frozen=True)
class SharedThreshold:
    """The best threshold of each of B score vectors.

    Attributes:
        threshold: (B,) float64 in [-1, 1]; the decision is positive where score > threshold.
        utility: (B,) the objective at that threshold.
        counts: (B, G) the counts at that threshold.
    """

    threshold: Tensor
    utility: Tensor
    counts: Counts


def best_threshold(
    scores: Tensor,
    labels: Tensor,
    groups: Tensor,
    n_groups: int,
    objective: Objective,
    weights: Tensor | None = None,
    columns: GroupColumns | None = None,
    label_probabilities: Tensor | None = None,
    effect: Tensor | float | None = None,
) -> SharedThreshold:
    """Return the threshold that maximizes the objective, for each row of ``scores``.

    Where no threshold changes performance, ``Objective.for_thresholds`` is maximized.

    The search is exact: it covers every threshold between two distinct scores, all positive (-1)
    and none positive (1). Equal scores get the same decision. Of equally good thresholds, the one
    with the fewest positive decisions wins. Takes O(B N log N) time.

    Args:
        scores: (B, N) or (N,), finite, in [0, 1].
        labels: (N,) 0/1, 1 = favorable.
        groups: (N,) in 0..n_groups-1.
        n_groups: number of groups G.
        objective: what to maximize.
        weights: (N,) non-negative row weights, rescaled to mean 1; None = 1 for every row.
        columns: all group columns, if the objective has limits by another one than ``groups``.
        label_probabilities: (N,) P(label = 1); rows then count for either label in part.
        effect: design effect of the groups, scalar or (G,); None takes that of the weights.
    """
    batch = scores if scores.dim() == 2 else scores.unsqueeze(0)
    rows = _Rows.of(labels, groups, n_groups, weights, columns)
    rows = replace(rows, label_probabilities=label_probabilities)
    rows = rows if effect is None else rows.with_effect(effect)
    step = max(1, _MAX_CELLS // (batch.shape[1] * rows.n_cells // 2 + 1))
    parts = [_best_thresholds(part, rows, objective) for part in batch.split(step)]
    if len(parts) == 1:
        return parts[0]
    return SharedThreshold(
        torch.cat([part.threshold for part in parts]),
        torch.cat([part.utility for part in parts]),
        concatenate([part.counts for part in parts]),
    )


def best_threshold_of(
    problem: Problem,
    scores: Tensor,
    objective: Objective,
    label_probabilities: Tensor | None = None,
) -> SharedThreshold:
    """Return ``best_threshold`` of scores, (B, N) or (N,), of a problem's rows.

    Standard errors include the design effect of row weights and clusters.
    """
    return best_threshold(
        scores,
        problem.labels,
        problem.groups,
        problem.n_groups,
        objective,
        problem.weights,
        problem.columns,
        label_probabilities,
        problem.design_effect,
    )


def evaluate_all_thresholds(problem: Problem) -> tuple[Tensor, Counts]:
    """Return all thresholds of a problem's scores, (K,) descending, and their counts (K, G).

    They run from none positive (1) to all positive (-1) and skip pairs of scores that round-off
    may swap.
    """
    own = problem.labels, problem.groups, problem.n_groups, problem.weights
    rows = _Rows.of(*own, problem.columns).with_effect(problem.design_effect)
    ordered, cumulative = rows.cumulative_counts(problem.scores.unsqueeze(0))
    at = allowed_positions(ordered)[0].nonzero()
    thresholds = _threshold(ordered.expand(len(at), -1), at)
    return thresholds, rows.counts(cumulative[:, 0, at.squeeze(1)], cumulative[:, 0, -1:])


def performance_threshold(problem: Problem, performance: Performance) -> float:
    """Return the threshold of best performance on a problem's scores, whatever the gap."""
    thresholds, counts = evaluate_all_thresholds(problem)
    return float(thresholds[performance(counts).nan_to_num(-math.inf).argmax()])


@dataclass(frozen=True)
class _Rows:
    """Rows as cells of group, or joint group, and label.

    Attributes:
        cell: (N,) in 0..n_cells-1; cell 2 g + y holds label y of group g.
        effect: design effect of the groups.
        weights: (N,) row weights; None = 1 for every row.
        columns: all group columns, if the groups are joint groups.
        label_probabilities: (N,) P(label = 1) in place of the labels.
    """

    cell: Tensor
    n_cells: int
    effect: Tensor | float
    weights: Tensor | None
    columns: GroupColumns | None
    label_probabilities: Tensor | None = None

    @classmethod
    def of(
        cls,
        labels: Tensor,
        groups: Tensor,
        n_groups: int,
        weights: Tensor | None,
        columns: GroupColumns | None,
    ) -> _Rows:
        weight = None if weights is None else in_rows(weights)
        effect = design_effect(groups, n_groups, weights)
        if columns is not None:
            n_joint = columns.n_joint
            columns = replace(columns, effect=effect)
            return cls(2 * columns.joint + labels, 2 * n_joint, effect, weight, columns)
        return cls(2 * groups + labels, 2 * n_groups, effect, weight, None)

    def with_effect(self, effect: Tensor | float) -> _Rows:
        columns = None if self.columns is None else replace(self.columns, effect=effect)
        return replace(self, effect=effect, columns=columns)

    def cumulative_counts(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``cumulative_counts`` of scores (B, N)."""
        if self.label_probabilities is None:
            return cumulative_counts(scores, self.cell, self.n_cells, self.weights)
        p = self.label_probabilities.double()
        (ordered, favorable), (_, unfavorable) = (
            cumulative_counts(
                scores,
                self.cell // 2,
                self.n_cells // 2,
                share if self.weights is None else self.weights * share,
            )
            for share in (p, 1 - p)
        )
        return ordered, torch.stack([unfavorable, favorable], 1).flatten(0, 1)

    def areas(self, scores: Tensor) -> GroupAreas:
        """Return the areas under the ROC curve of scores (B, N) by group."""
        group, favorable = self.cell // 2, self.cell % 2
        number = self.n_cells // 2
        if self.columns is not None:
            group, number = self.columns.groups[group], self.columns.n_groups
        if self.label_probabilities is not None:
            favorable = self.label_probabilities
        return group_areas(scores, favorable, group, number, self.weights, self.effect)

    def counts(self, cumulative: Tensor, total: Tensor) -> Counts:
        """Return counts (..., G) from positives by cell (C, ...) and all rows by cell."""
        hits, all_ = cumulative.double().movedim(0, -1), total.double().movedim(0, -1)
        tp, fp = hits[..., 1::2], hits[..., 0::2]
        fn, tn = all_[..., 1::2] - tp, all_[..., 0::2] - fp
        if self.columns is not None:
            return self.columns.counts(tp, fp, fn, tn)
        return Counts(tp, fp, fn, tn, self.effect)


def _best_thresholds(scores: Tensor, rows: _Rows, objective: Objective) -> SharedThreshold:
    by = objective.for_thresholds
    ordered, cumulative = rows.cumulative_counts(scores)
    area = _auc(ordered, cumulative) if objective.needs_auc else None
    allowed, total = allowed_positions(ordered), cumulative[..., -1:]
    width = _chunk_width(cumulative)
    best, utility = cumulative.new_zeros(len(scores), dtype=torch.long), None
    for first in range(0, cumulative.shape[2], width):
        part = slice(first, first + width)
        counted = rows.counts(cumulative[..., part], total)
        if area is not None:
            counted = replace(counted, auc=area.unsqueeze(1))
        rated = by.utility(counted)
        top, at = torch.where(allowed[:, part], rated, -math.inf).max(dim=1)
        if utility is None:
            best, utility = at, top
        else:
            best = torch.where(top > utility, at + first, best)
            utility = torch.maximum(top, utility)
    assert utility is not None
    best = best.unsqueeze(1)
    chosen = cumulative.gather(2, best.expand(len(cumulative), -1, -1))
    counts = replace(rows.counts(chosen.squeeze(2), total.squeeze(2)), auc=area)
    if objective.needs_areas:
        counts = replace(counts, areas=rows.areas(scores))
    if by is not objective:
        utility = objective.utility(counts)
    return SharedThreshold(_threshold(ordered, best), utility, counts)


def _auc(ordered: Tensor, cumulative: Tensor) -> Tensor:
    """Return the area under the ROC curve of each score vector, (B,), ties counted one half.

    Args:
        ordered: scores (B, N), descending.
        cumulative: (C, B, N + 1), as ``cumulative_counts`` returns it.
    """
    n = ordered.shape[1]
    ends = torch.nn.functional.pad(ordered[:, :-1] != ordered[:, 1:], (1, 1), value=True)
    index = torch.arange(n + 1, device=ordered.device)
    # Within equal scores the curve is straight, from the last position before them to their end.
    last = torch.where(ends, index, 0).cummax(1).values
    tp, fp = (cumulative[label::2].double().sum(0).gather(1, last) for label in (1, 0))
    area = (fp.diff(dim=1) * (tp[:, 1:] + tp[:, :-1]) / 2).sum(1)
    return area / (tp[:, -1] * fp[:, -1])


def _chunk_width(cumulative: Tensor) -> int:
    """Return how many thresholds of each score vector to rate together."""
    cells, batch, positions = cumulative.shape
    if cumulative.device.type != "cpu":
        return positions
    return max(1, 2 * _MAX_RATED // (cells * max(1, batch)))


def batched_utility(objective: Objective, counts: Counts, needed: float = -math.inf) -> Tensor:
    """Return the utility (M,) of counts (M, G), computed in chunks that fit the CPU's cache.

    Args:
        needed: as ``Objective.utility`` takes it.
    """
    width = len(counts.tp)
    if counts.tp.device.type == "cpu":
        width = max(1, _MAX_RATED // counts.tp.shape[1])
    if counts.joint is not None:
        cells = counts.cells()
        some = cells.split(max(1, 4 * _MAX_RATED // cells.shape[1]))
        return torch.cat([objective.utility(counts.with_cells(part), needed) for part in some])
    by_group = [side.t().contiguous().t() for side in counts.sides]  # sums over groups are faster
    parts = zip(*(side.split(width) for side in by_group), strict=True)
    return torch.cat(
        [
            objective.utility(Counts(tp, fp, fn, tn, counts.design_effect), needed)
            for tp, fp, fn, tn in parts
        ]
    )


def concatenate(parts: Sequence[Counts]) -> Counts:
    """Return counts with the same groups as one, along the leading axis."""
    aucs = [part.auc for part in parts if part.auc is not None]
    areas = [part.areas for part in parts if part.areas is not None]
    whole = parts[0].with_cells(torch.cat([part.cells() for part in parts]))
    return replace(
        whole,
        auc=torch.cat(aucs) if aucs else None,
        areas=GroupAreas.concatenated(areas) if areas else None,
    )


def allowed_positions(ordered: Tensor) -> Tensor:
    """Return which numbers of positives 0..N a threshold can produce, (B, N + 1) bool.

    Args:
        ordered: scores (B, N), descending.
    """
    apart = ordered[:, :-1] - ordered[:, 1:] > ROUND_OFF * ordered[:, :-1].clamp(min=_SMALLEST)
    return torch.nn.functional.pad(apart, (1, 1), value=True)


def separation_bound(scores: Tensor) -> Tensor:
    """Return the value below which another score is far enough from each of these (any shape).

    A threshold may be placed between a score and another one below its bound.
    """
    return scores - ROUND_OFF * scores.clamp(min=_SMALLEST)


def cumulative_counts(
    scores: Tensor, cells: Tensor, n_cells: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Sort scores and count the rows of each cell among the highest 0, 1, ..., N of them.

    Args:
        scores: (B, N), not negative, no NaN.
        cells: (N,) the cell of each row (group and label), in 0..n_cells-1.
        n_cells: number of cells.
        weights: (N,) row weights; None = 1 for every row.

    Returns:
        Scores (B, N), descending, and cumulative counts (n_cells, B, N + 1): int32, or float64
        with weights.
    """
    batch, n = scores.shape
    cells = cells.to(torch.int32)
    if weights is None:
        ordered, cell = sort_descending(scores, cells)
    else:
        ordered, order = sort_descending(scores, torch.arange(n, device=scores.device))
        cell, weights = cells[order], weights[order]
    kind = torch.int32 if weights is None else torch.float64
    sums = torch.zeros(n_cells, batch, n + 1, dtype=kind, device=scores.device)
    for c in range(n_cells):
        here = cell == c
        counted = here if weights is None else here * weights
        torch.cumsum(counted, 1, dtype=kind, out=sums[c, :, 1:])
    return ordered, sums


def sort_descending(scores: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (B, N) in descending order and ``carried`` in the same order, (B, N).

    Args:
        scores: (B, N), not negative, no NaN.
        carried: (N,) integers in [0, 2^31), shared by all score vectors. Equal scores are ordered
            by them, ascending.
    """
    if scores.dtype != torch.float32:
        carried, order = carried.sort(stable=True)
        ordered, order = scores[:, order].sort(dim=1, descending=True, stable=True)
        return ordered, carried[order]
    # Bit patterns of non-negative floats sort as the floats do, so one integer sort does it all.
    keys = (~scores.contiguous().view(torch.int32)).long() << 32 | carried
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)  # several times faster than torch's
    else:
        keys = keys.sort(dim=1).values
    return (~(keys >> 32).int()).view(torch.float32), keys.int()


def _threshold(ordered: Tensor, positives: Tensor) -> Tensor:
    """Return the float32 midpoint of the last positive and the first negative score, (B,).

    Args:
        ordered: scores (B, N), descending.
        positives: (B, 1) number of positive decisions.
    """
    last = ordered.shape[1] - 1
    above = ordered.gather(1, (positives - 1).clamp(min=0)).double()
    below = ordered.gather(1, positives.clamp(max=last)).double()
    middle = ((above + below) / 2).float().double()
    middle = torch.where(positives == 0, NONE_POSITIVE, middle)
    return torch.where(positives == last + 1, ALL_POSITIVE, middle).squeeze(1)

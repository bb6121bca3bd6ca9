"""The exact best threshold over all distinct score values, for many score vectors at once.

One sort and a few cumulative sums give the counts of every possible cut; the objective rates them
all. No grid is involved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import Counts, design_effect, in_rows

ALL_POSITIVE, NONE_POSITIVE = -1.0, 1.0

# Scores closer than this share of their value may swap places when the same network runs in
# another batch size or on another machine; no cut is placed between them.
ROUND_OFF = 16 * torch.finfo(torch.float32).eps
_SMALLEST = torch.finfo(torch.float32).tiny  # below it, a share of a value rounds to 0

_MAX_CELLS = 2**21
_MAX_RATED = 2**15  # on a CPU, whose cache then holds what rating computes on the way


@dataclass(frozen=True)
class SharedThreshold:
    """The best cut of each of B score vectors.

    Attributes:
        threshold: (B,) in [-1, 1]; the decision is positive where score > threshold.
        utility: (B,) what the objective gives for it.
        counts: (B, G) at that cut.
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
) -> SharedThreshold:
    """The threshold that maximizes the objective, for each row of ``scores`` (B, N) or for (N,).

    Exact over every cut between two distinct scores, everyone positive (-1) and no one (1)
    included; tied scores move together, the lowest of equally good numbers of positives wins.
    O(B N log N) time.

    Args:
        scores: (B, N) or (N,) in [0, 1], finite.
        labels: (N,) 0/1, 1 = favorable.
        groups: (N,) in 0..n_groups-1.
        weights: (N,) row weights, their mean is taken as one row.
    """
    batch = scores if scores.dim() == 2 else scores.unsqueeze(0)
    step = max(1, _MAX_CELLS // (batch.shape[1] * n_groups + 1))
    found = [
        _best_thresholds(part, labels, groups, n_groups, objective, weights)
        for part in batch.split(step)
    ]
    if len(found) == 1:
        return found[0]
    tp, fp, fn, tn = (
        torch.cat(side) for side in zip(*(f.counts.sides for f in found), strict=True)
    )
    return SharedThreshold(
        torch.cat([f.threshold for f in found]),
        torch.cat([f.utility for f in found]),
        Counts(tp, fp, fn, tn, found[0].counts.design_effect),
    )


def evaluate_all_thresholds(problem: Problem) -> tuple[Tensor, Counts]:
    """All cuts of a problem's scores: thresholds (K,), falling, and counts (K, G).

    From no one positive to everyone; none between scores that round-off may swap.
    """
    ordered, positive = cumulative_counts(
        problem.scores.unsqueeze(0),
        2 * problem.groups + problem.labels,
        2 * problem.n_groups,
        None if problem.weights is None else in_rows(problem.weights),
    )
    effect = design_effect(problem.groups, problem.n_groups, problem.weights)
    at = allowed_positions(ordered)[0].nonzero()
    thresholds = _threshold(ordered.expand(len(at), -1), at)
    return thresholds, _counts(positive[:, 0, at.squeeze(1)], positive[:, 0, -1:], effect)


def _best_thresholds(
    scores: Tensor,
    labels: Tensor,
    groups: Tensor,
    n_groups: int,
    objective: Objective,
    weights: Tensor | None,
) -> SharedThreshold:
    ordered, positive = cumulative_counts(
        scores, 2 * groups + labels, 2 * n_groups, None if weights is None else in_rows(weights)
    )
    effect = design_effect(groups, n_groups, weights)
    allowed, everyone = allowed_positions(ordered), positive[..., -1:]
    width = _chunk_width(positive)
    best, utility = positive.new_zeros(len(scores), dtype=torch.long), None
    for first in range(0, positive.shape[2], width):
        part = slice(first, first + width)
        rated = objective.utility(_counts(positive[..., part], everyone, effect))
        top, at = torch.where(allowed[:, part], rated, -math.inf).max(dim=1)
        if utility is None:
            best, utility = at, top
        else:
            best = torch.where(top > utility, at + first, best)
            utility = torch.maximum(top, utility)
    assert utility is not None
    best = best.unsqueeze(1)
    chosen = positive.gather(2, best.expand(len(positive), -1, -1))
    tp, fp, fn, tn = (side.squeeze(1) for side in _counts(chosen, everyone, effect).sides)
    return SharedThreshold(_threshold(ordered, best), utility, Counts(tp, fp, fn, tn, effect))


def _chunk_width(positive: Tensor) -> int:
    """How many cuts of each score vector are rated at once."""
    cells, batch, cuts = positive.shape
    if positive.device.type != "cpu":
        return cuts
    return max(1, 2 * _MAX_RATED // (cells * max(1, batch)))


def batched_utility(objective: Objective, counts: Counts) -> Tensor:
    """What the objective gives for counts (M, G), each on its own: (M,), some at a time."""
    width = len(counts.tp)
    if counts.tp.device.type == "cpu":
        width = max(1, _MAX_RATED // counts.tp.shape[1])
    by_group = [side.t().contiguous().t() for side in counts.sides]  # sums over groups are faster
    parts = zip(*(side.split(width) for side in by_group), strict=True)
    return torch.cat(
        [
            objective.utility(Counts(tp, fp, fn, tn, counts.design_effect))
            for tp, fp, fn, tn in parts
        ]
    )


def allowed_positions(ordered: Tensor) -> Tensor:
    """Which numbers of positives 0..N of falling scores (B, N) a cut can give, (B, N + 1) bool."""
    apart = ordered[:, :-1] - ordered[:, 1:] > ROUND_OFF * ordered[:, :-1].clamp(min=_SMALLEST)
    return torch.nn.functional.pad(apart, (1, 1), value=True)


def separation_bound(scores: Tensor) -> Tensor:
    """Below which another score must lie for a cut between it and each of these, any shape."""
    return scores - ROUND_OFF * scores.clamp(min=_SMALLEST)


def cumulative_counts(
    scores: Tensor, cells: Tensor, n_cells: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Scores (B, N) falling, and how much of each cell is among the first 0, 1, ..., N of them.

    Args:
        scores: not negative, no NaN.
        cells: (N,) the cell of each row, in 0..n_cells-1.
        weights: (N,) what each row counts for, 1 without.

    Returns:
        scores (B, N), and sums (n_cells, B, N + 1), int32, or float64 with weights.
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
    """Scores (B, N) from the highest to the lowest, and what they carry, (B, N) in that order.

    Args:
        scores: not negative, no NaN.
        carried: (N,) integers in [0, 2^31), the same for every score vector; equal scores come in
            the order of what they carry.
    """
    if scores.dtype != torch.float32:
        carried, order = carried.sort(stable=True)
        ordered, order = scores[:, order].sort(dim=1, descending=True, stable=True)
        return ordered, carried[order]
    # The bits of such floats are ordered as the floats are, so that one sort of integers does it.
    keys = (~scores.contiguous().view(torch.int32)).long() << 32 | carried
    if keys.device.type == "cpu":
        keys.numpy().sort(axis=1)  # several times faster than torch's
    else:
        keys = keys.sort(dim=1).values
    return (~(keys >> 32).int()).view(torch.float32), keys.int()


def _counts(positive: Tensor, everyone: Tensor, effect: Tensor | float) -> Counts:
    """Counts (..., G) of positives by cell (2 G, ...), of all that there is in ``everyone``."""
    hits, all_ = positive.double().movedim(0, -1), everyone.double().movedim(0, -1)
    tp, fp = hits[..., 1::2], hits[..., 0::2]
    return Counts(tp, fp, all_[..., 1::2] - tp, all_[..., 0::2] - fp, effect)


def _threshold(ordered: Tensor, positives: Tensor) -> Tensor:
    """Halfway between the last positive and the first negative score, as float32 holds it."""
    last = ordered.shape[1] - 1
    above = ordered.gather(1, (positives - 1).clamp(min=0)).double()
    below = ordered.gather(1, positives.clamp(max=last)).double()
    middle = ((above + below) / 2).float().double()
    middle = torch.where(positives == 0, NONE_POSITIVE, middle)
    return torch.where(positives == last + 1, ALL_POSITIVE, middle).squeeze(1)

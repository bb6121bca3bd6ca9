"""The exact best threshold over all distinct score values, for many score vectors at once.

One sort and a few cumulative sums give the counts of every possible cut; the objective rates them
all. No grid is involved.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.rates import Counts, design_effect, in_rows

ALL_POSITIVE, NONE_POSITIVE = -1.0, 1.0

# Scores closer than this share of their value may swap places when the same network runs in
# another batch size or on another machine; no cut is placed between them.
ROUND_OFF = 16 * torch.finfo(torch.float32).eps
_SMALLEST = torch.finfo(torch.float32).tiny  # below it, a share of a value rounds to 0

_CELLS_AT_ONCE = 2**21


@dataclass(frozen=True)
class Cut:
    """The best cut of each of B score vectors.

    Attributes:
        threshold: (B,) in [-1, 1]; the decision is positive where score > threshold.
        utility: (B,) what the objective gives for it.
        counts: (B, G) at that cut.
    """

    threshold: Tensor
    utility: Tensor
    counts: Counts


def best_cut(
    scores: Tensor,
    labels: Tensor,
    groups: Tensor,
    n_groups: int,
    objective: Objective,
    weights: Tensor | None = None,
) -> Cut:
    """The threshold that maximises the objective, for each row of ``scores`` (B, N) or for (N,).

    Exact over every cut between two distinct scores, everyone positive (-1) and no one (1)
    included; tied scores move together, the lowest of equally good numbers of positives wins.
    O(B N log N) time.

    Args:
        scores: (B, N) or (N,) in [0, 1], finite.
        labels: (N,) 0/1, 1 = favourable.
        groups: (N,) in 0..n_groups-1.
        weights: (N,) row weights, their mean is taken as one row.
    """
    batch = scores if scores.dim() == 2 else scores.unsqueeze(0)
    step = max(1, _CELLS_AT_ONCE // (batch.shape[1] * n_groups + 1))
    found = [
        _best_cuts(part, labels, groups, n_groups, objective, weights) for part in batch.split(step)
    ]
    if len(found) == 1:
        return found[0]
    tp, fp, fn, tn = (
        torch.cat(side) for side in zip(*(f.counts.sides for f in found), strict=True)
    )
    return Cut(
        torch.cat([f.threshold for f in found]),
        torch.cat([f.utility for f in found]),
        Counts(tp, fp, fn, tn, found[0].counts.design_effect),
    )


def every_cut(problem: Problem) -> tuple[Tensor, Counts]:
    """All cuts of a problem's scores: thresholds (K,), falling, and counts (K, G).

    From no one positive to everyone; none between scores that round-off may swap.
    """
    ordered, order = problem.scores.unsqueeze(0).sort(dim=1, descending=True)
    counts = _cumulative_counts(
        order, problem.labels, problem.groups, problem.n_groups, problem.weights
    )
    at = allowed_cuts(ordered)[0].nonzero()
    thresholds = _threshold(ordered.expand(len(at), -1), at)
    tp, fp, fn, tn = (side[0, at.squeeze(1)] for side in counts.sides)
    return thresholds, Counts(tp, fp, fn, tn, counts.design_effect)


def _best_cuts(
    scores: Tensor,
    labels: Tensor,
    groups: Tensor,
    n_groups: int,
    objective: Objective,
    weights: Tensor | None,
) -> Cut:
    ordered, order = scores.sort(dim=1, descending=True)
    counts = _cumulative_counts(order, labels, groups, n_groups, weights)
    utility = objective.utility(counts)
    utility = torch.where(allowed_cuts(ordered), utility, -math.inf)
    best = utility.argmax(dim=1, keepdim=True)
    rows = torch.arange(len(best), device=best.device)
    chosen = best.squeeze(1)
    tp, fp, fn, tn = (side[rows, chosen] for side in counts.sides)
    return Cut(
        _threshold(ordered, best),
        utility[rows, chosen],
        Counts(tp, fp, fn, tn, counts.design_effect),
    )


def allowed_cuts(ordered: Tensor) -> Tensor:
    """Which numbers of positives 0..N of falling scores (B, N) a cut can give, (B, N + 1) bool."""
    apart = ordered[:, :-1] - ordered[:, 1:] > ROUND_OFF * ordered[:, :-1].clamp(min=_SMALLEST)
    return torch.nn.functional.pad(apart, (1, 1), value=True)


def lowest_apart(scores: Tensor) -> Tensor:
    """Below which another score must lie for a cut between it and each of these, any shape."""
    return scores - ROUND_OFF * scores.clamp(min=_SMALLEST)


def _cumulative_counts(
    order: Tensor, labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None
) -> Counts:
    """Counts (B, N + 1, G) when the first 0, 1, ..., N rows of ``order`` (B, N) are positive."""
    cell = (2 * groups + labels).to(torch.int16)[order]
    weight = None if weights is None else in_rows(weights)[order]
    batch, n = order.shape
    sums = torch.zeros(2 * n_groups, batch, n + 1, dtype=torch.float64, device=order.device)
    for c in range(2 * n_groups):
        here = cell == c
        if weight is None:
            sums[c, :, 1:] = here.cumsum(1, dtype=torch.int32)
        else:
            torch.cumsum(here * weight, 1, out=sums[c, :, 1:])
    positive = sums.permute(1, 2, 0)
    tp, fp = positive[..., 1::2], positive[..., 0::2]
    return Counts(
        tp, fp, tp[:, -1:] - tp, fp[:, -1:] - fp, design_effect(groups, n_groups, weights)
    )


def _threshold(ordered: Tensor, positives: Tensor) -> Tensor:
    """Halfway between the last positive and the first negative score, as float32 holds it."""
    last = ordered.shape[1] - 1
    above = ordered.gather(1, (positives - 1).clamp(min=0)).double()
    below = ordered.gather(1, positives.clamp(max=last)).double()
    middle = ((above + below) / 2).float().double()
    middle = torch.where(positives == 0, NONE_POSITIVE, middle)
    return torch.where(positives == last + 1, ALL_POSITIVE, middle).squeeze(1)

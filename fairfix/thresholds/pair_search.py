"""Thresholds per group under several limits: search of two groups' thresholds at a time.

Limits by another group column, or floors of several rates, leave no interval of feasible thresholds
that a range maximum could cover. Pairs of thresholds are therefore rated one by one: all of them if
they are few, else an even grid whose best points are refined.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

ALL_PAIRS = 2**18
"""Number of pairs up to which every pair is rated."""

_GRID = 2**16  # pairs in one grid
_REFINED = 8  # best points of a grid that are refined
_CHUNK = 2**14  # candidates rated together

Rate = Callable[[Tensor, float], Tensor]
"""Returns the utility (M,) of candidates (M, G), indices of each group's thresholds.

A utility below the number given may be any smaller value.
"""


def best_by_pairs(start: Tensor, lengths: list[int], rate: Rate) -> Tensor:
    """Return the best candidate (G,), at least as good as ``start``.

    With two groups this is the best of all pairs, if there are at most 2^18. With more groups,
    every pair of groups is searched in turn until none gains, a local optimum.

    Args:
        start: (G,) indices.
        lengths: number of thresholds of each group.
        rate: the utility; -inf excludes a candidate.
    """
    best, utility = start, float(rate(start.unsqueeze(0), -math.inf))
    pairs = list(combinations(range(len(lengths)), 2))
    improved = True
    while improved:
        improved = False
        for pair in pairs:
            found, value = _best_of_pair(best, utility, pair, lengths, rate)
            if value > utility:
                best, utility, improved = found, value, len(pairs) > 1
    return best


def _best_of_pair(
    fixed: Tensor, utility: float, pair: tuple[int, int], lengths: list[int], rate: Rate
) -> tuple[Tensor, float]:
    """Return the best candidate that differs from ``fixed`` in two groups at most."""
    windows = [tuple((0, lengths[group] - 1) for group in pair)]
    best = fixed
    while windows:
        following = []
        for axes, values in [_rate_window(fixed, utility, pair, w, rate) for w in windows]:
            for place in values.flatten().topk(min(_REFINED, values.numel())).indices.tolist():
                at = divmod(place, values.shape[1])
                value = float(values[at])
                if value > utility:
                    utility, best = value, fixed.clone()
                    best[list(pair)] = torch.stack([axes[0][at[0]], axes[1][at[1]]])
                window = tuple(_around(axis, i) for axis, i in zip(axes, at, strict=True))
                if any(len(axis) < axis[-1] - axis[0] + 1 for axis in axes):
                    following.append((value, window))
        following.sort(key=lambda each: -each[0])
        windows = list(dict.fromkeys(window for _, window in following[:_REFINED]))
    return best, utility


def _rate_window(
    fixed: Tensor,
    needed: float,
    pair: tuple[int, int],
    window: tuple[tuple[int, int], ...],
    rate: Rate,
) -> tuple[list[Tensor], Tensor]:
    """Return the indices of both groups on a grid in a window, and the utilities of all pairs."""
    sizes = [high - low + 1 for low, high in window]
    limit = ALL_PAIRS if math.prod(sizes) <= ALL_PAIRS else _GRID
    axes = []
    for (low, high), size, other in zip(window, sizes, sizes[::-1], strict=True):
        kept = min(size, max(math.isqrt(limit), limit // other))
        steps = torch.linspace(low, high, kept, dtype=torch.float64, device=fixed.device)
        axes.append(steps.round().long())
    grid = torch.cartesian_prod(*axes)
    values = []
    for part in grid.split(_CHUNK):
        candidates = fixed.repeat(len(part), 1)
        candidates[:, list(pair)] = part
        values.append(rate(candidates, needed))
        needed = max(needed, float(values[-1].max()))
    return axes, torch.cat(values).view(len(axes[0]), len(axes[1]))


def _around(axis: Tensor, at: int) -> tuple[int, int]:
    """Return the range between the neighbors of a grid point."""
    return int(axis[max(0, at - 1)]), int(axis[min(len(axis) - 1, at + 1)])

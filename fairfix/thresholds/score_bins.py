"""Counts by group and label above each of some thresholds, so that a page can change thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, design_effect
from fairfix.thresholds.shared import ALL_POSITIVE, NONE_POSITIVE, ROUND_OFF

MAX_BINS = 512
MIN_CELL = 10
"""Fewest rows of a group with one label that are shown, and of all rows between two thresholds."""


@dataclass(frozen=True)
class ScoreBins:
    """Rows above each threshold, by group and label.

    Attributes:
        edges: (K,) thresholds, ascending from -1 (all positive) to 1 (none positive).
        groups: names of the G groups with enough rows; ``left_out`` those of the others.
        above: (K, 2 G) float64 rows whose score is above the threshold. Column 2 g + y holds label
            y of group g; without labels, y = 0. Weighted rows are scaled to mean weight 1.
        effects: (G,) factor by which row weights increase a variance.
        labeled: whether the rows have labels.
    """

    edges: tuple[float, ...]
    groups: tuple[str, ...]
    left_out: tuple[str, ...]
    above: Tensor
    effects: tuple[float, ...]
    labeled: bool

    def counts(self) -> Counts:
        """Return the counts (K, G) of each threshold, shared by all groups."""
        positive, total = self.above, self.above[0]
        tp, fp = positive[:, 1::2], positive[:, 0::2]
        effects = torch.tensor(self.effects, dtype=torch.float64)
        return Counts(tp, fp, total[1::2] - tp, total[0::2] - fp, effects, labeled=self.labeled)


def score_bins(problem: Problem, edges: tuple[float, ...]) -> ScoreBins:
    """Return the counts of a problem's scores above some thresholds.

    Groups with fewer than 10 rows of a label are left out.

    Args:
        edges: (K,) as ``score_edges`` returns them.
    """
    rows = torch.bincount(2 * problem.groups + problem.labels, minlength=2 * problem.n_groups)
    shown = rows.reshape(-1, 2)[:, : 2 if problem.labeled else 1].amin(1) >= MIN_CELL
    kept = [2 * g + y for g in shown.nonzero().flatten().tolist() for y in (0, 1)]
    effect = design_effect(problem.groups, problem.n_groups, problem.weights)
    effects = torch.as_tensor(effect, dtype=torch.float64).expand(problem.n_groups)
    names = list(zip(problem.group_names, shown.tolist(), strict=True))
    return ScoreBins(
        edges=edges,
        groups=tuple(name for name, enough in names if enough),
        left_out=tuple(name for name, enough in names if not enough),
        above=_above(problem.scores, problem.cells[:, kept], edges).cpu(),
        effects=tuple(effects[shown].tolist()),
        labeled=problem.labeled,
    )


def _above(scores: Tensor, cells: Tensor, edges: tuple[float, ...]) -> Tensor:
    """Return the sum of ``cells`` (N, C) over the rows above each of K thresholds, (K, C)."""
    ascending, order = scores.sort()
    from_here = cells[order].flip(0).cumsum(0).flip(0)
    sums = torch.cat([from_here, torch.zeros_like(from_here[:1])])
    # In the scores' own precision, in which rules compare them.
    thresholds = torch.tensor(edges, dtype=torch.float64, device=scores.device).to(scores.dtype)
    return sums[torch.searchsorted(ascending, thresholds, right=True)]


def score_edges(
    scores: Tensor, in_use: Iterable[float] = (), limit: int = MAX_BINS
) -> tuple[float, ...]:
    """Return thresholds at quantiles of the scores, and those in use, ascending from -1 to 1.

    A quantile becomes the shortest decimal between two scores. None lies between scores that
    round-off may swap.

    Args:
        scores: (N,) in [0, 1].
        in_use: thresholds in [-1, 1] to include.
        limit: largest number of quantiles; there are at most N / 10.
    """
    values = scores.double().cpu().numpy()
    distinct, counts = np.unique(values, return_counts=True)
    n_edges = min(limit, len(values) // MIN_CELL)
    wanted = np.linspace(0, len(values), n_edges + 2)[1:-1]
    lower = np.unique(np.searchsorted(counts.cumsum(), wanted))
    pairs = ((distinct[i], distinct[i + 1]) for i in lower if i + 1 < len(distinct))
    between = (_short(low, high) for low, high in pairs if high - low > ROUND_OFF * high)
    return tuple(sorted({ALL_POSITIVE, NONE_POSITIVE, *map(float, in_use), *between}))


def _short(low: float, high: float) -> float:
    """Return the shortest decimal between two numbers that is nearest to their middle."""
    middle = float(low + high) / 2
    rounded = (round(middle, digits) for digits in range(2, 17))
    return next((value for value in rounded if low < value < high), middle)

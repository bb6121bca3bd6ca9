"""What a table can certify at all, and how many rows it takes.

Power is that of the very test that certifies, on tables drawn from the shares at hand: the same
quasi-random points for every number of rows, so that it grows smoothly and is exact to about half
a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import optimize, special, stats

from fairfix.metrics.counts import Counts
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import FEWEST, Cells, array, certified, most
from fairfix.stats.intervals import Array

POWER = 0.8
DRAWS = 2048
NO_GAP = 1e-9
NORMAL = 50.0  # hits: from this standard deviation on a binomial is as good as normal
MOST_TIMES = 1e6
"""A table is thought of as this many times as large at most."""


def certifiable_gap(
    metric: str, counts: Counts, budget: float, *, confidence: ConfidenceLevel = DEFAULT_CONFIDENCE
) -> float | None:
    """The largest gap that, seen on rows like these, would still be certified.

    The groups keep their sizes; their rates move apart or together around the rate of all rows.
    None where not even a gap of 0 would be certified.
    """
    cells = Cells.of(metric, counts)

    def passes(gap: float) -> bool:
        return bool(
            certified(at_gap(cells, gap), budget, confidence.alpha, strict=confidence.exact)
        )

    if not passes(0.0):
        return None
    low, high = 0.0, budget
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def rows_needed(
    metric: str,
    counts: Counts,
    budget: float,
    *,
    true_gap: float | None = None,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    power: float = POWER,
) -> list[int] | None:
    """Rows of each group with which the budget is certified with probability ``power``.

    Args:
        counts: rows, seen or expected: what they say of the rates, of the shares of the groups and
            of the labels is taken for true, and the table grows or shrinks as a whole.
        true_gap: the size of the gap if not the one in ``counts``.

    Returns:
        (G,) rows of the table; None when the gap is not below the budget or undefined, or when a
        million times the rows would not do.
    """
    cells = Cells.of(metric, counts)
    if true_gap is not None:
        cells = at_gap(cells, true_gap)
    times = _times(cells, budget, confidence, power)
    if times is None:
        return None
    rows = np.sum([array(side) for side in counts.sides], axis=0)
    return [math.ceil(times * n - 1e-6) for n in rows]


@dataclass(frozen=True)
class Power:
    """What rows can show of a budget at all.

    Attributes:
        certifiable: the largest gap that they would still certify if it were seen; None when not
            even a gap of 0 would be.
        rows_needed: by group, where not even a gap of 0 would be and a number of rows would do.
    """

    certifiable: float | None
    rows_needed: dict[str, int] | None


def power(
    metric: str,
    counts: Counts,
    names: Sequence[str],
    budget: float,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> Power:
    """Of counts (G,) of the groups ``names``, for a metric and its budget."""
    certifiable = certifiable_gap(metric, counts, budget, confidence=confidence)
    if certifiable is not None:
        return Power(certifiable, None)
    needed = rows_needed(metric, counts, budget, true_gap=0.0, confidence=confidence)
    return Power(None, None if needed is None else dict(zip(names, needed, strict=True)))


def power_at(cells: Cells, times: float, budget: float, confidence: ConfidenceLevel) -> float:
    """The probability that a table ``times`` as large is certified, its shares taken for true."""
    trials = np.maximum(np.rint(cells.trials * times), 1.0)
    points = _points(cells.trials.size).reshape(DRAWS, *cells.trials.shape)
    share = np.clip(cells.hits / cells.trials, 0.0, 1.0)
    hits = _binomial(points, trials, share)
    drawn = replace(cells, hits=hits, trials=np.broadcast_to(trials, hits.shape))
    return float(certified(drawn, budget, confidence.alpha, strict=confidence.exact).mean())


def _binomial(points: Array, trials: Array, share: Array) -> Array:
    """Quantiles of a binomial, (DRAWS, R, G); the normal's where they are as good."""
    spread = np.sqrt(trials * share * (1 - share))
    hits = np.clip(np.rint(trials * share + special.ndtri(points) * spread), 0.0, trials)
    few = spread <= NORMAL
    hits[:, few] = stats.binom.ppf(points[:, few], trials[few], share[few])
    return np.asarray(hits)


def at_gap(cells: Cells, gap: float) -> Cells:
    """The same rows with the shares moved so that the size of the gap is ``gap``.

    Each rate is stretched around that of all groups, of ratios on the logarithmic scale, and kept
    within 0 and 1. Where there is no gap to stretch, the first group moves away from the rest.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = cells.hits / cells.trials
        center = cells.hits.sum(-1, keepdims=True) / cells.trials.sum(-1, keepdims=True)
        if cells.ratio:
            share, center = np.log(share), np.log(center)
    away, size = share - center, float(abs(cells.estimate()).max())
    if not NO_GAP < size < math.inf:
        away, size = np.eye(share.shape[-1])[:1], 1.0
    moved = center + away * (cells.bound(gap) / size)
    if cells.ratio:
        moved = np.exp(moved - np.maximum(moved.max(-1, keepdims=True), 0.0))
    else:
        moved = moved - np.maximum(moved.max(-1, keepdims=True) - 1, 0.0)
        moved = moved - np.minimum(moved.min(-1, keepdims=True), 0.0)
    return replace(cells, hits=moved * cells.trials)


def _times(cells: Cells, budget: float, confidence: ConfidenceLevel, power: float) -> float | None:
    """How many times the table gives the power."""
    size, bound = float(abs(cells.estimate()).max()), cells.bound(budget)
    if not size < bound:
        return None
    fewest = FEWEST / float(cells.trials.min())
    target = float(special.ndtri(power))

    @cache
    def lack(root: float) -> float:
        """In normal quantiles, in which power is nearly a line in the root of the rows."""
        found = power_at(cells, root * root, budget, confidence)
        return target - float(special.ndtri(np.clip(found, 1e-4, 1 - 1e-4)))

    low = math.sqrt(fewest)
    # Limits close in with the root of the rows: where they would reach the bound.
    upper = float(most(cells, confidence.alpha, strict=confidence.exact))
    reached = (upper - size) / (bound - size)
    high = max(low, reached if math.isfinite(reached) else 1.0)
    if lack(low) <= 0:
        return fewest
    while lack(high) > 0:
        low, high = high, high * 1.5
        if high > math.sqrt(MOST_TIMES):
            return None
    return float(optimize.brentq(lack, low, high, rtol=1e-3)) ** 2


@cache
def _points(dimensions: int) -> Array:
    """Evenly spread points of the unit cube, (DRAWS, dimensions), the same every time."""
    points: Array = stats.qmc.Sobol(dimensions, seed=0).random(DRAWS)
    return points

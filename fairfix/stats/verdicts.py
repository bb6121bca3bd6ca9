"""What rows can show of a budget or a floor: certified, violated, inconclusive, or too few rows.

Two one-sided tests, each at alpha = 1 - confidence: certified when the interval lies inside the
budget, violated when it lies outside. A point estimate alone is never a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fairfix.metrics.counts import Counts
from fairfix.metrics.registry import METRICS
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import (
    FEWEST,
    Cells,
    certified,
    limits,
    p_violated,
    violated,
)
from fairfix.stats.intervals import SMALL_COUNT, Interval
from fairfix.stats.performance_intervals import Measured
from fairfix.stats.power import rows_needed


class Verdict(StrEnum):
    """What the rows show of a budget or a floor."""

    CERTIFIED = "certified"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW = "too few rows"


@dataclass(frozen=True)
class Claim:
    """One metric held against one budget.

    Attributes:
        metric: key of ``rates.METRICS``.
        confidence: of each one-sided test.
        value: as reported, NaN undefined; ``interval`` is of it, two-sided at 1 - 2 alpha.
        reason: one clause without a full stop.
        rows_needed: rows of the table by group with which the budget would be certified with
            probability 0.8 if the true gap is what was seen; None when the verdict is certified or
            violated, or no number of rows would do.
        p_violated: p-value of "the gap is within the budget", corrected for the number of pairs of
            groups; small means violated. NaN undefined.
        test: name of the test.
        alongside: the claims of parts that may cancel in the metric.
    """

    metric: str
    title: str
    budget: float
    confidence: ConfidenceLevel
    value: float
    interval: Interval
    verdict: Verdict
    reason: str
    rows_needed: dict[str, int] | None
    p_violated: float
    test: str
    alongside: tuple[Claim, ...] = ()


def claim(
    metric: str,
    counts: Counts,
    names: Sequence[str],
    budget: float,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> Claim:
    """Hold a metric of ``counts``, (G,) with at least two groups, against a budget in (0, 1).

    Args:
        names: of the groups, (G,).
    """
    alpha, strict = confidence.alpha, confidence.exact
    cells = Cells.of(metric, counts)
    gap = METRICS[metric](counts)
    verdict = _verdict(cells, budget, alpha, strict) if not gap.size.isnan() else Verdict.TOO_FEW
    needed = None
    if verdict in (Verdict.INCONCLUSIVE, Verdict.TOO_FEW):
        needed = rows_needed(metric, counts, budget, confidence=confidence)
    low, high = limits(cells, alpha, strict=strict)
    undefined = math.nan if gap.size.isnan() else 0.0
    method = cells.method(strict=strict)
    return Claim(
        metric=metric,
        title=METRICS[metric].title,
        budget=budget,
        confidence=confidence,
        value=float(gap.value),
        interval=Interval(float(low) + undefined, float(high) + undefined, method),
        verdict=verdict,
        reason=_reason(verdict, metric, cells, names, alpha),
        rows_needed=None if needed is None else dict(zip(names, needed, strict=True)),
        p_violated=float(p_violated(cells, budget, strict=strict)) + undefined,
        test=f"two one-sided tests, {method}",
        alongside=tuple(
            claim(part, counts, names, budget, confidence=confidence)
            for part in METRICS[metric].components
        ),
    )


def _verdict(cells: Cells, budget: float, alpha: float, strict: bool) -> Verdict:
    if violated(cells, budget, alpha, strict=strict):
        return Verdict.VIOLATED
    if cells.thin():
        return Verdict.TOO_FEW
    passes = certified(cells, budget, alpha, strict=strict)
    return Verdict.CERTIFIED if passes else Verdict.INCONCLUSIVE


def _reason(verdict: Verdict, metric: str, cells: Cells, names: Sequence[str], alpha: float) -> str:
    if verdict is Verdict.TOO_FEW:
        rate, group = np.unravel_index(int(cells.trials.argmin()), cells.trials.shape)
        rows = cells.trials[rate, group]
        if rows >= FEWEST:
            return "the ratio of no positive decisions to none is undefined"
        what = f"{_rows(rows)} {METRICS[metric].rates[int(rate)].rows}"
        return f"group {names[int(group)]} has {what}, and fewer than {FEWEST} never certify"
    where = {
        Verdict.CERTIFIED: "lies inside the budget",
        Verdict.VIOLATED: "lies outside the budget",
        Verdict.INCONCLUSIVE: "reaches beyond the budget",
    }[verdict]
    few = ""
    if cells.strictly().any():
        few = f"; exact limits, as a rate has under {SMALL_COUNT} hits or misses or {FEWEST} rows"
    return f"the {100 * (1 - 2 * alpha):.4g} % interval {where}{few}"


def _rows(count: float) -> str:
    """A number of rows; an effective one need not be whole."""
    return f"{count:.0f}" if float(count).is_integer() else f"{count:.1f} effective"


@dataclass(frozen=True)
class Floor:
    """One performance, or its change against a baseline, held against a floor.

    Attributes:
        interval: two-sided at 1 - 2 alpha.
        p_violated: p-value of "it is at least the floor"; small means violated, NaN undefined.
    """

    name: str
    floor: float
    confidence: ConfidenceLevel
    value: float
    interval: Interval
    verdict: Verdict
    reason: str
    p_violated: float


def floor_claim(
    name: str, measured: Measured, floor: float, *, confidence: ConfidenceLevel = DEFAULT_CONFIDENCE
) -> Floor:
    """Hold a performance against a floor by its one-sided limits.

    For a largest drop against a baseline: a change (after minus before) against ``-drop``.
    """
    interval = measured.interval(confidence.alpha)
    if math.isnan(interval.low) or math.isnan(interval.high):
        verdict, reason = Verdict.TOO_FEW, "it is undefined on these rows"
    elif interval.low >= floor:
        verdict, reason = Verdict.CERTIFIED, f"the lower limit {interval.low:.3f} holds the floor"
    elif interval.high < floor:
        verdict, reason = (
            Verdict.VIOLATED,
            f"the upper limit {interval.high:.3f} is below the floor",
        )
    else:
        verdict, reason = (
            Verdict.INCONCLUSIVE,
            f"the lower limit {interval.low:.3f} is below the floor",
        )
    return Floor(
        name=name,
        floor=floor,
        confidence=confidence,
        value=measured.value,
        interval=interval,
        verdict=verdict,
        reason=reason,
        p_violated=_p_below(measured, floor),
    )


def _p_below(measured: Measured, floor: float) -> float:
    """The alpha at which the upper limit falls to the floor; 1 where none up to .5 does."""
    if math.isnan(measured.value):
        return math.nan
    low, high = -300.0, math.log(0.5)
    if not measured.interval(0.5).high < floor:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        below = measured.interval(math.exp(middle)).high < floor
        low, high = (low, middle) if below else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses fall, with at most ``alpha`` chance that any true one does (Holm 1979).

    NaN never falls, and counts as a hypothesis.
    """
    fallen = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    for left, index in zip(range(len(p_values), 0, -1), order, strict=True):
        if not p_values[index] <= alpha / left:
            break
        fallen[index] = True
    return fallen


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """The smallest level at which each hypothesis falls by Holm's correction; NaN stays out."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = list(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted


def learn_then_test(p_values: Sequence[float], alpha: float) -> int | None:
    """The last candidate that passes when they are tested in a fixed order until one fails.

    ``p_values`` are of "this candidate is not good enough", in an order chosen without the rows
    that gave them. At most ``alpha`` is then the chance that the one returned is not good enough
    (fixed-sequence testing, Angelopoulos et al. 2021). None where the first fails.
    """
    passed = None
    for index, p in enumerate(p_values):
        if not p <= alpha:
            break
        passed = index
    return passed

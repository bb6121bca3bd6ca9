"""Verdicts on budgets and floors: certified, violated, inconclusive, or too few rows.

Each verdict rests on two one-sided tests at alpha = 1 - confidence (TOST): certified if the
confidence interval is within the budget, violated if it is outside. A point estimate alone never
gives a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import (
    MIN_CLUSTERS,
    MIN_ROWS,
    MetricRates,
    certified,
    metric_limits,
    p_violated,
    violated,
)
from fairfix.stats.intervals import MIN_COUNT, Interval
from fairfix.stats.performance_intervals import PerformanceEstimate
from fairfix.stats.power import rows_needed


class Verdict(StrEnum):
    """Verdict on a budget or a floor."""

    CERTIFIED = "certified"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    TOO_FEW = "too few rows"


@dataclass(frozen=True)
class Claim:
    """The claim that one metric is within its budget, and the verdict on it.

    Attributes:
        metric: key of ``fairfix.metrics.fairness_metrics.METRICS``.
        confidence: of each one-sided test.
        value: as reported, NaN if undefined.
        interval: of the value, two-sided at 1 - 2 alpha.
        reason: one clause without a full stop.
        rows_needed: rows of the table by group with which the budget would be certified with
            probability 0.8 if the true gap equals the observed one; None if the verdict is
            certified or violated, or if no number of rows is enough.
        p_violated: p-value of "the gap is within the budget", corrected for the number of pairs of
            groups; small means violated. NaN if undefined.
        test: name of the test.
        alongside: the claims of component metrics, which may cancel in this one.
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
    """Test a metric against a budget.

    Args:
        metric: key of ``fairfix.metrics.fairness_metrics.METRICS``.
        counts: (G,), at least two groups.
        names: of the groups, (G,).
        budget: largest allowed size of the gap, in (0, 1).
    """
    alpha, exact = confidence.alpha, confidence.exact
    rates = MetricRates.from_counts(metric, counts)
    gap = METRICS[metric](counts)
    verdict = Verdict.TOO_FEW if gap.size.isnan() else _verdict(rates, budget, alpha, exact)
    needed = None
    if verdict in (Verdict.INCONCLUSIVE, Verdict.TOO_FEW):
        needed = rows_needed(metric, counts, budget, confidence=confidence)
    low, high = metric_limits(rates, alpha, exact=exact)
    undefined = math.nan if gap.size.isnan() else 0.0
    method = rates.method(exact=exact)
    return Claim(
        metric=metric,
        title=METRICS[metric].title,
        budget=budget,
        confidence=confidence,
        value=float(gap.value),
        interval=Interval(float(low) + undefined, float(high) + undefined, method),
        verdict=verdict,
        reason=_reason(verdict, metric, rates, names, alpha),
        rows_needed=None if needed is None else dict(zip(names, needed, strict=True)),
        p_violated=float(p_violated(rates, budget, exact=exact)) + undefined,
        test=f"two one-sided tests, {method}",
        alongside=tuple(
            claim(part, counts, names, budget, confidence=confidence)
            for part in METRICS[metric].components
        ),
    )


def _verdict(rates: MetricRates, budget: float, alpha: float, exact: bool) -> Verdict:
    if violated(rates, budget, alpha, exact=exact):
        return Verdict.VIOLATED
    if rates.has_too_few_rows():
        return Verdict.TOO_FEW
    is_certified = certified(rates, budget, alpha, exact=exact)
    return Verdict.CERTIFIED if is_certified else Verdict.INCONCLUSIVE


def _reason(
    verdict: Verdict, metric: str, rates: MetricRates, names: Sequence[str], alpha: float
) -> str:
    if verdict is Verdict.TOO_FEW:
        if np.min(rates.clusters) < MIN_CLUSTERS:
            return _few_clusters(metric, rates, names)
        rate, group = np.unravel_index(int(rates.trials.argmin()), rates.trials.shape)
        rows = rates.trials[rate, group]
        if rows >= MIN_ROWS:
            return "the ratio of no positive decisions to none is undefined"
        what = f"{_row_count(rows)} {METRICS[metric].rates[int(rate)].rows}"
        return f"group {names[int(group)]} has {what}, and at least {MIN_ROWS} are needed"
    position = {
        Verdict.CERTIFIED: "lies inside the budget",
        Verdict.VIOLATED: "lies outside the budget",
        Verdict.INCONCLUSIVE: "reaches beyond the budget",
    }[verdict]
    method = ""
    if rates.binding(alpha).needs_exact().any():
        method = (
            f"; it has exact limits, because a rate has fewer than {MIN_ROWS} rows, or fewer than "
            f"{MIN_COUNT} with or without the outcome"
        )
    return f"the {100 * (1 - 2 * alpha):.4g} % interval {position}{method}"


def _few_clusters(metric: str, rates: MetricRates, names: Sequence[str]) -> str:
    clusters = np.asarray(rates.clusters)
    rate, group = np.unravel_index(int(clusters.argmin()), clusters.shape)
    rows = METRICS[metric].rates[int(rate)].rows
    return (
        f"group {names[int(group)]} has {rows} of {clusters[rate, group]:.0f} clusters, and at "
        f"least {MIN_CLUSTERS} are needed"
    )


def _row_count(rows: float) -> str:
    """Return a number of rows in words; an effective number need not be whole."""
    if math.isnan(rows):  # all weights are 0
        return "no"
    return f"{rows:.0f}" if float(rows).is_integer() else f"{rows:.1f} effective"


@dataclass(frozen=True)
class FloorClaim:
    """The claim that a performance, or its change against a baseline, is at least a floor.

    Attributes:
        interval: two-sided at 1 - 2 alpha.
        p_violated: p-value of "it is at least the floor"; small means violated. NaN if undefined.
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
    name: str,
    estimate: PerformanceEstimate,
    floor: float,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> FloorClaim:
    """Test a performance against a floor by its one-sided limits.

    For a largest allowed drop from a baseline, pass the change (after minus before) and ``-drop``.
    """
    interval = estimate.interval(confidence.alpha)
    low, high = interval.low, interval.high
    if math.isnan(low) or math.isnan(high):
        verdict, reason = Verdict.TOO_FEW, "it is undefined on these rows"
    elif high < floor:
        verdict, reason = Verdict.VIOLATED, f"the upper limit {high:.3f} is below the floor"
    elif estimate.too_few:
        verdict, reason = Verdict.TOO_FEW, estimate.too_few
    elif low >= floor:
        verdict, reason = Verdict.CERTIFIED, f"the lower limit {low:.3f} is not below the floor"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"the lower limit {low:.3f} is below the floor"
    return FloorClaim(
        name=name,
        floor=floor,
        confidence=confidence,
        value=estimate.value,
        interval=interval,
        verdict=verdict,
        reason=reason,
        p_violated=p_below(estimate, floor),
    )


def p_below(estimate: PerformanceEstimate, floor: float) -> float:
    """Return the alpha at which the upper limit equals the floor; 1 if none up to .5 does."""
    if math.isnan(estimate.value):
        return math.nan
    low, high = -300.0, math.log(0.5)
    if not estimate.interval(0.5).high < floor:
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        below = estimate.interval(math.exp(middle)).high < floor
        low, high = (low, middle) if below else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Return which null hypotheses are rejected, with family-wise error at most ``alpha``.

    NaN is never rejected, and counts as a hypothesis.

    Source: Holm 1979.
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    for remaining, index in zip(range(len(p_values), 0, -1), order, strict=True):
        if not p_values[index] <= alpha / remaining:
            break
        rejected[index] = True
    return rejected


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's method; NaN stays NaN and does not count."""
    known = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    adjusted, highest = list(p_values), 0.0
    for rank, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[index] = highest
    return adjusted

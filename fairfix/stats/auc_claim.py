"""Verdict on a budget of the AUC difference between groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from fairfix.metrics.fairness_metrics import AUCD, title
from fairfix.stats.auc_intervals import auc_gap
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import MIN_CLUSTERS, MIN_ROWS
from fairfix.stats.verdicts import Claim, Verdict, p_below


def auc_gap_claim(
    scores: ArrayLike,
    labels: ArrayLike,
    groups: ArrayLike,
    names: Sequence[str],
    budget: float,
    *,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> Claim:
    """Test the AUC difference against a budget by two one-sided tests.

    Args:
        scores, labels, weights, clusters: (N,) each.
        groups: (N,) in 0..G-1, with the G names.
        budget: largest allowed size, in (0, 1).
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    found = auc_gap(scores, labels, groups, len(names), weights, clusters)
    interval = found.interval(confidence.alpha)
    low, high = interval.low, interval.high
    of = f"the {100 * (1 - 2 * confidence.alpha):.4g} % interval"
    too_few = _too_few(labels, groups, names, clusters)
    if math.isnan(low) or math.isnan(high):
        verdict, reason = Verdict.TOO_FEW, too_few or "it is undefined on these rows"
    elif low >= budget or high <= -budget:
        verdict, reason = Verdict.VIOLATED, f"{of} lies outside the budget"
    elif too_few:
        verdict, reason = Verdict.TOO_FEW, too_few
    elif -budget < low and high < budget:
        verdict, reason = Verdict.CERTIFIED, f"{of} lies inside the budget"
    else:
        verdict, reason = Verdict.INCONCLUSIVE, f"{of} reaches beyond the budget"
    return Claim(
        metric=AUCD,
        title=title(AUCD),
        budget=budget,
        confidence=confidence,
        value=found.value,
        interval=interval,
        verdict=verdict,
        reason=reason,
        rows_needed=None,
        p_violated=min(p_below(found, -budget), p_below(found.negated(), -budget)),
        test=f"two one-sided tests, {interval.method}",
    )


def _too_few(
    labels: np.ndarray, groups: np.ndarray, names: Sequence[str], clusters: ArrayLike | None
) -> str:
    """Return why the rows are too few to certify anything; empty if they are enough."""
    for group, name in enumerate(names):
        for label, kind in enumerate(("unfavorable", "favorable")):
            here = (groups == group) & (labels == label)
            if here.sum() < MIN_ROWS:
                rows = f"{here.sum()} rows with {kind} label"
                return f"group {name} has {rows}, and at least {MIN_ROWS} are needed"
            if clusters is not None and len(np.unique(np.asarray(clusters)[here])) < MIN_CLUSTERS:
                return f"group {name} has rows of fewer than {MIN_CLUSTERS} clusters"
    return ""

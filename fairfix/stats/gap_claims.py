"""Verdict and power of a budget on the rows of a problem, for metrics of decisions or of scores."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from scipy import special
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import Metric
from fairfix.stats.auc_claim import auc_gap_claim
from fairfix.stats.auc_intervals import auc_gap
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.intervals import normal_quantile
from fairfix.stats.power import MAX_FACTOR, POWER, PowerAnalysis, power_analysis
from fairfix.stats.verdicts import Claim, claim


def gap_claim(
    metric: Metric,
    problem: Problem,
    decisions: Tensor,
    budget: float,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> Claim:
    """Test a metric against a budget.

    Args:
        problem: the rows, with the scores that were decided.
        decisions: (N,) bool.
    """
    names = problem.group_names
    if metric.of_scores:
        return auc_gap_claim(
            **_row_data(problem), names=names, budget=budget, confidence=confidence
        )
    counts = problem.clustered_counts(decisions)
    return claim(metric.key, counts, names, budget, confidence=confidence)


def gap_power(
    metric: Metric,
    problem: Problem,
    decisions: Tensor,
    budget: float,
    *,
    share: float = 1.0,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> PowerAnalysis:
    """Return what rows like these can certify of a budget.

    Args:
        problem, decisions: as ``gap_claim`` takes them.
        share: of the rows that there will be.
    """
    if metric.of_scores:
        return _auc_power(problem, budget, share, confidence)
    counts = problem.clustered_counts(decisions)
    tp, fp, fn, tn = (side * share for side in counts.sides)
    counts = replace(counts, tp=tp, fp=fp, fn=fn, tn=tn)
    return power_analysis(metric.key, counts, problem.group_names, budget, confidence=confidence)


def _auc_power(
    problem: Problem, budget: float, share: float, confidence: ConfidenceLevel
) -> PowerAnalysis:
    """Return the power for the AUC difference, whose interval is taken as symmetric and normal."""
    found = auc_gap(**_row_data(problem), n_groups=problem.n_groups).interval(confidence.alpha)
    half_width = (found.high - found.low) / 2 / math.sqrt(share)
    if half_width < budget:
        return PowerAnalysis(budget - half_width, None)
    if math.isnan(half_width):
        return PowerAnalysis(None, None)
    # Without a gap, both one-sided tests pass with the power.
    quantile = normal_quantile(confidence.alpha)
    factor = (half_width * (1 + float(special.ndtri((1 + POWER) / 2)) / quantile) / budget) ** 2
    if factor > MAX_FACTOR:
        return PowerAnalysis(None, None)
    rows = [math.ceil(factor * share * n) for n in problem.group_sizes.tolist()]
    return PowerAnalysis(None, dict(zip(problem.group_names, rows, strict=True)))


def _row_data(problem: Problem) -> dict[str, Any]:
    """Return scores, labels, groups, weights and clusters as arrays (N,), by parameter name."""
    columns = {
        name: getattr(problem, name)
        for name in ("scores", "labels", "groups", "weights", "clusters")
    }
    return {
        name: None if values is None else values.cpu().numpy() for name, values in columns.items()
    }

"""Trade-off curve: the chance of meeting the budget on new rows against performance.

A gap within the budget on validation rows need not stay within it on other rows. Of the thresholds
that meet the budget on validation rows, the curve shows those that are Pareto-optimal in the
probability of meeting it again and in performance: a lower risk costs performance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import is_trivial
from fairfix.thresholds.per_group import candidate_counts, searchable
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.score_figures import with_score_figures
from fairfix.thresholds.shared import concatenate, evaluate_all_thresholds

MAX_POINTS = 25


@dataclass(frozen=True)
class TradeoffPoint:
    """One choice of thresholds, measured on the validation rows.

    Attributes:
        probability: that budget and limits are met (``Objective.probability_met``), in [0, 1].
        performance: in the objective's measure, in [0, 1].
        gap: value of the metric.
        trivial: whether (nearly) all rows get the same decision.
        chosen: whether this is the policy itself.
    """

    probability: float
    performance: float
    gap: float
    trivial: bool
    chosen: bool


def tradeoff_curve(
    problem: Problem, policy: Policy, objective: Objective
) -> tuple[TradeoffPoint, ...]:
    """Return the policy among the alternatives of its kind, most probable first.

    The alternatives are at most 24 Pareto-optimal thresholds, shared or per group as the policy's
    are. The policy can lie below the curve if it was chosen by another objective or is randomized.
    It is the only point where thresholds per group cannot be searched, or thresholds do not change
    performance.

    Args:
        problem: the validation rows, with the scores of the debiased network.
        policy: the chosen policy.
        objective: gives metric, budget and performance measure; its margin and kind do not matter.
    """
    own = problem.counts(policy.probability(problem.scores, problem.groups))
    own = with_score_figures(own, problem, problem.scores, objective)
    chosen = _point(own, objective, chosen=True)
    parts = [_undominated(counts, objective) for counts in _met(problem, policy, objective)]
    points = [chosen]
    if parts:
        pooled = replace(concatenate(parts), design_effect=own.design_effect)
        front = _undominated(pooled, objective, besides=chosen)
        at = _thin(objective.probability_met(front), objective.performance(front), MAX_POINTS - 1)
        points += [_point(front.take(i), objective) for i in at]
    return tuple(sorted(points, key=lambda p: (-p.probability, -p.performance)))


def _met(problem: Problem, policy: Policy, objective: Objective) -> Iterator[Counts]:
    """Yield counts (M, G) of thresholds of the policy's kind that meet the budget here."""
    if objective.for_thresholds is not objective:
        return
    if not policy.needs_group:
        counts = evaluate_all_thresholds(problem)[1]
        yield counts.take(objective.met(counts))
    elif searchable(problem, objective):
        probabilistic = replace(objective, kind="constrained", margin=None)
        yield from candidate_counts(problem, probabilistic)


def _undominated(
    counts: Counts, objective: Objective, besides: TradeoffPoint | None = None
) -> Counts:
    """Return the Pareto-optimal ones of counts (M, G), less those ``besides`` equals or beats."""
    probability, performance = objective.probability_met(counts), objective.performance(counts)
    keep = ~performance.isnan()
    if besides is not None:
        keep &= (probability > besides.probability) | (performance > besides.performance)
    at = keep.nonzero().squeeze(1)
    at = at[performance[at].sort(descending=True, stable=True).indices]
    at = at[probability[at].sort(descending=True, stable=True).indices]
    best = performance[at].cummax(0).values
    first = torch.ones_like(best, dtype=torch.bool)
    first[1:] = best[1:] > best[:-1]
    return counts.take(at[first])


def _thin(probability: Tensor, performance: Tensor, limit: int) -> list[int]:
    """Return at most ``limit`` indices in even steps along the curve, both ends included.

    Args:
        probability, performance: (M,) of the points, in the order of the curve.
        limit: at least 2.
    """
    n = len(probability)
    if n <= limit:
        return list(range(n))
    length = torch.hypot(probability.diff(), performance.diff()).cumsum(0)
    steps = torch.linspace(0, 1, limit, dtype=length.dtype, device=length.device) * length[-1]
    inner: list[int] = torch.searchsorted(length, steps[1:-1]).add(1).tolist()
    return sorted({0, *inner, n - 1})


def _point(counts: Counts, objective: Objective, *, chosen: bool = False) -> TradeoffPoint:
    return TradeoffPoint(
        probability=float(objective.probability_met(counts)),
        performance=float(objective.performance(counts)),
        gap=float(objective.metric(counts).value),
        trivial=is_trivial(counts),
        chosen=chosen,
    )

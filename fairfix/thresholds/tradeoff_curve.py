"""What a surer budget costs: the chance that it is met against the best performance.

Fairness that holds on the fitting rows need not hold on others. Of the cuts that meet the budget on
the fitting rows, those are shown that nothing beats both in the chance of meeting it again and in
performance: whoever asks for more of the one (``--risk``) pays with the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import Counts, is_trivial
from fairfix.thresholds.per_group import candidate_counts, searchable
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import evaluate_all_thresholds

MAX_POINTS = 25


@dataclass(frozen=True)
class TradeoffPoint:
    """One choice of cuts, as the fitting rows see it.

    Attributes:
        probability: that the budget is met, as ``Objective.chance`` says.
        performance: in the objective's measure.
        gap: the metric's value.
        trivial: (nearly) all rows are decided alike.
        chosen: it is the policy's.
    """

    probability: float
    performance: float
    gap: float
    trivial: bool
    chosen: bool


def tradeoff_curve(
    problem: Problem, policy: Policy, objective: Objective
) -> tuple[TradeoffPoint, ...]:
    """The policy among the cuts of its kind that it could have been, surest first.

    Of cuts for everybody, or one for each group, at most 25 on the Pareto front of probability and
    performance. The policy is marked; it lies below the front where it was not chosen by this
    objective, or draws lots. It stands alone where cuts by group cannot be searched.

    Args:
        problem: the fitting rows, with the scores of the result.
    """
    own = problem.counts(policy.probability(problem.scores, problem.groups))
    chosen = _point(own, objective, chosen=True)
    rungs = [_undominated(counts, objective) for counts in _met(problem, policy, objective)]
    points = [chosen]
    if rungs:
        tp, fp, fn, tn = (torch.cat(side) for side in zip(*(r.sides for r in rungs), strict=True))
        pooled = Counts(tp, fp, fn, tn, own.design_effect)
        front = _undominated(pooled, objective, besides=chosen)
        at = _spread(objective.chance(front), objective.performance(front), MAX_POINTS - 1)
        points += [_point(front.take(i), objective) for i in at]
    return tuple(sorted(points, key=lambda p: (-p.probability, -p.performance)))


def _met(problem: Problem, policy: Policy, objective: Objective) -> Iterator[Counts]:
    """Counts (M, G) of cuts of the policy's kind that meet the budget here."""
    if not policy.needs_group:
        counts = evaluate_all_thresholds(problem)[1]
        yield counts.take(objective.met(counts))
    elif searchable(problem, objective):
        by_chance = replace(objective, kind="constrained", margin=None)
        yield from candidate_counts(problem, by_chance)


def _undominated(
    counts: Counts, objective: Objective, besides: TradeoffPoint | None = None
) -> Counts:
    """Those of the counts (M, G) that no other, nor a further point, equals or beats in both."""
    probability, performance = objective.chance(counts), objective.performance(counts)
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


def _spread(probability: Tensor, performance: Tensor, most: int) -> list[int]:
    """At most so many points of a front, both ends among them, in even steps along it."""
    n = len(probability)
    if n <= most:
        return list(range(n))
    length = torch.hypot(probability.diff(), performance.diff()).cumsum(0)
    steps = torch.linspace(0, 1, most, dtype=length.dtype, device=length.device) * length[-1]
    found: list[int] = torch.searchsorted(length, steps[1:-1]).add(1).tolist()
    return sorted({0, *found, n - 1})


def _point(counts: Counts, objective: Objective, *, chosen: bool = False) -> TradeoffPoint:
    return TradeoffPoint(
        probability=float(objective.chance(counts)),
        performance=float(objective.performance(counts)),
        gap=float(objective.metric(counts).value),
        trivial=is_trivial(counts),
        chosen=chosen,
    )

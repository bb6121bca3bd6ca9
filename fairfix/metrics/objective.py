"""What a method optimizes: performance against a fairness gap. Higher is better, everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.metrics.counts import Counts
from fairfix.metrics.gaps import Gap
from fairfix.metrics.performance import PERFORMANCES, Performance
from fairfix.metrics.registry import METRICS, Metric

NEGLIGIBLE = 1e-9


def constrained(performance: Tensor, size: Tensor, limit: float) -> Tensor:
    """Performance where size < limit, else minus the size, so that the smallest gap comes first.

    Savani 2020 and Marcinkevics 2022 (eq. 3) with their 0 for infeasible points put in order.
    """
    return torch.where(size < limit, performance, -size)


def trade_off(performance: Tensor, size: Tensor, weight: float) -> Tensor:
    """-(weight * size + (1 - weight) * (1 - performance)) (Savani 2020, eq. 1, as a gain)."""
    return -(weight * size + (1 - weight) * (1 - performance))


def chance_constrained(performance: Tensor, gap: Gap, budget: float, k: float) -> Tensor:
    """Performance times the probability that the true gap fits the budget.

    This is the expected constrained objective, given what these rows say of the gap. Where that
    is nil, minus the size of the gap.
    """
    expected = performance * gap.probability_within(budget, k)
    return torch.where(expected > NEGLIGIBLE, expected, -gap.size)


def at_risk(performance: Tensor, gap: Gap, budget: float, risk: float, k: float) -> Tensor:
    """Performance where the budget is missed with a probability of ``risk`` at most.

    Elsewhere minus the probability of missing it, so that the surest comes first; where that is
    certain, -1 minus the size of the gap.
    """
    within = gap.probability_within(budget, k)
    missed = torch.where(within > NEGLIGIBLE, within - 1, -1 - gap.size)
    return torch.where(within >= 1 - risk, performance, missed)


@dataclass(frozen=True)
class Objective:
    """One objective, ready to rate counts.

    Attributes:
        budget: largest allowed size of the gap, in (0, 1); met means strictly below.
        margin: None chooses by the chance that the budget is met; a number in [0, budget) asks for
            size < budget - margin on these rows instead.
        kind: "constrained" or "tradeoff"; the latter weighs the gap with ``weight`` in [0, 1].
        k: of which gap that chance is, as a factor on the standard error: 1 of the true gap,
            sqrt(1 + n / m) of the gap on m new rows when n were fitted, so sqrt(2) on as many.
        risk: largest allowed chance of missing the budget, in (0, 1); None weighs performance with
            the chance of meeting it.
    """

    metric: Metric = METRICS["spd"]
    budget: float = 0.05
    margin: float | None = None
    performance: Performance = PERFORMANCES["balanced_accuracy"]
    kind: str = "constrained"
    weight: float = 0.75
    k: float = math.sqrt(2)
    risk: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise UsageError(f"A budget lies between 0 and 1, not {self.budget}.")
        if self.margin is not None and not 0 <= self.margin < self.budget:
            raise UsageError(
                f"A margin lies in [0, budget); {self.margin} does not fit a budget of "
                f"{self.budget}."
            )
        if self.kind not in ("constrained", "tradeoff"):
            raise UsageError(f"Objectives are constrained and tradeoff, not {self.kind!r}.")
        if not 0 <= self.weight <= 1:
            raise UsageError(f"lambda lies in [0, 1], not {self.weight}.")
        if not 0 < self.k < math.inf:
            raise UsageError(f"k is a number above 0, not {self.k}.")
        if self.risk is not None:
            self._check_risk(self.risk)

    def _check_risk(self, risk: float) -> None:
        if not 0 < risk < 1:
            raise UsageError(f"A risk lies between 0 and 1, not {risk}.")
        if not self.by_chance:
            raise UsageError(
                "A risk bounds the chance of missing the budget: it goes with margin auto and the "
                "constrained objective alone."
            )

    @property
    def by_chance(self) -> bool:
        """Whether the choice weighs the chance that the budget is met."""
        return self.kind == "constrained" and self.margin is None

    def utility(self, counts: Counts) -> Tensor:
        """(...) how good these counts (..., G) are; undefined is -inf, never good."""
        performance, gap = self.performance(counts), self.metric(counts)
        if self.kind == "tradeoff":
            value = trade_off(performance, gap.size, self.weight)
        elif self.margin is None:
            if self.risk is None:
                value = chance_constrained(performance, gap, self.budget, self.k)
            else:
                value = at_risk(performance, gap, self.budget, self.risk, self.k)
        else:
            value = constrained(performance, gap.size, self.budget - self.margin)
        return value.nan_to_num(-math.inf, neginf=-math.inf)

    def chance(self, counts: Counts) -> Tensor:
        """(...) the probability that the gap fits the budget, by ``k``; undefined is 0."""
        return self.metric(counts).probability_within(self.budget, self.k)

    def met(self, counts: Counts) -> Tensor:
        """(...) whether the gap of these counts lies strictly below the budget; NaN does not."""
        return self.metric(counts).size < self.budget

"""The objective of a method: performance against a fairness gap. Higher utility is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import torch
from torch import Tensor

from fairfix._utils.constraints import Range
from fairfix.errors import UsageError
from fairfix.metrics.contrasts import Gap
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, NO_GAP, Metric
from fairfix.metrics.joint_chance import NEGLIGIBLE, chances, joint_chance
from fairfix.metrics.limits import AucLimit, GapLimit, Limit
from fairfix.metrics.performance import PERFORMANCES, Performance, without_limits

KINDS = "constrained", "tradeoff"
BUDGET_RANGE = Range(0, 1, low_open=True, high_open=True)
LAMBDA_RANGE = Range(0, 1)
K_RANGE = Range(0, low_open=True)
RISK_RANGE = Range(0, 1, low_open=True, high_open=True)

DEFAULT_K = math.sqrt(2)
"""``Objective.k`` of most methods: for the gap on as many new rows as the method is tuned on."""


@dataclass(frozen=True)
class RiskPreset:
    """A named balance of performance and surety.

    Attributes:
        k_factor: factor on ``Objective.factor``.
        above_trivial: share of the performance of the best trivial rule, which decides all rows
            alike, that is subtracted before performance is multiplied by the probability. A larger
            one gives differences of performance more weight, and probability less. Nothing is
            subtracted from precision and recall, for which limits exclude that rule; of the area
            under the ROC curve, that of a rule is 0.5.
    """

    k_factor: float
    above_trivial: float


RISK_PRESETS = {
    "low": RiskPreset(math.sqrt(2), 0.0),
    "medium": RiskPreset(1.0, 0.0),
    "high": RiskPreset(1 / math.sqrt(2), 0.5),
}

RATIO_BUDGET = 0.5
"""Budget of a ratio from which it is taken for the ratio itself, and refused."""


def check_budget_of(metric: Metric, budget: float) -> None:
    """Check that a number can be meant as the budget of a metric.

    Raises:
        UsageError: if it is out of range, or more likely a ratio than its distance from 1.
    """
    BUDGET_RANGE.check("budget", budget)
    if metric.ratio and budget >= RATIO_BUDGET:
        key = metric.key
        raise UsageError(
            f"A budget of {key} is 1 - ratio; for the four-fifths rule write --budget {key}=0.2 or "
            f"--floor {key}=0.8."
        )


def constrained(performance: Tensor, size: Tensor, limit: float) -> Tensor:
    """Return performance where size < limit, elsewhere -size, so that smaller gaps rank higher.

    Source: Savani 2020 and Marcinkevics 2022 (eq. 3), with a ranking of infeasible points instead
    of 0.
    """
    return torch.where(size < limit, performance, -size)


def trade_off(performance: Tensor, size: Tensor, lambda_: float) -> Tensor:
    """Return -(lambda * size + (1 - lambda) * (1 - performance)).

    Source: Savani 2020 (eq. 1), negated.
    """
    return -(lambda_ * size + (1 - lambda_) * (1 - performance))


def chance_constrained(performance: Tensor, gap: Gap, budget: float, k: float) -> Tensor:
    """Return performance times the probability that the true gap is within the budget.

    This is the expectation of the constrained objective. Where the probability is negligible,
    return minus the size of the gap.
    """
    expected = performance * gap.probability_within(budget, k)
    return torch.where(expected > NEGLIGIBLE, expected, -gap.size)


def risk_constrained(performance: Tensor, gap: Gap, budget: float, risk: float, k: float) -> Tensor:
    """Return performance where the probability of exceeding the budget is at most ``risk``.

    Elsewhere return minus that probability, or, where it is practically 1, -1 minus the size of
    the gap.
    """
    within = gap.probability_within(budget, k)
    infeasible = torch.where(within > NEGLIGIBLE, within - 1, -1 - gap.size)
    return torch.where(within >= 1 - risk, performance, infeasible)


@dataclass(frozen=True)
class Objective:
    """What a method optimizes.

    >>> Objective(budget=2)
    Traceback (most recent call last):
        ...
    fairfix.errors.UsageError: budget must be in (0, 1), not 2.

    Attributes:
        metric: fairness metric.
        budget: largest allowed size of the gap, in (0, 1); met means strictly below.
        margin: None for the probability that the budget is met; a number in [0, budget) for
            size < budget - margin on the given rows instead.
        performance: performance measure.
        kind: "constrained" or "tradeoff".
        lambda_: weight of the gap in a trade-off, in [0, 1].
        k: factor on the standard error in that probability, > 0: 1 for the true gap,
            sqrt(1 + n / m) for the gap on m new rows after tuning on n, so sqrt(2) for as many.
            None is the method's own, or ``DEFAULT_K``.
        risk: largest allowed probability of exceeding the budget, in (0, 1); None to multiply
            performance by the probability of meeting it; or a preset of that product by its name in
            ``RISK_PRESETS``. None is the same as "medium".
        limits: further limits that must hold. Performance is then multiplied by the probability
            that the budget and all limits hold (``metrics.joint_chance``), or it counts only where
            all hold on the given rows; elsewhere the point whose largest excess over a limit is
            smallest ranks highest.

    Raises:
        UsageError: if a value is out of range, or if ``risk`` has no effect.
    """

    metric: Metric = METRICS["spd"]
    budget: Annotated[float, BUDGET_RANGE] = 0.05
    margin: float | None = None
    performance: Performance = PERFORMANCES["balanced_accuracy"]
    kind: str = "constrained"
    lambda_: Annotated[float, LAMBDA_RANGE] = 0.75
    k: Annotated[float | None, K_RANGE] = None
    risk: Annotated[float | str | None, RISK_RANGE] = None
    limits: tuple[Limit, ...] = ()

    def __post_init__(self) -> None:
        check_budget_of(self.metric, self.budget)
        if self.margin is not None and not 0 <= self.margin < self.budget:
            raise UsageError(
                f"margin must be at least 0 and below the budget of {self.budget}, "
                f"not {self.margin}."
            )
        if self.kind not in KINDS:
            raise UsageError(f"objective must be {' or '.join(KINDS)}, not {self.kind!r}.")
        LAMBDA_RANGE.check("lambda", self.lambda_)
        if self.k is not None:
            K_RANGE.check("k", self.k)
        if self.risk is not None:
            if not isinstance(self.risk, str):
                RISK_RANGE.check("risk", self.risk)
            elif self.risk not in RISK_PRESETS:
                raise UsageError(
                    f"risk must be {', '.join(RISK_PRESETS)} or a number in (0, 1), "
                    f"not {self.risk!r}."
                )
            if not self.uses_probability:
                raise UsageError(
                    "risk limits the probability of exceeding the budget; use it with margin auto "
                    "and the constrained objective."
                )

    def with_default_k(self, k: float) -> Objective:
        """Return the objective with a method's own ``k`` if it has none."""
        return replace(self, k=k) if self.k is None else self

    @property
    def factor(self) -> float:
        """``k``, or its default."""
        return DEFAULT_K if self.k is None else self.k

    @property
    def largest_risk(self) -> float | None:
        """The largest allowed probability of exceeding the budget; None without."""
        return None if self.risk is None or isinstance(self.risk, str) else float(self.risk)

    @property
    def standard_errors(self) -> float:
        """``factor`` times that of a preset: what standard errors are multiplied by."""
        return self.factor * self._preset.k_factor

    @property
    def _preset(self) -> RiskPreset:
        return RISK_PRESETS[self.risk if isinstance(self.risk, str) else "medium"]

    @property
    def uses_probability(self) -> bool:
        """Whether utility depends on the probability that the budget is met."""
        return self.kind == "constrained" and self.margin is None

    @property
    def goals(self) -> tuple[Limit, ...]:
        """The budget as a limit, then the further limits."""
        return GapLimit(self.metric, self.budget), *self.limits

    @property
    def needs_auc(self) -> bool:
        """Whether performance or a limit is the area under the ROC curve."""
        return self.performance.of_scores or any(isinstance(each, AucLimit) for each in self.limits)

    @property
    def needs_areas(self) -> bool:
        """Whether the metric compares the areas under the ROC curve of the groups."""
        return self.metric.of_scores

    @property
    def for_thresholds(self) -> Objective:
        """The objective that chooses the threshold of one network.

        No threshold changes the area under the ROC curve, so balanced accuracy takes its place; nor
        a gap of scores, which is left out.
        """
        if not (self.metric.of_scores or self.performance.of_scores):
            return self
        metric, measure = self.metric, self.performance
        return replace(
            self,
            metric=NO_GAP if metric.of_scores else metric,
            performance=without_limits(measure) if measure.of_scores else measure,
        )

    def utility(self, counts: Counts, needed: float = -math.inf, gap: Gap | None = None) -> Tensor:
        """Return the utility, (...), of counts (..., G); -inf if undefined.

        Args:
            needed: utility of interest; a smaller one may be returned as any smaller value.
            gap: the gap if it is measured on other rows as well; not with limits.
        """
        if self.limits:
            return self._utility_within_limits(counts, needed)
        performance, gap = self.performance(counts), self.metric(counts) if gap is None else gap
        if self.kind == "tradeoff":
            value = trade_off(performance, gap.size, self.lambda_)
        elif self.margin is not None:
            value = constrained(performance, gap.size, self.budget - self.margin)
        elif self.largest_risk is not None:
            value = risk_constrained(performance, gap, self.budget, self.largest_risk, self.factor)
        else:
            performance = self._above_trivial(performance, counts)
            value = chance_constrained(performance, gap, self.budget, self.standard_errors)
        return value.nan_to_num(-math.inf, neginf=-math.inf)

    def _utility_within_limits(self, counts: Counts, needed: float) -> Tensor:
        performance = self.performance(counts)
        if self.kind == "tradeoff":
            value = trade_off(performance, self.metric(counts).size, self.lambda_)
            held, excess = _all_held(self.limits, counts)
            value = torch.where(held, value, -1 - excess)
        elif self.margin is not None:
            budget = GapLimit(self.metric, self.budget - self.margin)
            held, excess = _all_held((budget, *self.limits), counts)
            value = torch.where(held, performance, -excess)
        else:
            risk = self.largest_risk
            if risk is None:
                performance = self._above_trivial(performance, counts)
            chance = needed / performance if risk is None else 0.0
            within = joint_chance(self.goals, counts, self.standard_errors, chance)
            _, excess = _all_held(self.goals, counts)
            if risk is None:
                expected = performance * within
                value = torch.where(expected > NEGLIGIBLE, expected, -excess)
            else:
                infeasible = torch.where(within > NEGLIGIBLE, within - 1, -1 - excess)
                value = torch.where(within >= 1 - risk, performance, infeasible)
        return value.nan_to_num(-math.inf, neginf=-math.inf)

    def _above_trivial(self, performance: Tensor, counts: Counts) -> Tensor:
        """Return performance less the preset's share of that of the best trivial rule."""
        share = self._preset.above_trivial
        if share and self.performance.of_scores:
            return performance - share / 2
        if not share or self.performance.counterpart:
            return performance
        counts = counts.everyone()
        favorable, unfavorable = counts.tp + counts.fn, counts.fp + counts.tn
        none = torch.zeros_like(favorable)
        trivial = torch.fmax(
            self.performance(Counts(favorable, unfavorable, none, none, counts.design_effect)),
            self.performance(Counts(none, none, favorable, unfavorable, counts.design_effect)),
        )
        return performance - share * trivial

    def probability_met(self, counts: Counts) -> Tensor:
        """Return the probability, (...), that the budget and all limits hold; 0 if undefined.

        The standard error is multiplied by ``standard_errors``.
        """
        if self.limits:
            return joint_chance(self.goals, counts, self.standard_errors)
        return self.metric(counts).probability_within(self.budget, self.standard_errors)

    def chances(self, counts: Counts) -> Tensor:
        """Return the probability of each of ``goals``, (R, ...); 0 if undefined."""
        return chances(self.goals, counts, self.standard_errors)

    def met(self, counts: Counts) -> Tensor:
        """Return whether budget and limits hold on these rows, (...); False if undefined."""
        met = self.metric(counts).size < self.budget
        for limit in self.limits:
            met = met & limit.held(counts)
        return met


def _all_held(limits: Sequence[Limit], counts: Counts) -> tuple[Tensor, Tensor]:
    """Return whether all limits hold, and the largest excess, at least 0, NaN if undefined."""
    held = torch.stack([limit.held(counts) for limit in limits]).all(0)
    excess = torch.stack([limit.excess(counts) for limit in limits])
    return held, excess.amax(0).clamp(min=0)

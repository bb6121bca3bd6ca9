"""Limits besides the budget: further gaps, floors and ceilings of rates and performance.

Each limit keeps one or several figures within a range. A figure has a sampling variance, so that a
limit holds on new rows with a probability.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.performance import Performance
from fairfix.metrics.rates import Rate, selection_rate

TODAY = "decision in use today"
"""Name of the further column that a change of the selection rate needs: 0 or 1 by row."""


@dataclass(frozen=True)
class Figures:
    """Figures that a limit keeps within a range.

    Attributes:
        value, variance: (..., P); NaN if undefined.
        low, high: the range, which may be infinite.
    """

    value: Tensor
    variance: Tensor
    low: float
    high: float


class Limit(ABC):
    """A limit on decisions; ``str`` gives it as a formula, without the column."""

    column: str | None = None
    """Name of the further group column; None for the first one, or for all rows together."""

    @property
    def name(self) -> str:
        """The formula with the further group column."""
        return str(self) if self.column in (None, TODAY) else f"{self} by {self.column}"

    @abstractmethod
    def figures(self, counts: Counts) -> Figures:
        """Return the figures (..., P) of counts (..., G)."""

    @abstractmethod
    def value(self, counts: Counts) -> Tensor:
        """Return the value as reported, (...)."""

    @abstractmethod
    def excess(self, counts: Counts) -> Tensor:
        """Return how far the value is outside of the range, (...), negative inside; or NaN."""

    def held(self, counts: Counts) -> Tensor:
        """Return whether the limit holds on these rows, (...); False if undefined."""
        return self.excess(counts) <= 0


@dataclass(frozen=True)
class GapLimit(Limit):
    """A largest size of a gap, strictly above it."""

    metric: Metric
    budget: float
    column: str | None = None

    def __str__(self) -> str:
        return f"gap of {self.metric.key} < {self.budget:g}"

    def figures(self, counts: Counts) -> Figures:
        gap = self.metric(counts.by(self.column))
        value, variance = (
            torch.cat(parts, -1)
            for parts in zip(*((p.value, p.variance) for p in gap.parts), strict=True)
        )
        bound = gap.bound(self.budget)
        return Figures(value, variance, -bound, bound)

    def value(self, counts: Counts) -> Tensor:
        return self.metric(counts.by(self.column)).value

    def excess(self, counts: Counts) -> Tensor:
        return self.metric(counts.by(self.column)).size - self.budget

    def held(self, counts: Counts) -> Tensor:
        return self.excess(counts) < 0


@dataclass(frozen=True)
class RangeLimit(Limit):
    """A lowest and a highest value of a rate or a performance measure over all rows."""

    figure: Rate | Performance
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def __str__(self) -> str:
        return _range_text(self.figure.key, self.low, self.high)

    def figures(self, counts: Counts) -> Figures:
        total = counts.total()
        if isinstance(self.figure, Rate):
            share = self.figure(total)
            return Figures(share.value, share.variance, self.low, self.high)
        value = self.figure(counts).unsqueeze(-1)
        return Figures(value, self.figure.variance(total), self.low, self.high)

    def value(self, counts: Counts) -> Tensor:
        return self.figures(counts).value.squeeze(-1)

    def excess(self, counts: Counts) -> Tensor:
        return _outside(self.value(counts), self.low, self.high)


@dataclass(frozen=True)
class SmallestRateLimit(Limit):
    """A lowest value of a rate in every group of a column."""

    rate: Rate
    low: float
    column: str | None = None

    def __str__(self) -> str:
        return f"smallest {self.rate.key.replace('_', ' ')} of a group >= {self.low:g}"

    def figures(self, counts: Counts) -> Figures:
        share = self.rate(counts.by(self.column))
        return Figures(share.value, share.variance, self.low, math.inf)

    def value(self, counts: Counts) -> Tensor:
        return self.figures(counts).value.amin(-1)

    def excess(self, counts: Counts) -> Tensor:
        return self.low - self.value(counts)


@dataclass(frozen=True)
class SelectionChangeLimit(Limit):
    """A largest relative change of the selection rate against the decisions in use today."""

    change: float
    column: str | None = TODAY

    def __str__(self) -> str:
        return f"relative change of selection rate <= {self.change:g}"

    def figures(self, counts: Counts) -> Figures:
        """Return (selected - selected today) / selected today; its variance is that of a ratio.

        One row is added to each change of decision, so that the variance is never 0.
        """
        by = counts.by(self.column)
        selected = by.tp + by.fp
        today = (by.tp + by.fp + by.fn + by.tn)[..., 1:]
        raised, kept = selected[..., :1], selected[..., 1:]
        ratio = (raised + kept) / today
        squares = (raised + 1) + kept * (1 - ratio) ** 2 + (today - kept + 1) * ratio**2
        variance = selection_rate(by.total()).design_effect * squares / today**2
        return Figures(ratio - 1, variance, -self.change, self.change)

    def value(self, counts: Counts) -> Tensor:
        return self.figures(counts).value.squeeze(-1)

    def excess(self, counts: Counts) -> Tensor:
        return self.value(counts).abs() - self.change


@dataclass(frozen=True)
class AucLimit(Limit):
    """A lowest and a highest area under the ROC curve.

    No threshold changes it, so that it only chooses between networks. Counts without ``auc`` belong
    to one network and meet it.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        _check_range(self.low, self.high)

    def __str__(self) -> str:
        return _range_text("auc", self.low, self.high)

    def figures(self, counts: Counts) -> Figures:
        """Return the area with the variance of Hanley and McNeil 1982."""
        total = counts.total()
        if counts.auc is None:
            inside = self.low if math.isfinite(self.low) else self.high
            value = torch.full_like(total.tp, inside)
            return Figures(value, torch.zeros_like(value), -math.inf, math.inf)
        area = counts.auc.unsqueeze(-1).expand_as(total.tp)
        favorable, unfavorable = total.tp + total.fn, total.fp + total.tn
        smooth = (area * favorable * unfavorable + 1) / (favorable * unfavorable + 2)
        one, other = smooth / (2 - smooth), 2 * smooth**2 / (1 + smooth)
        spread = (
            smooth * (1 - smooth)
            + (favorable - 1) * (one - smooth**2)
            + (unfavorable - 1) * (other - smooth**2)
        )
        variance = selection_rate(total).design_effect * spread / (favorable * unfavorable)
        return Figures(area, variance, self.low, self.high)

    def value(self, counts: Counts) -> Tensor:
        if counts.auc is None:
            return torch.full_like(counts.tp[..., 0], math.nan)
        return self.figures(counts).value.squeeze(-1)

    def excess(self, counts: Counts) -> Tensor:
        if counts.auc is None:
            return torch.full_like(counts.tp[..., 0], -math.inf)
        return _outside(self.value(counts), self.low, self.high)


def _check_range(low: float, high: float) -> None:
    if not low <= high:
        raise UsageError(f"The floor {low:g} is above the ceiling {high:g}; lower the floor.")


def _outside(value: Tensor, low: float, high: float) -> Tensor:
    return torch.maximum(low - value, value - high)


def _range_text(name: str, low: float, high: float) -> str:
    name = name.replace("_", " ")
    texts = [f"{name} >= {low:g}"] if math.isfinite(low) else []
    texts += [f"{name} <= {high:g}"] if math.isfinite(high) else []
    return " and ".join(texts)

"""Figures of a report: estimates with confidence intervals, and absolute gaps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairfix._utils.text import format_number
from fairfix.metrics.fairness_metrics import METRICS


@dataclass(frozen=True)
class Figure:
    """An estimate with its confidence interval.

    Attributes:
        value: the estimate; None if undefined.
        low, high: limits of the confidence interval; None if it has none.
        n: the number of rows in the denominator of a rate.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: float | None = None

    @classmethod
    def of(cls, raw: Any) -> Figure:
        """Return a figure of a document: a number, None, or a mapping with value, low, high, n."""
        if isinstance(raw, Mapping):
            return cls(*(_finite(raw.get(key)) for key in ("value", "low", "high", "n")))
        return cls(_finite(raw))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both limits of the interval, or None if one is missing."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def text(self) -> str:
        """The value with three decimals, or "undefined"."""
        return format_number(self.value)

    @property
    def interval(self) -> str:
        """The interval as "0.101 to 0.146", or an empty string."""
        if self.value is None or self.bounds is None:
            return ""
        return f"{format_number(self.low)} to {format_number(self.high)}"

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


def _finite(raw: Any) -> float | None:
    return None if raw is None or not math.isfinite(raw) else float(raw)


def budget_band(metric: str, budget: float) -> tuple[float, float]:
    """Return the lowest and the highest value of a metric that is within its budget."""
    return METRICS[metric].band(budget) if metric in METRICS else (-budget, budget)


def is_ratio(metric: str) -> bool:
    """Return whether the value of a metric is a ratio of rates."""
    return metric in METRICS and METRICS[metric].ratio


def neutral(metric: str) -> float:
    """Return the value of a metric without a gap: 0, or 1 for ratios."""
    return METRICS[metric].neutral if metric in METRICS else 0.0


def absolute_gap(metric: str, figure: Figure) -> Figure:
    """Return the absolute gap, which a budget limits, with its confidence interval."""
    value, bounds = _absolute(metric, figure.value), figure.bounds
    if bounds is None:
        return Figure(value)
    low, high = sorted(_absolute(metric, bound) or 0.0 for bound in bounds)
    return Figure(value, 0.0 if bounds[0] <= neutral(metric) <= bounds[1] else low, high)


def named_figures(metric: str, raw: Any) -> dict[str, Figure]:
    """Return the figures of a gap by name: a ratio also has its gap, which the budget limits."""
    figure = Figure.of(raw)
    if not is_ratio(metric):
        return {metric: figure}
    return {f"gap of {metric}": absolute_gap(metric, figure), f"ratio {metric}": figure}


def _absolute(metric: str, value: float | None) -> float | None:
    if value is None or metric not in METRICS:
        return None if value is None else abs(value)
    return METRICS[metric].size(value)


def thin(length: int, limit: int, keep: Iterable[int] = ()) -> list[int]:
    """Return about ``limit`` evenly spaced indices below ``length``, and those in ``keep``."""
    stride = max(1, math.ceil(length / limit))
    ends = {0, length - 1} if length else set()
    return sorted({*range(0, length, stride), *ends, *(i for i in keep if 0 <= i < length)})

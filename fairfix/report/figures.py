"""Figures of a report: a value with its interval, and the size of a gap within its budget."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fairfix._utils.text import format_number
from fairfix.metrics.registry import METRICS


@dataclass(frozen=True)
class Figure:
    """A measured figure; None = undefined, an interval of None = none was reported."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: float | None = None

    @classmethod
    def of(cls, raw: Any) -> Figure:
        """From a report: a number or null, or an object with value and perhaps low, high, n."""
        if isinstance(raw, Mapping):
            return cls(*(_finite(raw.get(key)) for key in ("value", "low", "high", "n")))
        return cls(_finite(raw))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Both ends of the interval, where there are two."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def text(self) -> str:
        return format_number(self.value)

    @property
    def interval(self) -> str:
        """``0.101 to 0.146``, or nothing."""
        if self.value is None or self.bounds is None:
            return ""
        return f"{format_number(self.low)} to {format_number(self.high)}"

    def __str__(self) -> str:
        return f"{self.text} ({self.interval})" if self.interval else self.text


def _finite(raw: Any) -> float | None:
    return None if raw is None or not math.isfinite(raw) else float(raw)


def budget_band(metric: str, budget: float) -> tuple[float, float]:
    """The values of a metric that lie within its budget."""
    return METRICS[metric].band(budget) if metric in METRICS else (-budget, budget)


def is_ratio(metric: str) -> bool:
    """Whether the value of a metric is a ratio of rates."""
    return metric in METRICS and METRICS[metric].ratio


def neutral(metric: str) -> float:
    """The value of a metric where there is no gap."""
    return METRICS[metric].neutral if metric in METRICS else 0.0


def size(metric: str, figure: Figure) -> Figure:
    """What a budget limits: the gap without its sign, and the interval of that."""
    value, ends = _size(metric, figure.value), figure.bounds
    if ends is None:
        return Figure(value)
    low, high = sorted((_size(metric, ends[0]) or 0.0, _size(metric, ends[1]) or 0.0))
    return Figure(value, 0.0 if ends[0] <= neutral(metric) <= ends[1] else low, high)


def _size(metric: str, value: float | None) -> float | None:
    if value is None or metric not in METRICS:
        return None if value is None else abs(value)
    return METRICS[metric].size(value)


def thin(length: int, limit: int, keep: Iterable[int] = ()) -> list[int]:
    """At most about ``limit`` positions out of ``length``, evenly spread, and those to keep."""
    stride = max(1, math.ceil(length / limit))
    ends = {0, length - 1} if length else set()
    return sorted({*range(0, length, stride), *ends, *(i for i in keep if 0 <= i < length)})

"""Limits of an objective as plain data, for the rows of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from fairfix.metrics.fairness_metrics import METRICS, rates
from fairfix.metrics.limits import (
    AucLimit,
    GapLimit,
    Limit,
    RangeLimit,
    SelectionChangeLimit,
    SmallestRateLimit,
)
from fairfix.metrics.performance import PERFORMANCES

AUC = "auc"


def limits_to_json(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Return limits as plain data."""
    return [_to_json(limit) for limit in limits]


def limits_from_json(data: Iterable[Mapping[str, Any]]) -> tuple[Limit, ...]:
    """Return the limits of ``limits_to_json``."""
    return tuple(_from_json(each) for each in data)


def _to_json(limit: Limit) -> dict[str, Any]:
    match limit:
        case GapLimit(metric, budget, column):
            return {"kind": "gap", "key": metric.key, "limit": budget, "column": column}
        case SmallestRateLimit(rate, low, column):
            return {"kind": "smallest", "key": rate.key, "limit": low, "column": column}
        case SelectionChangeLimit(change):
            return {"kind": "change", "limit": change}
        case AucLimit(low, high):
            return {"kind": "range", "key": AUC} | _ends(low, high)
        case RangeLimit(figure, low, high):
            return {"kind": "range", "key": figure.key} | _ends(low, high)
    raise TypeError(f"unknown limit {limit!r}")


def _ends(low: float, high: float) -> dict[str, float | None]:
    return {
        "low": low if math.isfinite(low) else None,
        "high": high if math.isfinite(high) else None,
    }


def _from_json(data: Mapping[str, Any]) -> Limit:
    match data["kind"]:
        case "gap":
            return GapLimit(METRICS[data["key"]], data["limit"], data["column"])
        case "smallest":
            return SmallestRateLimit(rates()[data["key"]], data["limit"], data["column"])
        case "change":
            return SelectionChangeLimit(data["limit"])
    low = -math.inf if data["low"] is None else data["low"]
    high = math.inf if data["high"] is None else data["high"]
    if data["key"] == AUC:
        return AucLimit(low, high)
    return RangeLimit(PERFORMANCES.get(data["key"]) or rates()[data["key"]], low, high)

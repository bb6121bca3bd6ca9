"""Figures of decisions, with their intervals, as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fairfix.stats.evaluation import Evaluation, GroupEvaluation
from fairfix.stats.intervals import Interval
from fairfix.workflows.evidence import Intervals


def measured_document(e: Evaluation, intervals: Intervals) -> dict[str, Any]:
    """Return the figures of decisions on rows, with their intervals."""
    return {
        "rows": e.rows,
        "trivial": e.trivial,
        "gaps": {
            key: figure_document(value, intervals.gaps.get(key)) for key, value in e.gaps.items()
        },
        "performance": {
            key: figure_document(value, intervals.performance.get(key))
            for key, value in e.performance.items()
        },
        "groups": [group_document(g, intervals.groups.get(g.name, {})) for g in e.groups],
        "to_reference": intervals.to_reference and intervals.to_reference.to_json(),
    }


def figure_document(value: float, interval: Interval | None) -> dict[str, Any]:
    """Return a value and the ends of its interval, NaN without one."""
    low, high = (math.nan, math.nan) if interval is None else (interval.low, interval.high)
    return {"value": value, "low": low, "high": high}


def group_document(g: GroupEvaluation, intervals: Mapping[str, Interval]) -> dict[str, Any]:
    """Return the counts and rates of a group, with their intervals."""
    return {
        "name": g.name,
        "rows": g.rows,
        "threshold": g.threshold,
        "tp": g.tp,
        "fp": g.fp,
        "fn": g.fn,
        "tn": g.tn,
        "auc": figure_document(g.auc, intervals.get("auc")),
        "rates": {
            name: {**figure_document(share.value, intervals.get(name)), "n": share.n}
            for name, share in g.rates.items()
        },
    }

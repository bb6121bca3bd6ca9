"""The JSON document of one check, in a gate and in a report; undefined figures are null."""

from __future__ import annotations

import math
from typing import Any

from fairfix.report.figures import Figure, absolute_gap, is_ratio
from fairfix.workflows.gate.checks import Check


def check_document(check: Check, standing: str) -> dict[str, Any]:
    """Return the document of one check.

    Args:
        standing: how it affects the exit code; see ``Gate.standing``.
    """
    figure = {
        "value": _finite(check.value),
        "low": _finite(check.interval.low),
        "high": _finite(check.interval.high),
    }
    return {
        "demand": check.asked,
        "kind": check.kind,
        "key": check.key,
        "title": check.title,
        "column": check.column,
        "limit": check.limit,
        "severity": str(check.severity),
        **figure,
        "gap": _gap(absolute_gap(check.key, Figure.of(figure))) if is_ratio(check.key) else None,
        "interval": check.interval.method,
        "sign": check.sign,
        "verdict": str(check.verdict),
        "standing": standing,
        "reason": check.reason,
        "rows_needed": check.rows_needed,
        "test": check.test,
        "alongside": [
            {
                "title": other.title,
                "value": _finite(other.value),
                "low": _finite(other.interval.low),
                "high": _finite(other.interval.high),
                "verdict": str(other.verdict),
            }
            for other in check.alongside
        ],
    }


def _gap(gap: Figure) -> dict[str, float | None]:
    return {"value": gap.value, "low": gap.low, "high": gap.high}


def _finite(value: float) -> float | None:
    """Return the value, or None if it is NaN or infinite."""
    return value if math.isfinite(value) else None

"""The JSON document of a gate, as plain data; undefined figures are null."""

from __future__ import annotations

import math
from typing import Any

from fairfix._utils.version import __version__
from fairfix.report.gate_sentences import EXIT_CODE_NAMES
from fairfix.workflows.gate.checks import BudgetPower, Check
from fairfix.workflows.gate.gate import Gate

VERSION = 1


def gate_document(gate: Gate) -> dict[str, Any]:
    """Return the document of ``fairfix gate --json``; ``gate.schema.json`` describes it."""
    return {
        "schema_version": VERSION,
        "made_by": {"fairfix": __version__},
        "model": gate.model,
        "table": gate.table,
        "table_sha256": gate.table_sha256,
        "rows": gate.rows,
        "rule": gate.rule.to_json(),
        "rule_found": gate.rule_found,
        "confidence": gate.confidence.level,
        "strict": gate.confidence.exact,
        "ending": EXIT_CODE_NAMES[gate.exit_code],
        "exit_code": gate.exit_code,
        "headline": gate.headline,
        "trivial": gate.trivial,
        "power": [_power(power) for power in gate.power],
        "checks": [_check(gate, check) for check in gate.checks],
        "warnings": list(gate.warnings),
        "notes": list(gate.notes),
    }


def _power(power: BudgetPower) -> dict[str, Any]:
    return {
        "metric": power.metric,
        "column": power.column,
        "budget": power.limit,
        "rows": power.rows,
        "certifiable_gap": power.certifiable_gap,
        "rows_needed": power.rows_needed,
    }


def _check(gate: Gate, check: Check) -> dict[str, Any]:
    return {
        "demand": check.asked,
        "kind": check.kind,
        "key": check.key,
        "title": check.title,
        "column": check.column,
        "limit": check.limit,
        "severity": str(check.severity),
        "value": _finite(check.value),
        "low": _finite(check.interval.low),
        "high": _finite(check.interval.high),
        "interval": check.interval.method,
        "sign": check.sign,
        "verdict": str(check.verdict),
        "standing": gate.standing(check),
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


def _finite(value: float) -> float | None:
    """Return the value, or None if it is NaN or infinite."""
    return value if math.isfinite(value) else None

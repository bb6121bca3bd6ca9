"""The JSON document of a gate, as plain data; undefined figures are null."""

from __future__ import annotations

from typing import Any

from fairfix._utils.version import __version__
from fairfix.report.gate_sentences import EXIT_CODE_NAMES
from fairfix.workflows.gate.check_document import check_document
from fairfix.workflows.gate.checks import BudgetPower
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
        "checks": [check_document(check, gate.standing(check)) for check in gate.checks],
        "warnings": list(gate.warnings),
        "serious_warnings": list(gate.serious_warnings),
        "unchecked": list(gate.unchecked),
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

"""The report as plain data: what was done to what, and how it was judged.

``schema.json`` beside this file describes it. Undefined figures are null. It holds nothing that
differs between two runs on the same input, so that equal runs give equal bytes.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from typing import Any

import torch

from fairfix.audit import GroupAudit
from fairfix.case import Case
from fairfix.checkpoint import weights_sha256
from fairfix.debias import Comparison, Outcome
from fairfix.evaluate import Evaluation, GroupEvaluation
from fairfix.result import Step
from fairfix.rule import DecisionRule
from fairfix.version import __version__

SCHEMA_VERSION = 1


def document(outcome: Outcome, command: str | None = None) -> dict[str, Any]:
    """The report of an outcome; ``command`` is the command line that made it."""
    case, objective = outcome.case, outcome.objective
    return _document(
        {
            "schema_version": SCHEMA_VERSION,
            "made_by": {
                "fairfix": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "command": command,
                "seed": outcome.seed,
            },
            "model": _model(outcome),
            "data": {
                "table": case.table.path.name,
                "table_sha256": case.table.sha256,
                "test_table": outcome.judged_case and outcome.judged_case.table.path.name,
                "test_table_sha256": outcome.judged_case and outcome.judged_case.table.sha256,
                "holdout": outcome.holdout_share,
                "label": case.columns.label,
                "favorable": case.table.favorable,
                "group": case.columns.groups[0],
                "groups": list(case.problem.group_names),
                "privileged": case.problem.group_names[1] if case.problem.n_groups == 2 else None,
                "weight": case.columns.weight,
                "fitting_rows": outcome.fitting.debiased.rows,
                "judged_rows": outcome.judged.debiased.rows,
            },
            "objective": {
                "metric": objective.metric.key,
                "metric_title": objective.metric.title,
                "budget": objective.budget,
                "margin": "auto" if objective.margin is None else objective.margin,
                "performance": objective.performance.key,
                "kind": objective.kind,
                "lambda": objective.weight if objective.kind == "tradeoff" else None,
                "standard_errors": objective.k if objective.margin is None else None,
            },
            "method": {
                "name": outcome.method,
                "options": dict(outcome.options),
                "needs_group": outcome.rule.needs_group,
                "changes_weights": outcome.state is not None,
                "chosen_step": outcome.result.chosen,
                "trajectory": [_step(step) for step in outcome.result.trajectory],
            },
            "rule": outcome.rule.to_json(),
            "results": {
                "judged": _comparison(outcome.judged),
                "fitting": _comparison(outcome.fitting),
            },
            "warnings": list(outcome.warnings),
            "notes": [*case.notes, *outcome.result.notes],
        }
    )


def audit_document(case: Case, rule: DecisionRule, audits: Sequence[GroupAudit]) -> dict[str, Any]:
    """What an audit found, as plain data."""
    return _document(
        {
            "schema_version": SCHEMA_VERSION,
            "made_by": {"fairfix": __version__, "torch": torch.__version__},
            "table": case.table.path.name,
            "table_sha256": case.table.sha256,
            "rows": case.table.rows,
            "rule": rule.to_json(),
            "groups": {each.column: _measured(each.evaluation) for each in audits},
            "notes": list(case.notes),
        }
    )


def _model(outcome: Outcome) -> dict[str, Any] | None:
    checkpoint = outcome.case.checkpoint
    if checkpoint is None:
        return None
    return {
        "file": checkpoint.path.name,
        "format": checkpoint.format,
        "weights_sha256_before": weights_sha256(checkpoint.tensors),
        "weights_sha256_after": outcome.rule.weights_sha256,
        "output": outcome.case.output,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.index,
        "gap": step.gap,
        "performance": step.performance,
        "utility": step.utility,
        "threshold": step.threshold,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "original": _evaluation(comparison.original),
        "identity": _evaluation(comparison.identity),
        "debiased": _evaluation(comparison.debiased),
    }


def _evaluation(e: Evaluation) -> dict[str, Any]:
    return {"met": e.met, "objective": e.objective, **_measured(e)}


def _measured(e: Evaluation) -> dict[str, Any]:
    return {
        "rows": e.rows,
        "trivial": e.trivial,
        "gaps": e.gaps,
        "performance": e.performance,
        "groups": [_group(g) for g in e.groups],
    }


def _group(g: GroupEvaluation) -> dict[str, Any]:
    return {
        "name": g.name,
        "rows": g.rows,
        "threshold": g.threshold,
        "tp": g.tp,
        "fp": g.fp,
        "fn": g.fn,
        "tn": g.tn,
        "auc": g.auc,
        "rates": {name: {"value": share.value, "n": share.n} for name, share in g.rates.items()},
    }


def _document(content: dict[str, Any]) -> dict[str, Any]:
    """The content as JSON takes it: no NaN, no infinity; undefined is null."""
    return {key: _plain(item) for key, item in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return _document(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value

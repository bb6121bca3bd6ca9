"""The JSON documents of a debiasing run and of an audit, as plain data.

``fairfix/report/schema.json`` describes them. Undefined figures are null. A document contains no
time and no absolute path, so that equal runs give equal bytes.
"""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch

from fairfix._utils.version import __version__
from fairfix.methods._result import Step
from fairfix.models.checkpoint import weights_sha256
from fairfix.stats.calibration import Calibration, calibration
from fairfix.stats.evaluation import Evaluation
from fairfix.stats.subgroups.intersections import IntersectionAudit
from fairfix.stats.subgroups.worst_subgroups import Subgroup
from fairfix.stats.verdicts import Claim, Verdict
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.sweep import SweepPoint, ThresholdSweep
from fairfix.workflows.audit import Audit, GroupAudit
from fairfix.workflows.case import Case
from fairfix.workflows.class_document import class_document
from fairfix.workflows.compared import compared_document
from fairfix.workflows.evidence import BINS, UNKNOWN, Evidence, Intervals
from fairfix.workflows.gate.check_document import check_document
from fairfix.workflows.group_use import group_use
from fairfix.workflows.measured_document import (
    figure_document,
    group_document,
    measured_document,
)
from fairfix.workflows.outcome import Comparison, Outcome
from fairfix.workflows.training import training_document
from fairfix.workflows.unchecked import reused_test_rows, unchecked_in_audit, unchecked_of
from fairfix.workflows.warnings import (
    audit_warnings,
    lesser_deteriorations,
    serious_warnings,
)

_SURROGATE = re.compile("[\ud800-\udfff]")  # bytes of a file name that is not UTF-8

SCHEMA_VERSION = 2


def report_document(outcome: Outcome, command: str | None = None) -> dict[str, Any]:
    """Return the report of a debiasing run; ``command`` is the command line, if there was one."""
    case, objective, evidence = outcome.case, outcome.objective, outcome.evidence
    serious = [*serious_warnings(outcome), *reused_test_rows(outcome)]
    use = group_use(case, outcome.rule)
    return plain_document(
        {
            "schema_version": SCHEMA_VERSION,
            "made_by": {
                "fairfix": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "command": command,
                "seed": outcome.seed,
                "threads": case.threads,
            },
            "model": _model(outcome),
            "data": {
                "table": case.table.name,
                "table_sha256": case.table.sha256,
                "test_table": outcome.test_case and outcome.test_case.table.name,
                "test_table_sha256": outcome.test_case and outcome.test_case.table.sha256,
                "holdout": outcome.holdout_share,
                "label": case.columns.label,
                "favorable": case.table.favorable,
                "group": case.columns.groups[0],
                "groups": list(case.problem.group_names),
                "privileged": case.problem.group_names[1] if case.problem.n_groups == 2 else None,
                "weight": case.columns.weight,
                "validation_rows": outcome.validation.debiased.rows,
                "test_rows": outcome.test.debiased.rows,
            },
            "training": training_document(outcome),
            "objective": {
                "metric": objective.metric.key,
                "metric_title": objective.metric.title,
                "budget": objective.budget,
                "margin": "auto" if objective.margin is None else objective.margin,
                "performance": objective.performance.key,
                "kind": objective.kind,
                "lambda": objective.lambda_ if objective.kind == "tradeoff" else None,
                "standard_errors": outcome.standard_errors,
                "risk": objective.risk,
            },
            "goals": _goals(outcome),
            "method": {
                "name": outcome.method,
                "options": dict(outcome.options),
                "needs_group": outcome.rule.needs_group,
                "group_use": use.kind.value,
                "group_use_sentence": use.sentence,
                "protected_inputs": list(use.inputs),
                "changes_weights": outcome.state is not None,
                "recalibration": outcome.recalibration and asdict(outcome.recalibration),
                "chosen_step": outcome.result.chosen,
                "trajectory": [_step(step) for step in outcome.result.trajectory],
            },
            "rule": outcome.rule.to_json(),
            "confidence": outcome.confidence.level,
            "evidence": _evidence(outcome),
            "results": {
                "test": _comparison(outcome.test, evidence),
                "validation": _comparison(outcome.validation),
            },
            "change": _change(evidence),
            "subgroups": evidence.subgroups
            and [_subgroup(each) for each in evidence.subgroups.significant()],
            "tradeoff_curve": [asdict(point) for point in outcome.tradeoff_curve],
            "histograms": {
                "edges": [i / BINS for i in range(BINS + 1)],
                "groups": {
                    name: {"unmodified": list(before), "debiased": list(after)}
                    for name, (before, after) in evidence.histograms.items()
                },
            },
            "calibration": _calibration(outcome),
            **evidence.tuned.to_json(),
            "warnings": list(dict.fromkeys((*outcome.warnings, *evidence.warnings, *serious))),
            "serious_warnings": serious,
            "unchecked": list(unchecked_of(outcome)),
            "notes": [
                *case.notes,
                *outcome.notes,
                *lesser_deteriorations(outcome),
                *(evidence.subgroups.notes if evidence.subgroups else ()),
            ],
        }
    )


def audit_document(case: Case, rule: DecisionRule, audit: Audit) -> dict[str, Any]:
    """Return the document of an audit."""
    return plain_document(
        {
            "schema_version": SCHEMA_VERSION,
            "made_by": {"fairfix": __version__, "torch": torch.__version__},
            "table": case.table.name,
            "table_sha256": case.table.sha256,
            "rows": case.table.rows,
            "rule": rule.to_json(),
            "confidence": audit.confidence.level,
            "groups": {each.column: _audited(each) for each in audit.groups},
            "intersections": [_intersection(each) for each in audit.intersections],
            "subgroups": audit.subgroups
            and {
                "searched": audit.subgroups.searched,
                "tested": audit.subgroups.tested,
                "found": [_subgroup(each) for each in audit.subgroups.significant()],
            },
            "classes": audit.classes and class_document(audit.classes),
            "threshold_sweep": audit.threshold_sweep and sweep_document(audit.threshold_sweep),
            "compared": [compared_document(each) for each in audit.compared],
            "serious_warnings": list(audit_warnings(audit.groups[0].evaluation)),
            "unchecked": list(unchecked_in_audit(case, rule)),
            "notes": [*case.notes, *(audit.subgroups.notes if audit.subgroups else ())],
        }
    )


def _audited(each: GroupAudit) -> dict[str, Any]:
    return {
        **measured_document(each.evaluation, each.intervals),
        "evidence": {
            "claims": [_claim(each.claim)],
            "certifiable_gap": each.power.certifiable_gap,
            "rows_needed": _copy_rows(each.power.rows_needed),
            "rows": each.evaluation.rows,
        },
        "calibration": [calibration_document(part) for part in each.calibration],
    }


def _intersection(each: IntersectionAudit) -> dict[str, Any]:
    return {
        "columns": list(each.columns),
        "groups": [group_document(*pair) for pair in zip(each.groups, each.intervals, strict=True)],
        "too_small": list(each.too_small),
        "gaps": each.evaluation and each.evaluation.gaps,
    }


def _calibration(outcome: Outcome) -> dict[str, Any]:
    rows = outcome.test_rows
    problems = {"unmodified": rows.problem, "debiased": rows.debiased_problem}
    return {
        state: [
            calibration_document(part)
            for part in calibration(problem, confidence=outcome.confidence)
        ]
        for state, problem in problems.items()
    }


def calibration_document(part: Calibration) -> dict[str, Any]:
    """Return the calibration of all rows or of one group, with NaN where it is undefined."""
    return {
        "name": part.name,
        "rows": part.rows,
        "base_rate": figure_document(part.base_rate, part.base_rate_interval),
        "mean_score": part.mean_score,
        "bias": figure_document(part.bias, part.bias_interval),
        "error": part.error,
        "error_by_chance": part.error_by_chance,
        "bins": [
            {
                "from": bin.low,
                "to": bin.high,
                "rows": bin.rows,
                "mean_score": bin.mean_score,
                "rate": figure_document(bin.rate, bin.interval),
            }
            for bin in part.bins
        ],
    }


def sweep_document(sweep: ThresholdSweep) -> dict[str, Any]:
    """Return the results of shared thresholds, with NaN where they are undefined."""
    return {
        "metric": sweep.metric,
        "performance": sweep.performance,
        "groups": list(sweep.groups),
        "current": _sweep_point(sweep.current),
        "points": [_sweep_point(point) for point in sweep.points],
    }


def _sweep_point(point: SweepPoint) -> dict[str, Any]:
    return {**asdict(point), "selection_rates": list(point.selection_rates)}


def _model(outcome: Outcome) -> dict[str, Any] | None:
    checkpoint = outcome.case.checkpoint
    if checkpoint is None:
        return None
    return {
        "file": checkpoint.name,
        "format": checkpoint.format,
        "weights_sha256_before": weights_sha256(checkpoint.tensors),
        "weights_sha256_after": outcome.rule.weights_sha256,
        "output": outcome.case.output,
        "output_name": outcome.case.output_name,
        "batch_size": outcome.case.batch_size,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.index,
        "gap": step.gap,
        "performance": step.performance,
        "utility": step.utility,
        "threshold": step.threshold,
    }


def _evidence(outcome: Outcome) -> dict[str, Any]:
    evidence = outcome.evidence
    return {
        "claims": [_claim(evidence.claim)],
        "promises": [
            check_document(each, "passed" if each.verdict is Verdict.CERTIFIED else "warned")
            for each in evidence.promises
        ],
        "certifiable_gap": evidence.power.certifiable_gap,
        "rows_needed": _copy_rows(evidence.power.rows_needed),
        "rows": outcome.test.debiased.rows,
    }


def _goals(outcome: Outcome) -> dict[str, Any] | None:
    """Return the goals on the validation rows with their verdicts; None without further limits."""
    if outcome.goals is None:
        return None
    evidence = outcome.evidence
    tested = [str(check.verdict) for check in evidence.promises if check.blocking]
    untested = len(outcome.goals.goals) - 1 - len(tested)  # limits of the objective itself
    verdicts = [str(evidence.claim.verdict), *[None] * untested, *tested]
    return {
        "probability": outcome.goals.probability,
        "binding": outcome.goals.binding.name,
        "goals": [
            {
                "goal": goal.text,
                "column": goal.column,
                "value": goal.value,
                "probability": goal.probability,
                "held": goal.held,
                "verdict": verdict,
            }
            for goal, verdict in zip(outcome.goals.goals, verdicts, strict=True)
        ],
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "metric": claim.metric,
        "title": claim.title,
        "budget": claim.budget,
        **figure_document(claim.value, claim.interval),
        "verdict": str(claim.verdict),
        "reason": claim.reason,
        "rows_needed": _copy_rows(claim.rows_needed),
        "test": claim.test,
        "alongside": [_claim(part) for part in claim.alongside],
    }


def _copy_rows(rows: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if rows is None else dict(rows)


def _change(evidence: Evidence) -> dict[str, Any]:
    return {
        "groups": [asdict(group) for group in evidence.change.groups],
        "levelling_down": list(evidence.change.levelling_down),
        "columns": [
            {**asdict(column), "left_out": list(column.left_out)}
            for column in evidence.change.columns
        ],
        "overfitting": list(evidence.overfitting),
    }


def _subgroup(each: Subgroup) -> dict[str, Any]:
    return {
        "where": dict(each.where),
        "title": each.title,
        "direction": each.direction,
        "share": each.share,
        "rows": each.rows,
        "rate": each.rate,
        "rest": each.rest,
        "difference": each.difference,
        "low": each.interval.low,
        "high": each.interval.high,
        "p_adjusted": each.p_adjusted,
    }


def _comparison(comparison: Comparison, evidence: Evidence | None = None) -> dict[str, Any]:
    """Return the three evaluations, with confidence intervals on test rows only."""
    return {
        state: _evaluation(
            getattr(comparison, state), UNKNOWN if evidence is None else getattr(evidence, state)
        )
        for state in ("unmodified", "retuned", "debiased")
    }


def _evaluation(e: Evaluation, intervals: Intervals) -> dict[str, Any]:
    return {"met": e.met, "objective": e.objective, **measured_document(e, intervals)}


def plain_document(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with None for NaN and infinity, and text that UTF-8 can hold."""
    return {key: _plain(item) for key, item in content.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return plain_document(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str) and not value.isascii():
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    return value

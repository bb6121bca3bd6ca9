"""Other models on the rows of an audit, compared row by row with the audited one."""

from __future__ import annotations

import math
from typing import Any

import torch

from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.other_attributes import ALPHA, ColumnChange, column_change
from fairfix.stats.performance_intervals import performance_change
from fairfix.workflows.audit import Audit, ComparedModel, GroupAudit, decide
from fairfix.workflows.measured_document import figure_document, measured_document

PERFORMANCE = "balanced_accuracy"


def compared_model(audited: Audit, other: Audit, name: str) -> ComparedModel:
    """Return the figures of another model, and what changes from it to the audited one.

    Args:
        name: of the other model, unlike that of any further one.

    Raises:
        UsageError: if the audits are not of the same rows, labels and group columns.
    """
    here, there = audited.case, other.case
    same = (
        here.table.sha256 == there.table.sha256
        and here.table.rows == there.table.rows
        and torch.equal(here.problem.labels.cpu(), there.problem.labels.cpu())
        and [each.column for each in audited.groups] == [each.column for each in other.groups]
    )
    if not same:
        raise UsageError(
            f"{name} was measured on other rows, labels or groups; audit both models on one table "
            "with the same label and groups."
        )
    known = here.problem.groups >= 0
    problem, table = here.problem.grouped, here.table.grouped
    before, after = (decide(each.case, each.rule)[known] for each in (other, audited))
    performance = None
    if problem.labeled:
        found = performance_change(
            PERFORMANCE,
            before.cpu().numpy(),
            after.cpu().numpy(),
            problem.labels.cpu().numpy(),
            None if problem.weights is None else problem.weights.cpu().numpy(),
            None if problem.clusters is None else problem.clusters.cpu().numpy(),
        )
        performance = (found.value, found.interval(ALPHA / 2))
    key = audited.groups[0].claim.metric
    if key in METRICS:
        changes = [column_change(problem, before, after, METRICS[key], g) for g in table.groups]
    else:  # of scores: its change has no interval
        pairs = zip(other.groups, audited.groups, strict=True)
        changes = [_score_change(key, *pair) for pair in pairs]
    return ComparedModel(name, other.groups, tuple(changes), performance)


def _score_change(key: str, before: GroupAudit, after: GroupAudit) -> ColumnChange:
    was, now = (abs(each.evaluation.gaps[key]) for each in (before, after))
    nan = math.nan
    return ColumnChange(after.column, key, was, now, nan, nan, nan, False, ())


def compared_document(model: ComparedModel) -> dict[str, Any]:
    """Return the figures of another model as plain data."""
    value, interval = model.performance or (math.nan, None)
    return {
        "model": model.name,
        "groups": {
            each.column: measured_document(each.evaluation, each.intervals) for each in model.groups
        },
        "changes": [
            {
                "column": each.column,
                "metric": each.metric,
                "before": each.before,
                "after": each.after,
                "low": each.low,
                "high": each.high,
            }
            for each in model.gaps
        ],
        "performance_change": {"key": PERFORMANCE, **figure_document(value, interval)},
    }

"""What the threshold explorer of a page embeds, of a debiasing run or of an audit."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from fairfix.data.problem import Problem
from fairfix.data.table import Columns, Group
from fairfix.report.explorer import Explored, ExploredColumn
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.score_bins import MAX_BINS, ScoreBins, score_bins, score_edges
from fairfix.thresholds.sweep import threshold_sweep
from fairfix.workflows.case import Case
from fairfix.workflows.documents import plain_document, sweep_document
from fairfix.workflows.outcome import Outcome

MAX_CELLS = 48 * MAX_BINS
"""Most counts by group, label and threshold on a page, over all group columns."""
MIN_EDGES = 32


def explored_outcome(outcome: Outcome) -> Explored | None:
    """Return the result's scores of the test rows; None without enough rows of two groups.

    Rows without a group, which its counts by group lack, allow none either.
    """
    rows = outcome.test_rows
    problem = rows.debiased_problem
    shared = outcome.rule.threshold
    at = problem.threshold if shared is None else shared
    objective, sweep = outcome.objective.for_thresholds, None
    if not outcome.objective.metric.of_scores:
        sweep = plain_document(sweep_document(threshold_sweep(problem, objective, at)))
    return _explored(outcome.case, problem, rows.groups, outcome.rule, outcome.confidence, sweep)


def explored_audit(
    case: Case, rule: DecisionRule, confidence: ConfidenceLevel, document: Mapping[str, Any]
) -> Explored | None:
    """Return the scores of an audited case; None without enough rows of two groups.

    Args:
        case: scored by the rule (``audit.ruled``).
        document: of the audit.
    """
    sweep = document["threshold_sweep"]
    return _explored(case, case.problem, case.table.groups, rule, confidence, sweep)


def _explored(
    case: Case,
    problem: Problem,
    groups: Sequence[Group],
    rule: DecisionRule,
    confidence: ConfidenceLevel,
    sweep: Mapping[str, Any] | None,
) -> Explored | None:
    if problem.has_unknown_groups:  # the page has counts by group alone
        return None
    thresholds = _thresholds(rule)
    cells = 2 * sum(len(group.names) for group in groups)
    limit = min(MAX_BINS, max(MIN_EDGES, MAX_CELLS // cells))
    edges = score_edges(problem.scores, {problem.threshold, *thresholds.values()}, limit)
    columns = []
    for group in groups:
        ids = torch.from_numpy(group.ids).to(problem.groups.device)
        by_column = replace(problem, groups=ids, group_names=group.names)
        bins = score_bins(by_column, edges)
        if len(bins.groups) > 1:
            columns.append(ExploredColumn(group.column, bins, _in_use(rule, group, bins)))
    if not columns:
        return None
    return Explored(
        columns=tuple(columns),
        rule=rule.to_json(),
        fallback=problem.threshold,
        alpha=confidence.alpha,
        exact=confidence.exact,
        clustered=problem.clusters is not None,
        sweep=sweep,
        gate=_gate(case.columns, scores_alone=case.checkpoint is None),
    )


def _gate(columns: Columns, *, scores_alone: bool) -> str:
    """Return the command that tests new rows, with the roles of columns that it cannot infer."""
    default = Columns()
    words = ["fairfix", "gate", *([] if scores_alone else ["MODEL"]), "NEW_ROWS.csv"]
    if scores_alone and columns.score is not None:
        words += ["--score", columns.score]
    for name in ("label", "favorable", "privileged", "reference"):
        value = getattr(columns, name)
        if value is not None and value != getattr(default, name):
            words += [f"--{name}", value]
    if columns.groups != default.groups:
        words += [word for group in columns.groups for word in ("--group", group)]
    return shlex.join(words)


def _thresholds(rule: DecisionRule) -> Mapping[str, float]:
    if rule.threshold is not None:
        return {"": rule.threshold}
    return rule.thresholds or {}


def _in_use(rule: DecisionRule, group: Group, bins: ScoreBins) -> tuple[float, ...] | None:
    """Return the threshold of each group; None if they are randomized or by another column."""
    if rule.threshold is not None:
        return (rule.threshold,) * len(bins.groups)
    if rule.thresholds is None or rule.group_column not in (None, group.column):
        return None
    return tuple(rule.thresholds[name] for name in bins.groups)

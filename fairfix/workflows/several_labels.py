"""Debias a network on several labels at once: shared weights, a rule and a report for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairfix.data.splitting import holdout_mask
from fairfix.errors import TableError
from fairfix.methods import get
from fairfix.methods._goal import check_goal
from fairfix.methods._result import Result
from fairfix.methods._several_labels import JointMethod, joint_method
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.evaluation import Evaluation
from fairfix.workflows.case import Case, load
from fairfix.workflows.case_threads import on_its_threads
from fairfix.workflows.debias import SharedResult, checked_options, debias, split_rows
from fairfix.workflows.defined_rows import check_defined
from fairfix.workflows.goals import with_columns
from fairfix.workflows.outcome import Outcome

Rows = tuple[Tensor, Tensor]


def case_of(case: Case, label: str) -> Case:
    """Return the case of another label of the same network and table.

    Raises:
        FairfixError: as ``load``.
    """
    return load(
        case.checkpoint,
        case.table.source,
        columns=replace(case.columns, label=label),
        options=case.options,
        threshold=case.problem.threshold,
        found=case.found,
    )


def debias_labels(
    case: Case,
    method: str,
    objective: Objective,
    *,
    test: Case | None = None,
    holdout_share: float = 0.3,
    seed: int = 0,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    subgroups: bool = True,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Outcome]:
    """Run a method on all labels of a network and return the outcome of each.

    Scores are not recalibrated. Without a test table, one share of all rows is held out, stratified
    by group and first label, so that no label is tested on rows that another one was tuned on.

    Args:
        case: the network and its first label.
        method: one that ``joint_method`` knows.
        test: test rows of the first label.
        others: as ``debias``.

    Raises:
        FairfixError: nothing is written.
    """
    run, names = joint_method(method), case.columns.targets
    check_goal(objective, method, get(method).changes)
    share = holdout_share if test is None else None
    chosen = checked_options(method, options, holdout_share=share, seed=seed)
    cases = [case, *(case_of(case, name) for name in names if name != case.columns.label)]
    tests = [None if test is None else each.companion(test.table.source) for each in cases]
    rows: Sequence[Rows | None] = [None] * len(cases)
    if test is None:
        rows = shared_holdout(cases, holdout_share, seed)
    results = on_its_threads(_run)(case, run, cases, rows, objective, seed, chosen)
    found = {
        each.columns.label: debias(
            each,
            method,
            objective,
            test=own_test,
            holdout_share=holdout_share,
            seed=seed,
            recalibrate=False,
            confidence=confidence,
            subgroups=subgroups,
            options=options,
            shared=SharedResult(result, own_rows),
        )
        for each, own_test, own_rows, result in zip(cases, tests, rows, results, strict=True)
    }
    return {name: found[name] for name in names}


def _run(
    case: Case,
    method: JointMethod,
    cases: Sequence[Case],
    rows: Sequence[Rows | None],
    objective: Objective,
    seed: int,
    chosen: Mapping[str, Any],
) -> tuple[Result, ...]:
    """Run a method on the validation rows of all labels."""
    problems = []
    for each, own in zip(cases, rows, strict=True):
        problem, groups = each.problem, each.table.groups
        if own is not None:
            problem, _, (groups, _) = split_rows(each, own)
        check_defined(problem, objective, "validation")
        problems.append(with_columns(problem, objective.limits, groups))
    return method(problems, objective, seed=seed, **chosen)


def shared_holdout(cases: Sequence[Case], share: float, seed: int) -> list[Rows]:
    """Return validation and test rows of each case, from one split of the rows of the file.

    Raises:
        TableError: if rows are not independent.
        UsageError: if the share is not in (0, 1).
    """
    if any(each.problem.clusters is not None for each in cases):
        raise TableError(
            f"{cases[0].table.name} has rows that belong together, which cannot be held out "
            "for several labels at once; give test rows with --test, or one label with --target."
        )
    own = [_file_rows(each) for each in cases]
    count = 1 + max(int(rows.max()) for rows in own)
    group, label = np.zeros(count, np.int64), np.full(count, 2)
    for each, rows in zip(cases, own, strict=True):
        group[rows] = each.problem.groups.cpu().numpy()
    label[own[0]] = cases[0].problem.labels.cpu().numpy()
    known = np.unique(np.concatenate(own))
    test = np.zeros(count, dtype=bool)
    test[known] = holdout_mask(3 * group[known] + label[known], share, seed)
    return [
        (
            torch.from_numpy(np.flatnonzero(~test[rows])).to(each.problem.groups.device),
            torch.from_numpy(np.flatnonzero(test[rows])).to(each.problem.groups.device),
        )
        for each, rows in zip(cases, own, strict=True)
    ]


def _file_rows(case: Case) -> np.ndarray:
    rows = case.table.file_rows
    return np.arange(case.table.rows) if rows is None else rows


def labels_document(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the figures of each label on its test rows, their mean and the worst, as plain data.

    Sizes of gaps are without sign. The worst are the largest size and the lowest performance and
    objective; undefined figures are null, as are the mean and the worst of any.
    """
    first = next(iter(outcomes.values()))
    objective = first.objective
    labels = {name: _figures(outcome) for name, outcome in outcomes.items()}
    states = ("unmodified", "debiased")
    return {
        "schema_version": 1,
        "method": first.method,
        "metric": objective.metric.key,
        "budget": objective.budget,
        "performance": objective.performance.key,
        "labels": labels,
        "mean": {state: _over(labels, state, _mean) for state in states},
        "worst": {state: _over(labels, state, None) for state in states},
    }


def _figures(outcome: Outcome) -> dict[str, Any]:
    rule = outcome.rule
    return {
        "threshold": rule.threshold,
        "thresholds": None if rule.thresholds is None else dict(rule.thresholds),
        "rows": outcome.test.debiased.rows,
        "unmodified": _state(outcome, outcome.test.unmodified),
        "debiased": _state(outcome, outcome.test.debiased),
        "verdict": str(outcome.evidence.claim.verdict),
    }


def _state(outcome: Outcome, found: Evaluation) -> dict[str, float | None]:
    metric, performance = outcome.objective.metric.key, outcome.objective.performance.key
    values = {
        "gap": found.gaps[metric],
        "size": found.gap_sizes[metric],
        "performance": found.performance[performance],
        "objective": found.objective,
    }
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _over(
    labels: Mapping[str, Mapping[str, Any]], state: str, function: Any
) -> dict[str, float | None]:
    worst = {"size": max, "performance": min, "objective": min}
    found: dict[str, float | None] = {}
    for key, extreme in worst.items():
        values = [each[state][key] for each in labels.values()]
        found[key] = None if None in values else (function or extreme)(values)
    return found

"""Measuring a model and its rule on a table; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fairfix.case import Case
from fairfix.errors import TableError
from fairfix.evaluate import Evaluation, evaluate
from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.rule import DecisionRule


@dataclass(frozen=True)
class GroupAudit:
    """What the decisions do to the groups of one protected column."""

    column: str
    evaluation: Evaluation


def audit(case: Case, rule: DecisionRule) -> tuple[GroupAudit, ...]:
    """Judge the rule on every row of the case, once for each group column.

    Raises:
        TableError: when the rule needs a group column that the case does not have.
    """
    decisions = decide(case, rule)
    found = []
    for group in case.table.groups:
        ids = torch.from_numpy(group.ids).to(case.problem.groups.device)
        problem = replace(case.problem, groups=ids, group_names=group.names)
        cuts = _cuts(rule, problem, group.column)
        evaluation = evaluate(problem, problem.scores, decisions, Objective(), cuts)
        found.append(GroupAudit(group.column, evaluation))
    return tuple(found)


def decide(case: Case, rule: DecisionRule) -> torch.Tensor:
    """The rule's decision for every row of the case, (N,) bool."""
    scores = case.problem.scores
    if not rule.needs_group:
        return rule.decide(scores)
    for group in case.table.groups:
        if group.column == rule.group_column:
            ids = torch.from_numpy(group.ids).to(scores.device)
            return rule.decide(scores, ids, group.names)
    raise TableError(f"The rule decides by the column {rule.group_column!r}; name it with --group.")


def _cuts(rule: DecisionRule, problem: Problem, column: str) -> tuple[float, ...]:
    if rule.thresholds is None:
        return rule.cuts * problem.n_groups
    if column != rule.group_column:
        return (float("nan"),) * problem.n_groups
    return tuple(rule.thresholds[name] for name in problem.group_names)

"""Measuring a model and its rule on a table; nothing is changed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fairfix.case import Case, check_scores, output_kind
from fairfix.errors import TableError, UsageError
from fairfix.evaluate import Evaluation, evaluate
from fairfix.objectives import Objective
from fairfix.rule import DecisionRule
from fairfix.rulefile import find_rule, read_rule
from fairfix.scorer import Scorer
from fairfix.table import same_value


@dataclass(frozen=True)
class GroupAudit:
    """What the decisions do to the groups of one protected column."""

    column: str
    evaluation: Evaluation


def choose_rule(case: Case, given: Path | None = None) -> tuple[DecisionRule, str]:
    """The rule to audit by, and its source in words: given, the checkpoint's, or the case's cut."""
    found, where = None, ""
    if case.checkpoint is not None:
        found, where = find_rule(case.checkpoint, given)
    elif given is not None:
        found, where = read_rule(given), given.name
    if found is not None:
        return found, f"the rule in {where}"
    rule = plain_rule(case)
    return rule, f"score > {rule.threshold:g} (no rule found)"


def plain_rule(case: Case) -> DecisionRule:
    """The cut deployed today as a rule."""
    return DecisionRule(
        threshold=case.problem.threshold,
        positive_label=case.table.favorable,
        output_label=case.output_label,
        output=case.output,
    )


def ruled(case: Case, rule: DecisionRule) -> Case:
    """The case with scores as the rule means them: by its reading of the network's output.

    Raises:
        UsageError: when the rule decides for another label value, or for another network.
    """
    if not same_value(rule.positive_label, case.table.favorable):
        raise UsageError(
            f"The rule decides for {rule.positive_label!r}, and the favourable value here is "
            f"{case.table.favorable!r}; give --favorable {rule.positive_label}."
        )
    scorer, features = case.problem.scorer, case.problem.features
    if scorer is None or features is None:
        return case
    output = output_kind(scorer.network, features, case.options, rule)
    complement = rule.positive_label != rule.output_label
    if (output, complement) == (scorer.output, scorer.complement):
        return case
    scorer = Scorer(scorer.network, output, complement=complement)
    scores = scorer.score(features, case.options.batch_size)
    check_scores(scores, case.table)
    note = f"by the rule the network's output is read as {output} of {rule.output_label!r}"
    problem = replace(case.problem, scorer=scorer, scores=scores)
    return replace(case, problem=problem, output_label=rule.output_label, notes=(*case.notes, note))


def audit(case: Case, rule: DecisionRule) -> tuple[GroupAudit, ...]:
    """Judge the rule on every row of the case, once for each group column.

    Raises:
        TableError: when the rule needs a group column that the case does not have.
        UsageError: when the rule does not belong to the case (``ruled``).
    """
    case = ruled(case, rule)
    decisions = decide(case, rule)
    found = []
    for group in case.table.groups:
        ids = torch.from_numpy(group.ids).to(case.problem.groups.device)
        problem = replace(case.problem, groups=ids, group_names=group.names)
        own = group.column == rule.group_column or not rule.needs_group
        unknown = (math.nan,) * problem.n_groups
        cuts = rule.policy(group.names).thresholds(problem.n_groups) if own else unknown
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
            problem = case.problem
            return rule.decide(scores, ids, group.names, problem.ids, problem.features)
    raise TableError(f"The rule decides by the column {rule.group_column!r}; name it with --group.")

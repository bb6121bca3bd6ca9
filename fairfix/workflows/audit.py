"""Audit a model and its rule on a table without changing anything."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from fairfix.data.problem import Problem
from fairfix.data.table import Group, equal_values
from fairfix.errors import TableError, UsageError
from fairfix.metrics.fairness_metrics import METRICS, Metric, rates
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import Rate
from fairfix.models.checkpoint import weights_sha256
from fairfix.models.run_network import Reading, checked_scores, make_scorer, reading_like
from fairfix.models.scorer import Scorer
from fairfix.stats.calibration import Calibration, calibration
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.evaluation import Evaluation, evaluate
from fairfix.stats.gap_claims import gap_claim, gap_power
from fairfix.stats.intervals import Interval
from fairfix.stats.other_attributes import ColumnChange
from fairfix.stats.power import PowerAnalysis
from fairfix.stats.subgroups.intersections import IntersectionAudit, audit_intersections
from fairfix.stats.subgroups.worst_subgroups import SubgroupScan, worst_subgroups
from fairfix.stats.verdicts import Claim
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import NO_RULE, FoundRule, find_rule, rule_in
from fairfix.thresholds.sweep import ThresholdSweep, threshold_sweep
from fairfix.workflows.case import Case, check_scores
from fairfix.workflows.case_threads import on_its_threads
from fairfix.workflows.class_audit import ClassAudit, audit_classes
from fairfix.workflows.contract import check_contract
from fairfix.workflows.evidence import Intervals, intervals
from fairfix.workflows.notebook_forms import NotebookForms
from fairfix.workflows.output_reading import reading_of

SHOWN = 6
"""Group columns in the text form of an audit."""


@dataclass(frozen=True, repr=False)
class GroupAudit:
    """Figures by the groups of one group column.

    Attributes:
        intervals: confidence intervals of every figure.
        claim: the metric against its budget; ``power`` is the largest gap that these rows can
            certify.
        calibration: of all rows, then of each group; () without labels.
    """

    column: str
    evaluation: Evaluation
    intervals: Intervals
    claim: Claim
    power: PowerAnalysis
    calibration: tuple[Calibration, ...]

    def __repr__(self) -> str:
        metric = self.claim.metric
        gap = self.evaluation.gaps[metric]
        return f"<GroupAudit by {self.column}: {metric} {gap:.3f}, {self.claim.verdict}>"


@dataclass(frozen=True)
class ComparedModel:
    """Another model on the rows of an audit (``compared.compared_model``).

    Attributes:
        groups: its figures by every group column.
        gaps: the size of the claimed gap by column, of this model before and of the audited one
            after.
        performance: balanced accuracy of the audited model minus that of this one, with its 95 %
            interval; None without labels.
    """

    name: str
    groups: tuple[GroupAudit, ...]
    gaps: tuple[ColumnChange, ...]
    performance: tuple[float, Interval] | None


@dataclass(frozen=True, repr=False)
class Audit(NotebookForms):
    """Figures of a rule by group column, intersection and subgroup.

    Attributes:
        case, rule: the rows, scored as the rule reads them, and the rule.
        groups: one entry per group column, in the given order.
        subgroups: conjunctions of group columns and features whose decisions or errors differ
            most from the rest; None if they were not searched.
        classes: decisions by the largest output, if the network has several classes.
        threshold_sweep: what other shared thresholds would do; None if the rule has none, or
            without labels.
        confidence: of each one-sided test.
        compared: other models on the same rows.
    """

    case: Case
    rule: DecisionRule
    groups: tuple[GroupAudit, ...]
    intersections: tuple[IntersectionAudit, ...]
    subgroups: SubgroupScan | None
    threshold_sweep: ThresholdSweep | None
    confidence: ConfidenceLevel
    classes: ClassAudit | None = None
    compared: tuple[ComparedModel, ...] = ()

    def __repr__(self) -> str:
        rows, shown = self.groups[0].evaluation.rows, self.groups[:SHOWN]
        more = [f"{len(self.groups) - SHOWN} more"] if len(self.groups) > SHOWN else []
        return f"<Audit of {rows:,} rows: {', '.join([*map(repr, shown), *more])}>"


def choose_rule(
    case: Case,
    given: DecisionRule | str | Path | None = None,
    threshold: float | None = None,
    *,
    by_name: bool = False,
) -> tuple[DecisionRule, str]:
    """Return the rule to apply and its source: given, the checkpoint's, or the case's threshold.

    Args:
        given: a rule, or a rule file.
        threshold: the case's threshold if the user gave one; then no rule is looked for.
        by_name: refuse a rule file that takes columns by position.

    Raises:
        UsageError: if the rule does not belong to the checkpoint, or takes columns by position.
    """
    if threshold is not None:
        model = None if case.found.rule is None else case.found.rule.score_model
        raw = "" if model is None else " of the network, without the score model of its rule"
        return plain_rule(case), f"score > {threshold:g}{raw}"
    if isinstance(given, DecisionRule):
        _check_weights(case, given)
        return given, "the given rule"
    found = _find(case, None if given is None else Path(given))
    if by_name:
        found.require_contract()
    if found.rule is not None:
        return found.rule, f"the rule in {found.where}"
    rule = plain_rule(case)
    return rule, f"score > {rule.threshold:g} (no rule found)"


def _find(case: Case, given: Path | None) -> FoundRule:
    if given is None and case.found.rule is not None:
        return case.found
    if case.checkpoint is not None:
        return find_rule(case.checkpoint, given)
    return NO_RULE if given is None else rule_in(given)


def _check_weights(case: Case, rule: DecisionRule) -> None:
    """Raise ``UsageError`` if a rule in memory was made for other weights than the case's."""
    model = case.checkpoint
    if model is not None and rule.weights_sha256 not in (None, weights_sha256(model.tensors)):
        raise UsageError(
            f"The given rule was made for other weights than those in {model.name}. Load the rows "
            "with the network that it belongs to, which is outcome.model."
        )


def plain_rule(case: Case) -> DecisionRule:
    """Return the threshold in use today as a rule."""
    return DecisionRule(
        threshold=case.problem.threshold,
        positive_label=case.table.favorable,
        output_label=case.output_label,
        output=case.output,
        classes=case.classes,
        targets=case.targets,
    )


def ruled(case: Case, rule: DecisionRule) -> Case:
    """Return the case scored by the rule's reading of the network's output.

    With a score model, the scores are those that the rule compares with its thresholds.

    Raises:
        UsageError: if the rule is for another label value, another network or other columns, or if
            another rule with a score model scored the case.
    """
    if case.scored_by is rule:
        return case
    if case.scored_by is not None and case.scored_by.score_model is not None:
        raise UsageError("The case has the scores of another rule's score model; load it again.")
    check_contract(case, rule)
    if rule.targets is not None and rule.targets.target != case.columns.label:
        raise UsageError(
            f"The rule is for the label {rule.targets.target!r}, but {case.table.name} was "
            f"read for {case.columns.label!r}; give --target {rule.targets.target}."
        )
    known = case.problem.labeled or case.columns.favorable is not None
    if known and not equal_values(rule.positive_label, case.table.favorable):
        raise UsageError(
            f"The favorable value of the rule is {rule.positive_label!r}, but here it is "
            f"{case.table.favorable!r}; give --favorable {rule.positive_label}."
        )
    case = replace(_reread(case, rule), scored_by=rule)
    if rule.score_model is None:
        return case
    modeled = rule.model(case.problem.scores, case.problem.inputs, case.problem.scorer)
    problem = replace(case.problem, scores=modeled.score, probabilities=modeled.probability)
    return replace(case, problem=problem)


def _how_read(scorer: Scorer) -> tuple[Reading, bool]:
    return reading_like(scorer), scorer.complement


def _reread(case: Case, rule: DecisionRule) -> Case:
    """Return the case with the scores that the network gives as the rule reads its output."""
    scorer, inputs = case.problem.scorer, case.problem.inputs
    if scorer is None or inputs is None:
        return case
    assert case.checkpoint is not None
    reader = make_scorer(
        case.checkpoint,
        inputs,
        reading_of(case.options, rule),
        complement=rule.positive_label != rule.output_label,
        batch_size=case.options.batch_size,
    )
    if _how_read(reader) == _how_read(scorer):
        return case
    scores = checked_scores(reader, inputs)
    check_scores(scores, case.table)
    note = f"the rule reads the network's output as {reader.output} of {rule.output_label!r}"
    problem = replace(case.problem, scorer=reader, scores=scores)
    return replace(case, problem=problem, output_label=rule.output_label, notes=(*case.notes, note))


@on_its_threads
def audit(
    case: Case,
    rule: DecisionRule,
    objective: Objective | None = None,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    subgroups: bool = True,
) -> Audit:
    """Measure a rule on every row of the case.

    Args:
        objective: its metric is tested against its budget and swept over thresholds; by default
            spd with a budget of 0.05.
        subgroups: whether to search for subgroups.

    Raises:
        TableError: if the rule needs a group column that the case lacks.
        UsageError: if the rule does not belong to the case (``ruled``).
    """
    case, objective = ruled(case, rule), objective or Objective()
    check_labels(case, [objective.metric.key])
    decisions = decide(case, rule)
    columns = [_column(case, group) for group in case.table.groups]
    thresholds = rule.policy(case.problem.group_names) if not rule.needs_group else None
    shared = None if thresholds is None or thresholds.randomized else thresholds.thresholds(1)[0]
    known = decisions[case.problem.groups >= 0]
    problem, table = case.problem.grouped, case.table.grouped
    described, names = case.in_table_units(problem)
    return Audit(
        case=case,
        rule=rule,
        groups=tuple(
            _group_audit(group, problem, decisions, rule, objective, confidence)
            for group, problem in zip(case.table.groups, columns, strict=True)
        ),
        intersections=audit_intersections(problem, known, table.groups, confidence=confidence),
        subgroups=None
        if not subgroups
        else worst_subgroups(
            described,
            known,
            table.groups,
            names,
            confidence=confidence,
        ),
        threshold_sweep=None
        if shared is None or not case.problem.labeled or objective.metric.of_scores
        else threshold_sweep(case.problem, objective, shared),
        confidence=confidence,
        classes=audit_classes(case, objective, confidence),
    )


def _column(case: Case, group: Group) -> Problem:
    """Return the rows with the groups of one column."""
    ids = torch.from_numpy(group.ids).to(case.problem.groups.device)
    return replace(case.problem, groups=ids, group_names=group.names)


def _group_audit(
    group: Group,
    problem: Problem,
    decisions: torch.Tensor,
    rule: DecisionRule,
    objective: Objective,
    confidence: ConfidenceLevel,
) -> GroupAudit:
    own = group.column == rule.group_column or not rule.needs_group
    unknown = (math.nan,) * problem.n_groups
    thresholds = rule.policy(problem.group_names).thresholds(problem.n_groups) if own else unknown
    metric, budget = objective.metric, objective.budget
    return GroupAudit(
        column=group.column,
        evaluation=evaluate(problem, problem.scores, decisions, objective, thresholds),
        intervals=intervals(problem, decisions, group, metric, confidence=confidence),
        claim=gap_claim(metric, problem, decisions, budget, confidence=confidence),
        power=gap_power(metric, problem, decisions, budget, confidence=confidence),
        calibration=calibration(problem, confidence=confidence) if problem.labeled else (),
    )


def check_labels(case: Case, keys: Iterable[str]) -> None:
    """Raise ``TableError`` if a metric, measure or rate needs labels and the table has none."""
    known: dict[str, Metric | Rate] = {**METRICS, **rates()}
    needed = [key for key in keys if key not in known or known[key].needs_labels]
    if needed and not case.problem.labeled:
        free = ", ".join(key for key in METRICS if not METRICS[key].needs_labels)
        raise TableError(
            f"{case.table.name} has no labels, which {needed[0]} needs; name the label column "
            f"with --label, or use a metric of decisions alone: {free}."
        )


def decide(case: Case, rule: DecisionRule) -> torch.Tensor:
    """Apply the rule to every row of a case of ``ruled``, (N,) bool."""
    scores = case.problem.scores
    if not rule.needs_group:
        return rule.decide_modeled(scores)
    for group in case.table.groups:
        if group.column == rule.group_column:
            ids = torch.from_numpy(group.ids).to(scores.device)
            problem = case.problem
            return rule.decide_modeled(scores, ids, group.names, problem.ids, problem.inputs)
    raise TableError(f"The rule has thresholds by {rule.group_column!r}; name it with --group.")

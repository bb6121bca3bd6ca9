"""Run a method on validation rows and evaluate the result on test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fairfix import methods, metrics
from fairfix.data.problem import Problem
from fairfix.data.splitting import check_seed, check_share, holdout, take_parts
from fairfix.data.table import Group
from fairfix.errors import TableError, UsageError
from fairfix.methods import MethodFunction
from fairfix.methods._result import Result
from fairfix.methods.identity import identity
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import GOALS, without_limits
from fairfix.models import checkpoint as checkpoints
from fairfix.models.score_model import ModeledScores, ScoreModel
from fairfix.models.scorer import Scorer
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.evaluation import Evaluation, evaluate
from fairfix.thresholds.policy import Policy, row_draws, row_ids
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.shared import best_threshold_of, performance_threshold
from fairfix.thresholds.tradeoff_curve import tradeoff_curve
from fairfix.workflows.case import Case
from fairfix.workflows.case_threads import on_its_threads
from fairfix.workflows.contract import contract_of
from fairfix.workflows.defined_rows import check_defined
from fairfix.workflows.evidence import DecidedRows
from fairfix.workflows.folded import check_foldable, check_folded, folded
from fairfix.workflows.gate.checks import with_column
from fairfix.workflows.gate.demands import Demand
from fairfix.workflows.goals import goals_at, limits_of, searched, with_columns
from fairfix.workflows.outcome import Comparison, Outcome
from fairfix.workflows.recalibrated import recalibrated
from fairfix.workflows.training import check_apart, check_training
from fairfix.workflows.unknown_groups import check_unknown_groups
from fairfix.workflows.unlabeled import check_unlabeled
from fairfix.workflows.warnings import warnings_of


def make_objective(
    metric: str = "spd",
    budget: float = 0.05,
    *,
    margin: float | None = None,
    performance: str = "balanced_accuracy",
    kind: str = "constrained",
    lambda_: float = Objective.lambda_,
    risk: float | str | None = None,
    k: float | None = None,
) -> Objective:
    """Make an objective from the keys of its metric and performance measure.

    Raises:
        UsageError: for an unknown key or a value out of range.
    """
    if performance not in GOALS:
        raise UsageError(f"The performance must be one of {', '.join(GOALS)}, not {performance!r}.")
    measure = GOALS[performance]
    return Objective(metrics.goal(metric), budget, margin, measure, kind, lambda_, k, risk)


def checked_options(
    method: str | MethodFunction,
    options: Mapping[str, Any] | None = None,
    *,
    holdout_share: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Check options, share and seed before anything is read; return all options of the method.

    Raises:
        UsageError: for an unknown method or option, or a value out of range.
    """
    check_seed(seed)
    if holdout_share is not None:
        check_share(holdout_share)
    return methods.describe(method).checked(options or {})


@dataclass(frozen=True)
class SharedResult:
    """The result of a method that ran on several labels of a network, for one of them.

    Attributes:
        result: for this label; all labels have the same state.
        rows: row numbers of the validation and of the test rows; None with a test table.
    """

    result: Result
    rows: tuple[Tensor, Tensor] | None


@on_its_threads
def debias(
    case: Case,
    method: str | MethodFunction,
    objective: Objective | None = None,
    *,
    test: Case | None = None,
    unlabeled: Case | None = None,
    holdout_share: float = 0.3,
    seed: int = 0,
    fold: bool = False,
    recalibrate: bool = True,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
    promises: Sequence[Demand] = (),
    subgroups: bool = True,
    options: Mapping[str, Any] | None = None,
    shared: SharedResult | None = None,
) -> Outcome:
    """Run a method on validation rows and evaluate the result once on test rows.

    Args:
        case: model and table, from ``fairfix.workflows.case.load``; with training rows, the method
            learns from those and chooses on the table's.
        method: a name of ``fairfix.methods.names()``, or a function as ``fairfix.methods.register``
            describes it, registered or not.
        objective: by default balanced accuracy with an spd budget of 0.05.
        test: test rows (``case.companion``); without them ``holdout_share`` of the case's rows,
            stratified by label and group, are held out.
        unlabeled: further rows for ``blind`` and ``finetune``, which no test row may be among;
            their labels are not read.
        seed: of every random choice; equal seeds give equal bytes.
        fold: move the threshold into the last layer's bias, so that 0.5 is the threshold.
        recalibrate: fit the scores of changed weights to the labels of the validation rows, without
            changing a decision; not with ``fold``.
        confidence: of the verdict and the intervals on the test rows.
        promises: further budgets, floors and ceilings: goals of the search other than the
            budget, which are tested on the test rows; those of severity ``warn`` are only tested.
        subgroups: whether the evidence includes a search for subgroups.
        options: the method's own, by name.
        shared: what the method returned already, on several labels at once.

    Raises:
        FairfixError: nothing is written.
    """
    chosen = checked_options(
        method, options, holdout_share=holdout_share if test is None else None, seed=seed
    )
    objective = objective or Objective()
    promised = tuple(with_column(each, case.table.groups) for each in promises)
    first = case.table.groups[0].column
    further = limits_of(searched(promised), first)
    if further:
        objective = replace(objective, limits=(*objective.limits, *further))
    if not case.problem.labeled:
        raise TableError(
            f"{case.table.name} has no labels, which every method needs; name the label "
            "column with --label."
        )
    described = methods.describe(method)
    if fold:
        check_foldable(described, case.problem)
    has_training = case.problem.training is not None
    check_training(described, given=has_training)
    check_unknown_groups(described.name, case.problem)
    check_apart(case, test)
    if test is not None:
        validation, held_out = case.problem, test.problem
        groups = case.table.groups, test.table.groups
    else:
        rows = None if shared is None else shared.rows
        validation, held_out, groups = split_rows(
            case, rows or holdout(case.problem, holdout_share, seed)
        )
    check_defined(validation, objective, "validation")
    check_defined(held_out, objective, "test")
    validation = with_columns(validation, objective.limits, groups[0])
    if shared is not None:
        result = shared.result
    elif unlabeled is None:
        result = described.run(validation, objective, seed=seed, **chosen)
    else:
        check_unlabeled(described.name, objective)
        searched_rows = replace(validation, unlabeled=unlabeled.problem)
        result = described.run(searched_rows, objective, seed=seed, **chosen)
        note = f"{len(unlabeled.problem):,} rows without labels sharpened the selection rates"
        result = replace(result, notes=(*result.notes, note))
    retuned = identity(validation, objective)
    state, scorer, policy = _as_stored(case, validation, objective, result)
    recalibration = None
    if fold and scorer is not None:
        scored = result.score_model is not None
        check_folded(described.name, needs_group=policy.needs_group, scored=scored)
        state, scorer, policy = folded(validation, scorer, policy, partial(_stored, case))
    elif recalibrate and state is not None and scorer is not None:
        (state, scorer, policy), recalibration = recalibrated(
            validation, held_out, (state, scorer, policy), partial(_stored, case)
        )
    optimum = performance_threshold(validation, without_limits(objective.performance))
    salt = f"fairfix-{seed}"
    rule = _rule(case, objective, policy, state, salt, result.score_model)
    validation_rows, test_rows = (
        _decided(problem, modeled, retuned.policy, optimum, policy, salt, columns)
        for problem, modeled, columns in zip(
            (validation, held_out),
            (
                _validation_scores(validation, scorer, rule, result),
                rule.model(_scores(held_out, scorer), held_out.inputs, held_out.scorer),
            ),
            groups,
            strict=True,
        )
    )
    chosen_by = result.chosen_by(objective)
    comparison = _compare(validation_rows, retuned.policy, policy, objective)
    outcome = Outcome(
        case=case,
        test_case=test,
        method=described.name,
        options=chosen,
        objective=objective,
        seed=seed,
        holdout_share=None if test is not None else holdout_share,
        rule=rule,
        state=state,
        recalibration=recalibration,
        result=result,
        retuned=retuned,
        validation=comparison,
        test=_compare(test_rows, retuned.policy, policy, objective),
        validation_rows=validation_rows,
        test_rows=test_rows,
        confidence=confidence,
        tradeoff_curve=tradeoff_curve(
            replace(validation, scores=validation_rows.scores), policy, chosen_by
        ),
        goals=goals_at(
            validation,
            policy.probability(validation_rows.scores, validation.groups),
            chosen_by,
            first,
            validation_rows.scores,
        ),
        warnings=(),
        promises=promised,
        subgroups=subgroups,
        training_use=described.training_use if has_training else None,
    )
    return replace(outcome, warnings=warnings_of(outcome))


Groups = tuple[Group, ...]


def split_rows(
    case: Case, rows: tuple[Tensor, Tensor]
) -> tuple[Problem, Problem, tuple[Groups, Groups]]:
    """Return validation rows and test rows, given by their numbers, and the groups of each."""
    validation, held_out = take_parts(case.problem, rows, case.table.name)

    def groups(some: Tensor) -> Groups:
        at = some.cpu().numpy()
        return tuple(group.take(at) for group in case.table.groups)

    return validation, held_out, (groups(rows[0]), groups(rows[1]))


def _as_stored(
    case: Case, validation: Problem, objective: Objective, result: Result
) -> tuple[dict[str, Tensor] | None, Scorer | None, Policy]:
    """Return state, scorer and policy after rounding to the checkpoint's dtypes.

    If rounding changes the weights, the threshold is chosen again on the validation rows.
    """
    if result.state is None:
        return None, validation.scorer, result.policy
    state = _stored(case, result.state)
    scorer, inputs = validation.network()
    scorer.network.load_state_dict(state)
    rounded = any(not torch.equal(state[k].to(v.dtype), v) for k, v in result.state.items())
    if not rounded:
        return state, scorer, result.policy
    best = best_threshold_of(validation, scorer.score(inputs), result.chosen_by(objective))
    return state, scorer, Policy.shared(float(best.threshold))


def _stored(case: Case, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    assert case.checkpoint is not None
    on_cpu = {name: value.cpu() for name, value in state.items()}
    return checkpoints.stored_state(case.checkpoint, on_cpu)


def _scores(problem: Problem, scorer: Scorer | None) -> Tensor:
    if scorer is None or scorer is problem.scorer:
        return problem.scores
    assert problem.inputs is not None
    return scorer.score(problem.inputs)


def _validation_scores(
    validation: Problem, scorer: Scorer | None, rule: DecisionRule, result: Result
) -> ModeledScores:
    """Return the scores of the validation rows, by models that were fitted without them."""
    if result.validation_scores is None:
        return rule.model(_scores(validation, scorer), validation.inputs, validation.scorer)
    return ModeledScores(result.validation_scores, result.validation_scores)


def _decided(
    problem: Problem,
    modeled: ModeledScores,
    retuned: Policy,
    optimum: float,
    policy: Policy,
    salt: str,
    groups: Groups,
) -> DecidedRows:
    scores = modeled.score
    return DecidedRows(
        problem=problem,
        scores=scores,
        unmodified=problem.scores > problem.threshold,
        retuned=_decide(problem, problem.scores, retuned, salt),
        optimum=problem.scores > optimum,
        debiased=_decide(problem, scores, policy, salt),
        groups=groups,
        probabilities=None if modeled.probability is scores else modeled.probability,
    )


def _compare(
    rows: DecidedRows, retuned: Policy, policy: Policy, objective: Objective
) -> Comparison:
    problem = rows.problem

    def evaluated(scores: Tensor, decisions: Tensor, policy: Policy) -> Evaluation:
        thresholds = policy.thresholds(problem.n_groups)
        return evaluate(problem, scores, decisions, objective, thresholds)

    return Comparison(
        evaluated(problem.scores, rows.unmodified, Policy.shared(problem.threshold)),
        evaluated(problem.scores, rows.retuned, retuned),
        evaluated(rows.scores, rows.debiased, policy),
    )


def _decide(problem: Problem, scores: Tensor, policy: Policy, salt: str) -> Tensor:
    """Apply a policy to the rows of a problem; decisions (N,) bool.

    Raises:
        UsageError: if thresholds are randomized and rows cannot be told apart.
    """
    lots = None
    if policy.randomized:
        lots = row_draws(row_ids(problem.ids, problem.inputs), salt).to(scores.device)
    return policy.decide(scores, problem.groups, lots)


def _rule(
    case: Case,
    objective: Objective,
    policy: Policy,
    state: dict[str, Tensor] | None,
    salt: str,
    score_model: ScoreModel | None,
) -> DecisionRule:
    weights = None
    if case.checkpoint is not None:
        weights = checkpoints.weights_sha256(state or case.checkpoint.tensors)
    return DecisionRule(
        **_decision(case.problem.group_names, policy, salt),
        group_column=case.columns.groups[0],
        id_column=case.columns.id,
        positive_label=case.table.favorable,
        output_label=case.output_label,
        output=case.output,
        classes=case.classes,
        targets=case.targets,
        metric=objective.metric.key,
        budget=objective.budget,
        weights_sha256=weights,
        contract=contract_of(case),
        score_model=score_model,
    )


def _decision(names: tuple[str, ...], policy: Policy, salt: str) -> dict[str, Any]:
    """Return the fields of a rule that hold its thresholds."""
    if policy.randomized:
        return {"randomized_thresholds": dict(zip(names, policy.steps, strict=True)), "salt": salt}
    if policy.needs_group:
        return {"thresholds": dict(zip(names, policy.thresholds(len(names)), strict=True))}
    return {"threshold": policy.thresholds(1)[0]}

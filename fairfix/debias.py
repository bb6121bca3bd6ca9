"""The one path from a case to a judged result: split, method, judge. Command, library and bench
all come through here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fairfix import checkpoint as checkpoints
from fairfix import methods
from fairfix.case import Case
from fairfix.cuts import best_cut
from fairfix.errors import TableError, UsageError
from fairfix.evaluate import Evaluation, evaluate
from fairfix.fold import fold_threshold
from fairfix.group_cuts import COORDINATES, GAINS, best_group_cuts
from fairfix.objectives import Objective
from fairfix.policy import Policy, draws, row_ids
from fairfix.problem import Problem
from fairfix.rates import METRICS, PERFORMANCES
from fairfix.result import Result
from fairfix.rule import DecisionRule
from fairfix.scorer import Scorer
from fairfix.split import holdout

if TYPE_CHECKING:
    from fairfix.save import Destination


WRONG_WAY = 0.45  # an AUC below it is no accident of sampling
DEAR = 0.05  # performance given up for caution that must be said


@dataclass(frozen=True)
class Comparison:
    """The same rows under the cut deployed today, the untouched network at its best cut
    (``identity``), and the result."""

    original: Evaluation
    identity: Evaluation
    debiased: Evaluation


@dataclass(frozen=True)
class Outcome:
    """What ``debias`` found.

    Attributes:
        state: the network's new state as the checkpoint will hold it; None = unchanged.
        fitting: figures on the rows the method saw, ``judged`` on rows it never saw.
        judged_scores, judged_decisions: of the result on the judged rows, in table order.
        warnings: what the user must not overlook.
    """

    case: Case
    judged_case: Case | None
    method: str
    options: Mapping[str, Any]
    objective: Objective
    seed: int
    holdout_share: float | None
    rule: DecisionRule
    state: dict[str, Tensor] | None
    result: Result
    identity: Result
    fitting: Comparison
    judged: Comparison
    judged_problem: Problem
    judged_scores: Tensor
    judged_decisions: Tensor
    warnings: tuple[str, ...]

    def save(self, output: str | Path | None = None, *, force: bool = False) -> Destination:
        """Write checkpoint, rule and reports (``fairfix.save.save``)."""
        from fairfix.save import save

        return save(self, output, force=force)


def make_objective(
    metric: str = "spd",
    budget: float = 0.05,
    *,
    margin: float | None = None,
    performance: str = "balanced_accuracy",
    kind: str = "constrained",
    weight: float = 0.75,
) -> Objective:
    """An objective from names.

    Raises:
        UsageError: for an unknown name or a value out of range.
    """
    if metric not in METRICS:
        raise UsageError(f"Metrics to debias are {', '.join(METRICS)}, not {metric!r}.")
    if performance not in PERFORMANCES:
        raise UsageError(f"Performances are {', '.join(PERFORMANCES)}, not {performance!r}.")
    return Objective(METRICS[metric], budget, margin, PERFORMANCES[performance], kind, weight)


def debias(
    case: Case,
    method: str,
    objective: Objective | None = None,
    *,
    test: Case | None = None,
    holdout_share: float = 0.3,
    seed: int = 0,
    fold: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a method on fitting rows and judge it once on rows it never saw.

    Args:
        case: model and table, from ``fairfix.case.load``.
        method: its name; ``fairfix.methods.names()`` lists them.
        objective: what is optimised; the default is spd within 0.05 at best balanced accuracy.
        test: rows to judge on (``case.companion``); without it ``holdout_share`` of the case's
            rows, drawn by label and group, are kept away from the method.
        seed: of every random choice; equal seeds give equal bytes.
        fold: move the threshold into the last layer's bias, so that a cut at 0.5 is right.
        options: of the method, by name.

    Raises:
        FairfixError: of the kind that fits. Nothing is written.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"A seed is a whole number from 0 to 2**63 - 1, not {seed}.")
    objective = objective or Objective()
    described = methods.get(method)
    chosen = described.checked(dict(options or {}))
    if test is not None:
        fitting, judged = case.problem, test.problem
    else:
        fitting, judged = _split(case, holdout_share, seed)
    _check_defined(fitting, objective, "fitting")
    _check_defined(judged, objective, "judged")
    result = described.run()(fitting, objective, seed=seed, **chosen)
    identity = methods.get("identity").run()(fitting, objective, seed=seed)
    state, scorer, policy = _as_stored(case, fitting, objective, result)
    if fold:
        if scorer is None:
            raise UsageError("A threshold can be folded into a network, not into scores alone.")
        if policy.needs_group:
            raise UsageError("Cuts by group cannot be folded into one bias.")
        scorer = fold_threshold(scorer, policy.thresholds(1)[0], fitting)
        policy, state = Policy.cut(0.5), _stored(case, scorer.weights())
        scorer.network.load_state_dict(state)
    salt = f"fairfix-{seed}"
    fitted, scores = _scores(fitting, scorer), _scores(judged, scorer)
    comparisons = [
        _compare(rows, after, policy, identity.policy, objective, salt)
        for rows, after in ((fitting, fitted), (judged, scores))
    ]
    outcome = Outcome(
        case=case,
        judged_case=test,
        method=method,
        options=chosen,
        objective=objective,
        seed=seed,
        holdout_share=None if test is not None else holdout_share,
        rule=_rule(case, objective, policy, state, salt),
        state=state,
        result=result,
        identity=identity,
        fitting=comparisons[0],
        judged=comparisons[1],
        judged_problem=judged,
        judged_scores=scores,
        judged_decisions=_decide(judged, scores, policy, salt),
        warnings=(),
    )
    warnings = [
        *_warnings(outcome),
        *_price_of_caution(outcome, replace(fitting, scores=fitted), policy),
    ]
    return replace(outcome, warnings=tuple(warnings))


def _split(case: Case, share: float, seed: int) -> tuple[Problem, Problem]:
    """The case's rows for fitting and for judging."""
    fit_rows, judged_rows = holdout(case.problem, share, seed)
    try:
        return case.problem.take(fit_rows), case.problem.take(judged_rows)
    except TableError as error:
        raise TableError(
            f"{case.table.path.name} has too few rows to keep some away for judging "
            f"({str(error).removesuffix('.')}); give more, or another table with --test."
        ) from None


def _check_defined(problem: Problem, objective: Objective, rows: str) -> None:
    """See that the gap has a value on these rows, whatever is decided.

    Raises:
        TableError: when a group has no rows that the metric needs.
    """
    metric = objective.metric
    everybody = torch.ones_like(problem.labels, dtype=torch.bool)
    if not metric(problem.counts(everybody)).size.isnan():
        return
    for g, name in enumerate(problem.group_names):
        labels = set(problem.labels[problem.groups == g].tolist())
        if len(labels) < 2:
            lacking = "unfavourable" if labels == {1} else "favourable"
            raise TableError(
                f"The {metric.title} is undefined on the {rows} rows: group {name!r} has no row "
                f"with {lacking} label. Give more rows, or another metric."
            )


def _as_stored(
    case: Case, fitting: Problem, objective: Objective, result: Result
) -> tuple[dict[str, Tensor] | None, Scorer | None, Policy]:
    """State, scorer and policy after rounding to the checkpoint's own number types.

    Where rounding moves the scores the cut is chosen anew, on the fitting rows.
    """
    if result.state is None:
        return None, fitting.scorer, result.policy
    state = _stored(case, result.state)
    scorer, features = fitting.network()
    scorer.network.load_state_dict(state)
    rounded = any(not torch.equal(state[k].to(v.dtype), v) for k, v in result.state.items())
    if not rounded:
        return state, scorer, result.policy
    cut = best_cut(
        scorer.score(features),
        fitting.labels,
        fitting.groups,
        fitting.n_groups,
        objective,
        fitting.weights,
    )
    return state, scorer, Policy.cut(float(cut.threshold))


def _stored(case: Case, state: dict[str, Tensor]) -> dict[str, Tensor]:
    assert case.checkpoint is not None
    on_cpu = {name: value.cpu() for name, value in state.items()}
    return checkpoints.stored_state(case.checkpoint, on_cpu)


def _scores(problem: Problem, scorer: Scorer | None) -> Tensor:
    if scorer is None or scorer is problem.scorer:
        return problem.scores
    assert problem.features is not None
    return scorer.score(problem.features)


def _compare(
    problem: Problem,
    scores: Tensor,
    policy: Policy,
    identity: Policy,
    objective: Objective,
    salt: str,
) -> Comparison:
    def judge(scores: Tensor, policy: Policy) -> Evaluation:
        decisions = _decide(problem, scores, policy, salt)
        cuts = policy.thresholds(problem.n_groups)
        return evaluate(problem, scores, decisions, objective, cuts)

    return Comparison(
        judge(problem.scores, Policy.cut(problem.threshold)),
        judge(problem.scores, identity),
        judge(scores, policy),
    )


def _decide(problem: Problem, scores: Tensor, policy: Policy, salt: str) -> Tensor:
    """Decisions (N,) bool of a policy on the rows of a problem.

    Raises:
        UsageError: when the policy draws lots and nothing tells the rows apart.
    """
    lots = None
    if policy.randomized:
        lots = draws(row_ids(problem.ids, problem.features), salt).to(scores.device)
    return policy.decide(scores, problem.groups, lots)


def _price_of_caution(outcome: Outcome, rows: Problem, policy: Policy) -> list[str]:
    """What the chance-constrained choice of cuts gave up, where that is much.

    ``rows`` are the fitting rows with the scores of the result.
    """
    objective = outcome.objective
    by_group = policy.needs_group and objective.metric.key in COORDINATES
    if objective.kind != "constrained" or objective.margin is not None or policy.randomized:
        return []
    bold = replace(objective, margin=objective.budget / 5)
    if by_group and objective.performance.key in GAINS:
        counts = best_group_cuts(rows, bold).counts
    elif not policy.needs_group:
        cut = best_cut(rows.scores, rows.labels, rows.groups, rows.n_groups, bold, rows.weights)
        counts = cut.counts.take(0)
    else:
        return []
    measure = objective.performance
    reached, kept = float(measure(counts)), outcome.fitting.debiased.performance[measure.key]
    if not bool(bold.met(counts)) or reached - kept < DEAR:
        return []
    return [
        f"to be surer of the budget on new rows the cut gave up {reached - kept:.3f} of "
        f"{measure.title} on the fitting rows: a cut by --margin {bold.margin:g} reaches "
        f"{reached:.3f} there, and breaks the budget on new rows more often"
    ]


def _rule(
    case: Case, objective: Objective, policy: Policy, state: dict[str, Tensor] | None, salt: str
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
        metric=objective.metric.key,
        budget=objective.budget,
        weights_sha256=weights,
    )


def _decision(names: tuple[str, ...], policy: Policy, salt: str) -> dict[str, Any]:
    """The fields of a rule that say what it decides."""
    if policy.randomized:
        return {"lottery": dict(zip(names, policy.steps, strict=True)), "salt": salt}
    if policy.needs_group:
        return {"thresholds": dict(zip(names, policy.thresholds(len(names)), strict=True))}
    return {"threshold": policy.thresholds(1)[0]}


def _warnings(outcome: Outcome) -> list[str]:
    """What must not be overlooked, as sentences without a full stop."""
    key, budget = outcome.objective.metric.key, outcome.objective.budget
    said = []
    for rows, comparison in (("fitting", outcome.fitting), ("judged", outcome.judged)):
        after = comparison.debiased
        size = after.gap_sizes[key]
        if math.isnan(size):
            said.append(f"{key} is undefined on the {rows} rows, so the budget is not met")
        elif not after.met:
            said.append(
                f"budget not met on the {rows} rows: abs({key}) = {size:.3f}, not < {budget:g}"
            )
        if after.trivial:
            said.append(f"the rule is trivial: it decides nearly all {rows} rows alike")
    auc = outcome.judged.original.performance["auc"]
    if auc < WRONG_WAY:
        said.append(
            f"the scores order the judged rows the wrong way round (AUC {auc:.3f}): is the output "
            "label right?"
        )
    if outcome.fitting.debiased.objective < outcome.fitting.identity.objective:
        said.append(
            "on its own fitting rows the result is below the untouched network at its best cut"
        )
    return said

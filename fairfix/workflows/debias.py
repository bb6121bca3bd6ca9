"""The one path from a case to a judged result: split, method, judge. Command, library and bench
all come through here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.data.splitting import apart, check_seed, check_share
from fairfix.data.table import Group
from fairfix.errors import TableError, UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import learned
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import METRICS, PERFORMANCES
from fairfix.models import checkpoint as checkpoints
from fairfix.models.scorer import Scorer
from fairfix.stats.evaluation import Evaluation, evaluate
from fairfix.thresholds.folding import fold_threshold
from fairfix.thresholds.policy import Policy, draws, row_ids
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.shared import best_cut
from fairfix.thresholds.tradeoff_curve import Point, frontier
from fairfix.workflows.case import Case
from fairfix.workflows.warnings import cautions

if TYPE_CHECKING:
    from fairfix.workflows.evidence import Evidence
    from fairfix.workflows.save import Destination


@dataclass(frozen=True)
class Comparison:
    """The same rows under the cut deployed today, the untouched network at its best cut
    (``identity``), and the result."""

    original: Evaluation
    identity: Evaluation
    debiased: Evaluation


@dataclass(frozen=True)
class Decided:
    """Rows and what is decided on them.

    Attributes:
        problem: with the scores of the untouched network; ``scores`` (N,) are the result's.
        original, identity, debiased: decisions (N,) bool, as in ``Comparison``.
        groups: every protected column on these rows, the one debiased first.
    """

    problem: Problem
    scores: Tensor
    original: Tensor
    identity: Tensor
    debiased: Tensor
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Outcome:
    """What ``debias`` found.

    Attributes:
        state: the network's new state as the checkpoint will hold it; None = unchanged.
        fitting: figures on the rows the method saw, ``judged`` on rows it never saw.
        fitting_rows, judged_rows: the rows themselves, in table order.
        confidence: 1 - alpha of each one-sided test of the evidence; ``strict`` takes exact limits.
        frontier: what other cuts of the result's scores would have given on the fitting rows.
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
    fitting_rows: Decided
    judged_rows: Decided
    confidence: float
    strict: bool
    frontier: tuple[Point, ...]
    warnings: tuple[str, ...]

    def evidence(self) -> Evidence:
        """What the judged rows show: intervals, the verdict, who gained and who lost."""
        from fairfix.workflows.evidence import evidence

        return evidence(self)

    def save(
        self,
        output: str | Path | None = None,
        *,
        force: bool = False,
        export: str | Path | None = None,
    ) -> Destination:
        """Write checkpoint, rule and reports (``fairfix.workflows.save.save``).

        ``export`` names a .pt or .pt2 file for network and cuts as one program, cut at 0.5.
        """
        from fairfix.workflows.save import save

        return save(self, output, force=force, export_to=export)


def make_objective(
    metric: str = "spd",
    budget: float = 0.05,
    *,
    margin: float | None = None,
    performance: str = "balanced_accuracy",
    kind: str = "constrained",
    weight: float = 0.75,
    risk: float | None = None,
    k: float = Objective.k,
) -> Objective:
    """An objective from names; the rest as ``Objective`` says.

    Raises:
        UsageError: for an unknown name or a value out of range.
    """
    if metric not in METRICS:
        raise UsageError(f"Metrics to debias are {', '.join(METRICS)}, not {metric!r}.")
    if performance not in PERFORMANCES:
        raise UsageError(f"Performances are {', '.join(PERFORMANCES)}, not {performance!r}.")
    measure = PERFORMANCES[performance]
    return Objective(METRICS[metric], budget, margin, measure, kind, weight, k, risk)


def checked_options(
    method: str,
    options: Mapping[str, Any] | None = None,
    *,
    holdout_share: float | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All options of a method, defaults filled in; what can be checked before anything is read.

    Raises:
        UsageError: for a method, option, share or seed that is none.
    """
    check_seed(seed)
    if holdout_share is not None:
        check_share(holdout_share)
    return methods.get(method).checked(dict(options or {}))


def debias(
    case: Case,
    method: str,
    objective: Objective | None = None,
    *,
    test: Case | None = None,
    holdout_share: float = 0.3,
    seed: int = 0,
    fold: bool = False,
    confidence: float = 0.95,
    strict: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a method on fitting rows and judge it once on rows it never saw.

    Args:
        case: model and table, from ``fairfix.workflows.case.load``.
        method: its name; ``fairfix.methods.names()`` lists them.
        objective: what is optimized; the default is spd within 0.05 at best balanced accuracy.
        test: rows to judge on (``case.companion``); without it ``holdout_share`` of the case's
            rows, drawn by label and group, are kept away from the method.
        seed: of every random choice; equal seeds give equal bytes.
        fold: move the threshold into the last layer's bias, so that a cut at 0.5 is right.
        confidence: 1 - alpha of each one-sided test of what the judged rows show, in (0.5, 1).
        strict: exact (Clopper-Pearson) limits for every rate, else only where rows are few.
        options: of the method, by name.

    Raises:
        FairfixError: of the kind that fits. Nothing is written.
    """
    chosen = checked_options(
        method, options, holdout_share=holdout_share if test is None else None, seed=seed
    )
    objective = objective or Objective()
    described = methods.get(method)
    check_confidence(confidence)
    if test is not None:
        fitting, judged = case.problem, test.problem
        groups = case.table.groups, test.table.groups
    else:
        fitting, judged, groups = _split(case, holdout_share, seed)
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
    fitted, rows = (
        _decided(problem, _scores(problem, scorer), identity.policy, policy, salt, columns)
        for problem, columns in zip((fitting, judged), groups, strict=True)
    )
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
        fitting=_compare(fitted, identity.policy, policy, objective),
        judged=_compare(rows, identity.policy, policy, objective),
        fitting_rows=fitted,
        judged_rows=rows,
        confidence=confidence,
        strict=strict,
        frontier=frontier(
            replace(fitting, scores=fitted.scores),
            policy,
            learned(objective) if state else objective,
        ),
        warnings=(),
    )
    return replace(outcome, warnings=cautions(outcome))


Groups = tuple[Group, ...]


def check_confidence(confidence: float) -> None:
    """Raise UsageError for what is no confidence of a one-sided test."""
    if not 0.5 < confidence < 1:
        raise UsageError(f"A confidence lies between 0.5 and 1, not {confidence}.")


def _split(case: Case, share: float, seed: int) -> tuple[Problem, Problem, tuple[Groups, Groups]]:
    """The case's rows for fitting and for judging, and the protected columns of each."""
    (fit_rows, fitting), (judged_rows, judged) = apart(
        case.problem, share, seed, case.table.path.name
    )

    def groups(rows: Tensor) -> Groups:
        at = rows.cpu().numpy()
        return tuple(replace(group, ids=group.ids[at]) for group in case.table.groups)

    return fitting, judged, (groups(fit_rows), groups(judged_rows))


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
            lacking = "unfavorable" if labels == {1} else "favorable"
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


def _decided(
    problem: Problem, scores: Tensor, identity: Policy, policy: Policy, salt: str, groups: Groups
) -> Decided:
    return Decided(
        problem=problem,
        scores=scores,
        original=problem.scores > problem.threshold,
        identity=_decide(problem, problem.scores, identity, salt),
        debiased=_decide(problem, scores, policy, salt),
        groups=groups,
    )


def _compare(rows: Decided, identity: Policy, policy: Policy, objective: Objective) -> Comparison:
    problem = rows.problem

    def judge(scores: Tensor, decisions: Tensor, policy: Policy) -> Evaluation:
        cuts = policy.thresholds(problem.n_groups)
        return evaluate(problem, scores, decisions, objective, cuts)

    return Comparison(
        judge(problem.scores, rows.original, Policy.cut(problem.threshold)),
        judge(problem.scores, rows.identity, identity),
        judge(rows.scores, rows.debiased, policy),
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

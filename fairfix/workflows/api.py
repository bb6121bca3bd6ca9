"""The public functions that debias and evaluate: keyword arguments around the workflows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fairfix.data.table_source import Data
from fairfix.errors import UsageError
from fairfix.methods import MethodFunction
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.api_outcome import Outcome
from fairfix.workflows.audit import Audit, choose_rule
from fairfix.workflows.audit import audit as audit_case
from fairfix.workflows.case import Case
from fairfix.workflows.compared import compared_model
from fairfix.workflows.debias import debias as debias_case
from fairfix.workflows.debias import make_objective
from fairfix.workflows.documents import report_document
from fairfix.workflows.gate.demands import Kind, demands_of, selection_change
from fairfix.workflows.gate.gate import Gate, Judged
from fairfix.workflows.gate.gate import gate as gate_case
from fairfix.workflows.gate.reused_rows import reuse, reuse_by, reuse_in
from fairfix.workflows.library_messages import in_library_terms


def called_objective(
    metric: str,
    budget: float,
    margin: float | Literal["auto"],
    performance: str,
    kind: Literal["constrained", "tradeoff"],
    lambda_: float | None,
    risk: float | Literal["low", "medium", "high"] | None,
    k: float | None,
) -> Objective:
    """Return what is optimized, from the arguments of ``debias``.

    Raises:
        UsageError: an argument is invalid, or has no effect together with the others.
    """
    if lambda_ is not None and kind != "tradeoff":
        raise UsageError("lambda_ weighs the gap in the trade-off objective: objective='tradeoff'.")
    return make_objective(
        metric,
        budget,
        margin=None if margin == "auto" else margin,
        performance=performance,
        kind=kind,
        lambda_=Objective.lambda_ if lambda_ is None else lambda_,
        risk=risk,
        k=k,
    )


@in_library_terms
def debias(
    case: Case,
    method: str | MethodFunction,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    margin: float | Literal["auto"] = "auto",
    performance: str = "balanced_accuracy",
    objective: Literal["constrained", "tradeoff"] = "constrained",
    lambda_: float | None = None,
    risk: float | Literal["low", "medium", "high"] | None = None,
    k: float | None = None,
    test: Case | Data | None = None,
    unlabeled: Case | Data | None = None,
    holdout: float = 0.3,
    seed: int = 0,
    fold_threshold: bool = False,
    recalibrate: bool = True,
    confidence: float = 0.95,
    strict: bool = False,
    also: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
    ceilings: Mapping[str, float] | None = None,
    selection_rate_change: float | None = None,
    subgroups: bool = True,
    **options: Any,
) -> Outcome:
    """Run a method on validation rows and evaluate the result on rows it never saw.

    Args:
        case: model and validation rows, from ``load``; they are not changed.
        method: a name from ``fairfix.methods.names()``, or a function as
            ``fairfix.methods.register`` describes it, registered or not.
        metric: key of the fairness metric, from ``fairfix.metrics.names()``, or "aucd" for methods
            that change weights.
        budget: largest allowed absolute gap, in (0, 1).
        margin: "auto" weighs performance with the chance that the budget holds on new rows; a
            number in [0, budget) asks for a gap below budget - margin on the validation rows.
        performance: "balanced_accuracy", "accuracy" or "f1"; or "precision" or "recall" together
            with a limit on the other, such as ``floors={"recall": 0.6}``; or "auc" with one on
            "balanced_accuracy", for methods that change scores.
        objective: "constrained", or "tradeoff" with the weight ``lambda_`` in [0, 1].
        risk: "low", "medium" (as without) or "high" weighs performance more and surety less; a
            number in (0, 1) is the largest allowed chance of missing the budget, instead of
            weighing.
        k: factor on the standard error of the gap, above 0; by default the method's own.
        test: test rows; without them a share ``holdout`` in (0, 1) of the case's rows is held out.
        unlabeled: further rows, with groups but without labels, that sharpen selection rates for
            "blind" and "finetune"; no test row may be among them.
        seed: equal seeds give equal bytes.
        fold_threshold: move the threshold into the last bias, so that 0.5 is the threshold.
        recalibrate: fit the scores of changed weights to the labels of the validation rows, without
            changing a decision; not with ``fold_threshold``.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        also, floors, ceilings: further budgets and limits, as ``gate`` takes them. The search
            weighs performance by the chance that all hold, and the test rows test each.
        selection_rate_change: largest change of the selection rate relative to the decisions in
            use today, likewise.
        subgroups: whether the evidence includes a search for subgroups.
        options: the method's own.

    Raises:
        FairfixError: nothing is written.
    """
    level = ConfidenceLevel(confidence, strict)
    goal = called_objective(metric, budget, margin, performance, objective, lambda_, risk, k)
    if test is not None and not isinstance(test, Case):
        test = case.companion(test)
    if unlabeled is not None and not isinstance(unlabeled, Case):
        unlabeled = case.companion(unlabeled, allow_no_labels=True)
    outcome = debias_case(
        case,
        method,
        goal,
        test=test,
        unlabeled=unlabeled,
        holdout_share=holdout,
        seed=seed,
        fold=fold_threshold,
        recalibrate=recalibrate,
        confidence=level,
        promises=[
            *demands_of(Kind.BUDGET, also),
            *demands_of(Kind.FLOOR, floors),
            *demands_of(Kind.CEILING, ceilings),
            *selection_change(selection_rate_change),
        ],
        subgroups=subgroups,
        options=options,
    )
    return Outcome.of(outcome)


@in_library_terms
def audit(
    case: Case,
    rule: DecisionRule | str | Path | None = None,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    confidence: float = 0.95,
    strict: bool = False,
    subgroups: bool = True,
    compare: Mapping[str, Case] | None = None,
) -> Audit:
    """Measure every metric with its interval, by group column, intersection and subgroup.

    Args:
        case: model and rows, from ``load``; they are not changed.
        rule: a rule, a rule file, or None for the one that belongs to the checkpoint; if there is
            none, the case's threshold.
        metric, budget: the claim to test.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        subgroups: whether to search for subgroups.
        compare: other models on the same rows, by name, each decided by its own rule.

    Raises:
        FairfixError: if the rule does not belong to the model, or models have other rows.
    """
    level = ConfidenceLevel(confidence, strict)
    rule, _ = choose_rule(case, rule)
    objective = make_objective(metric, budget)
    found = audit_case(case, rule, objective, confidence=level, subgroups=subgroups)
    others = {
        name: audit_case(each, choose_rule(each)[0], objective, confidence=level, subgroups=False)
        for name, each in (compare or {}).items()
    }
    compared = (compared_model(found, other, name) for name, other in others.items())
    return replace(found, compared=tuple(compared))


@in_library_terms
def gate(
    case: Case,
    budgets: Mapping[str, float] | None = None,
    *,
    also: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
    ceilings: Mapping[str, float] | None = None,
    max_drops: Mapping[str, float] | None = None,
    selection_rate_change: float | None = None,
    baseline: Case | None = None,
    rule: DecisionRule | Outcome | str | Path | None = None,
    confidence: float = 0.95,
    strict: bool = False,
    on_inconclusive: Literal["fail", "warn"] = "fail",
    require_unseen: bool = False,
    no_serious_warnings: bool = False,
) -> Gate:
    """Check a model against budgets and floors; ``Gate.exit_code`` is the verdict as a number.

    Args:
        case: model and test rows, none of which a method may have used.
        budgets: largest allowed gap by metric key, in (0, 1), of the groups of the first group
            column; ``"spd@race"`` names another. None takes the budget that the rule was made for.
        also: further budgets, which do not replace that of the rule.
        floors: lowest allowed performance or rate by its key, in (0, 1); ``"di"`` is a ratio, and
            ``"tpr.min"`` or ``"tpr.min@race"`` the smallest rate of any group.
        ceilings: highest allowed performance or rate by its key, in (0, 1).
        max_drops: largest allowed fall below the performance of ``baseline``, in [0, 1).
        selection_rate_change: largest change of the selection rate relative to the baseline's.
        baseline: the same rows with the other model; needed with the last two alone.
        rule: an outcome of ``debias``, a rule, a rule file, or None for the one that belongs to the
            checkpoint. A rule alone does not tell which rows it was tuned on; an outcome does.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        on_inconclusive: "warn" lets inconclusive demands pass with a warning.
        require_unseen: let nothing pass if the rows cannot be compared with the tuned ones.
        no_serious_warnings: let nothing pass with a serious warning.

    Raises:
        UsageError: if a demand is invalid, or if most of the rows were used for tuning.

    Example:
        >>> import fairfix
        >>> model, table = samples / "loh/model.pt", samples / "loh/test.csv"
        >>> case = fairfix.load(model, table, arch="mlp:relu-bn")
        >>> found = gate(case, {"spd": 0.05})
        >>> found.exit_code, str(found.checks[0].verdict)
        (1, 'violated')
    """
    level = ConfidenceLevel(confidence, strict)
    demands = [
        *demands_of(Kind.BUDGET, budgets),
        *demands_of(Kind.FLOOR, floors),
        *demands_of(Kind.CEILING, ceilings),
        *demands_of(Kind.MAX_DROP, max_drops),
        *selection_change(selection_rate_change),
    ]
    if isinstance(rule, Outcome):
        reused = reuse_in(case, report_document(rule), "the outcome's report")
        rule = rule.rule
    elif isinstance(rule, DecisionRule):
        reused = reuse_by(case, rule)
    else:
        reused = reuse(case, None if rule is None else Path(rule))
    return gate_case(
        Judged.by(case, *choose_rule(case, rule, by_name=True)),
        demands,
        also=demands_of(Kind.BUDGET, also),
        model="-" if case.checkpoint is None else case.checkpoint.name,
        reuse=reused,
        baseline=None
        if baseline is None
        else Judged.by(baseline, *choose_rule(baseline, by_name=True)),
        confidence=level,
        lenient=on_inconclusive == "warn",
        require_unseen=require_unseen,
        no_serious_warnings=no_serious_warnings,
    )

"""The public functions that read and evaluate: keyword arguments around the workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fairfix.errors import UsageError
from fairfix.methods import MethodFunction
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.audit import Audit, choose_rule
from fairfix.workflows.audit import audit as audit_case
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias as debias_case
from fairfix.workflows.debias import make_objective
from fairfix.workflows.gate.demands import Kind, demands_of, selection_change
from fairfix.workflows.gate.gate import Gate, Judged
from fairfix.workflows.gate.gate import gate as gate_case
from fairfix.workflows.gate.reused_rows import reuse
from fairfix.workflows.library_arguments import column_roles
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.open_case import open_case
from fairfix.workflows.outcome import Outcome
from fairfix.workflows.predict import Predictions
from fairfix.workflows.predict import predict as predict_table
from fairfix.workflows.training import with_training


@in_library_terms
def load(
    model: str | Path | None,
    data: str | Path,
    *,
    label: str | Sequence[str] | None = None,
    target: str | None = None,
    favorable: object = None,
    unfavorable: object = (),
    group: str | Sequence[str] | None = None,
    privileged: object = None,
    reference: object = None,
    missing_group: Literal["error", "keep"] | None = None,
    id: str | None = None,
    ignore: Sequence[str] | None = None,
    weight: str | None = None,
    cluster: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    threshold: float = 0.5,
    rule: str | Path | None = None,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    data_spec: str | Path | None = None,
    output_kind: Literal["auto", "prob", "logit"] = "auto",
    output_name: str | None = None,
    output_label: str | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    checkpoint_key: str | None = None,
    threads: int | None = None,
    train: str | Path | None = None,
) -> Case:
    """Read a model and a labeled, group-labeled table, and run the model on it once.

    What is not given is taken from the contract of the rule, which also names the network's inputs.
    Without a column of labels, ``audit`` and ``gate`` measure what decisions alone define.

    Args:
        model: a checkpoint; None if ``score`` names a column of scores.
        data: a CSV, CSV.gz or Parquet file.
        label: the label column, by default "label"; ``favorable`` is its favorable value, by
            default 1. Several are those of a network with one output for each, in their order.
        target: which of several label columns; rows without its value are left out.
        unfavorable: the other label values, needed if there are several; "others" takes all.
        group: the group column, by default "group", or several, of which the first is debiased;
            ``privileged`` is the privileged value of the first.
        reference: instead of ``privileged``, to compare that group with all others together.
        missing_group: "keep" makes rows without a group value a group of their own.
        id: column that identifies a row, for randomized thresholds and reports.
        ignore: columns that are not features.
        weight: column of non-negative row weights.
        cluster: column that names the cluster of a row, such as a person with several rows.
        features: feature columns in the order of the network's inputs; by default all columns
            without another role, in file order.
        score: column of scores in [0, 1], instead of a model.
        threshold: the threshold in use today, in [-1, 1]; positive where score > threshold.
        rule: a rule file; by default the one in the checkpoint or beside it.
        arch: the architecture of bare weights: "file.py:Class", "package.module:callable" or
            "mlp:relu"; ``arch_args`` are its keyword arguments.
        trust: allow code from the checkpoint to run.
        data_spec: JSON file that maps raw columns to inputs; by default the one beside the model.
        output_kind: how the output is read, "prob" or "logit"; "auto" follows from its last
            operation.
        output_name: key or position of the output with the scores, if the network has several.
        output_label: the label value whose probability the network gives; by default 1.
        classes: the label value of each output, if the network has more than two.
        device: "auto" takes a GPU if there is one.
        batch_size: rows run at once; None chooses it from the network's memory per row.
        checkpoint_key: which of several networks: a dotted prefix of its tensors' names.
        threads: CPU threads; None takes 1 for small networks and all for large ones.
        train: a table of training rows, which methods that learn by gradients then learn from;
            candidates are chosen on ``data``. It needs a group column only where a method does.

    Raises:
        FairfixError: the fact and the remedy. ``TableError``, ``CheckpointError``, ``TrustError``
            and ``UsageError`` are its kinds.
    """
    given = column_roles(
        label=label,
        target=target,
        favorable=favorable,
        unfavorable=unfavorable,
        groups=group,
        privileged=privileged,
        reference=reference,
        id=id,
        ignore=ignore,
        weight=weight,
        cluster=cluster,
        features=features,
        score=score,
        missing_group=missing_group,
    )
    how = (arch, arch_args, trust, data_spec, output_kind, output_name, output_label)
    options = ModelOptions(*how, device, batch_size, checkpoint_key, threads, classes=classes)
    case = open_case(
        model,
        data,
        given,
        options,
        threshold=threshold,
        rule=None if rule is None else Path(rule),
        decides=rule is not None,
        require_labels=False,
    )
    return case if train is None else with_training(case, train)


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
    test: Case | str | Path | None = None,
    unlabeled: Case | str | Path | None = None,
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
        metric: key of the fairness metric, from ``fairfix.metrics.names()``.
        budget: largest allowed absolute gap, in (0, 1).
        margin: "auto" weighs performance with the chance that the budget holds on new rows; a
            number in [0, budget) asks for a gap below budget - margin on the validation rows.
        performance: "balanced_accuracy", "accuracy" or "f1".
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
    if lambda_ is not None and objective != "tradeoff":
        raise UsageError("lambda_ weighs the gap in the trade-off objective: objective='tradeoff'.")
    if test is not None and not isinstance(test, Case):
        test = case.companion(test)
    if unlabeled is not None and not isinstance(unlabeled, Case):
        unlabeled = case.companion(unlabeled, allow_no_labels=True)
    return debias_case(
        case,
        method,
        make_objective(
            metric,
            budget,
            margin=None if margin == "auto" else margin,
            performance=performance,
            kind=objective,
            lambda_=Objective.lambda_ if lambda_ is None else lambda_,
            risk=risk,
            k=k,
        ),
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
) -> Audit:
    """Measure every metric with its interval, by group column, intersection and subgroup.

    Args:
        case: model and rows, from ``load``; they are not changed.
        rule: a rule, a rule file, or None for the one that belongs to the checkpoint; if there is
            none, the case's threshold.
        metric, budget: the claim to test.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        subgroups: whether to search for subgroups.

    Raises:
        FairfixError: if the rule does not belong to the model.
    """
    level = ConfidenceLevel(confidence, strict)
    rule, _ = choose_rule(case, rule)
    objective = make_objective(metric, budget)
    return audit_case(case, rule, objective, confidence=level, subgroups=subgroups)


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
    rule: DecisionRule | str | Path | None = None,
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
        rule: a rule, a rule file, or None for the one that belongs to the checkpoint.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        on_inconclusive: "warn" lets inconclusive demands pass with a warning.
        require_unseen: let nothing pass if the rows cannot be compared with the tuned ones.
        no_serious_warnings: let nothing pass with a serious warning.

    Raises:
        UsageError: if a demand is invalid, or if most of the rows were used for tuning.

    Example:
        >>> case = load(samples / "loh/model.pt", samples / "loh/test.csv", arch="mlp:relu-bn")
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
    return gate_case(
        Judged.by(case, *choose_rule(case, rule, by_name=True)),
        demands,
        also=demands_of(Kind.BUDGET, also),
        model="-" if case.checkpoint is None else case.checkpoint.path.name,
        reuse=reuse(case, None if isinstance(rule, DecisionRule) or rule is None else Path(rule)),
        baseline=None
        if baseline is None
        else Judged.by(baseline, *choose_rule(baseline, by_name=True)),
        confidence=level,
        lenient=on_inconclusive == "warn",
        require_unseen=require_unseen,
        no_serious_warnings=no_serious_warnings,
    )


@in_library_terms
def predict(
    model: str | Path | None,
    data: str | Path,
    *,
    rule: str | Path | None = None,
    label: str | Sequence[str] | None = None,
    target: str | None = None,
    favorable: object = None,
    unfavorable: object = (),
    group: str | Sequence[str] | None = None,
    missing_group: Literal["error", "keep"] | None = None,
    id: str | None = None,
    ignore: Sequence[str] | None = None,
    weight: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    data_spec: str | Path | None = None,
    output_kind: Literal["auto", "prob", "logit"] = "auto",
    output_name: str | None = None,
    output_label: str | None = None,
    classes: Sequence[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    checkpoint_key: str | None = None,
) -> Predictions:
    """Score and decide the rows of a table by the rule that belongs to the model.

    Labels are not needed, and the group only if the rule has group thresholds; both columns are
    named so that they are not taken for features. Arguments are as for ``load``.

    Args:
        rule: a rule file; by default the one in the checkpoint or beside it, else score > 0.5.

    Raises:
        FairfixError: as ``load``.
    """
    given = column_roles(
        label=label,
        target=target,
        favorable=favorable,
        unfavorable=unfavorable,
        groups=group,
        id=id,
        ignore=ignore,
        weight=weight,
        features=features,
        score=score,
        missing_group=missing_group,
    )
    how = (arch, arch_args, trust, data_spec, output_kind, output_name, output_label)
    options = ModelOptions(*how, device, batch_size, checkpoint_key, classes=classes)
    return predict_table(model, data, given=given, options=options, rule=rule)

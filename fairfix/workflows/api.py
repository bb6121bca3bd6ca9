"""The public functions: keyword arguments around the workflows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from fairfix._utils.text import did_you_mean
from fairfix.data.table import Columns
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.audit import Audit, choose_rule
from fairfix.workflows.audit import audit as audit_case
from fairfix.workflows.case import Case, ModelOptions
from fairfix.workflows.case import load as load_case
from fairfix.workflows.debias import debias as debias_case
from fairfix.workflows.debias import make_objective
from fairfix.workflows.export import export_file
from fairfix.workflows.gate.demands import Demand, Kind
from fairfix.workflows.gate.gate import Gate, Judged
from fairfix.workflows.gate.gate import gate as gate_case
from fairfix.workflows.gate.reused_rows import reuse
from fairfix.workflows.outcome import Outcome
from fairfix.workflows.predict import Predictions
from fairfix.workflows.predict import predict as predict_table
from fairfix.workflows.save import Destination
from fairfix.workflows.save import save as save_outcome


def load(
    model: str | Path | None,
    data: str | Path,
    *,
    label: str = "label",
    favorable: object = None,
    group: str | Sequence[str] = "group",
    privileged: object = None,
    missing_group: Literal["error", "keep"] = "error",
    id: str | None = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    threshold: float = 0.5,
    **model_options: Any,
) -> Case:
    """Read a model and a labeled, grouped table, and check that they fit together.

    Args:
        model: a checkpoint; None when ``score`` names a column of scores.
        data: CSV, CSV.gz or Parquet.
        label, favorable: the label column and its favorable value (default: the value 1).
        group, privileged: the protected columns, of which the first is debiased, and its
            privileged value.
        missing_group: "keep" makes rows without a group value a group of their own.
        id, ignore, weight, features, score: further columns, as on the command line.
        threshold: the cut deployed today, in [-1, 1].
        model_options: fields of ``fairfix.workflows.case.ModelOptions``: ``arch``, ``arch_args``,
            ``trust``, ``data_spec``, ``output_kind``, ``output_label``, ``device``, ``batch_size``.

    Raises:
        FairfixError: of the kind that fits, with the fact and the remedy.
    """
    options = _model_options(load, model_options)
    columns = Columns(
        label=label,
        favorable=_written(favorable),
        groups=_several(group),
        privileged=_written(privileged),
        id=id,
        ignore=tuple(ignore),
        weight=weight,
        features=None if features is None else tuple(features),
        score=score,
        missing_group=missing_group,
    )
    return load_case(model, data, columns=columns, options=options, threshold=threshold)


def debias(
    case: Case,
    method: str,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    margin: float | Literal["auto"] = "auto",
    performance: str = "balanced_accuracy",
    objective: Literal["constrained", "tradeoff"] = "constrained",
    lambda_: float | None = None,
    risk: float | None = None,
    k: float = Objective.k,
    test: Case | str | Path | None = None,
    holdout: float = 0.3,
    seed: int = 0,
    fold_threshold: bool = False,
    confidence: float = 0.95,
    strict: bool = False,
    **options: Any,
) -> Outcome:
    """Run a method on a case and judge the result on rows the method never saw.

    Args:
        method: ``fairfix.methods.names()`` lists them; ``options`` are its own.
        metric, budget, margin, performance, objective, lambda_, risk, k: what is optimized, as
            ``fairfix.metrics.objective.Objective`` says; ``lambda_`` goes with "tradeoff" alone,
            ``risk`` and ``k`` with margin "auto" and "constrained".
        test: rows to judge on; without them ``holdout`` is the share of rows kept for judging.
        seed: equal seeds give equal bytes.
        fold_threshold: move the threshold into the last bias, so that a cut at 0.5 is right.
        confidence, strict: of the verdict, as ``fairfix.stats.confidence.ConfidenceLevel`` says.
    """
    level = ConfidenceLevel(confidence, strict)
    if lambda_ is not None and objective != "tradeoff":
        raise UsageError("lambda_ weighs the gap in the trade-off objective: objective='tradeoff'.")
    if test is not None and not isinstance(test, Case):
        test = case.companion(test)
    return debias_case(
        case,
        method,
        make_objective(
            metric,
            budget,
            margin=None if margin == "auto" else margin,
            performance=performance,
            kind=objective,
            weight=Objective.weight if lambda_ is None else lambda_,
            risk=risk,
            k=k,
        ),
        test=test,
        holdout_share=holdout,
        seed=seed,
        fold=fold_threshold,
        confidence=level,
        options=options,
    )


def audit(
    case: Case,
    rule: DecisionRule | str | Path | None = None,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    confidence: float = 0.95,
    strict: bool = False,
) -> Audit:
    """Every metric of a case with its interval, by every group column; nothing is changed.

    Args:
        rule: a rule, a rule file, or None for the one that belongs to the checkpoint; where there
            is none the case is cut at its threshold.
        metric, budget: what is held against a budget; confidence, strict: how surely, as
            ``fairfix.workflows.audit.audit`` says.
    """
    level = ConfidenceLevel(confidence, strict)
    rule, _ = _rule_of(case, rule)
    objective = make_objective(metric, budget)
    return audit_case(case, rule, objective, confidence=level)


def gate(
    case: Case,
    budgets: Mapping[str, float] | None = None,
    *,
    floors: Mapping[str, float] | None = None,
    max_drops: Mapping[str, float] | None = None,
    baseline: Case | None = None,
    rule: DecisionRule | str | Path | None = None,
    confidence: float = 0.95,
    strict: bool = False,
    on_inconclusive: Literal["fail", "warn"] = "fail",
) -> Gate:
    """Check a model against budgets and floors; ``Gate.exit_code`` is the verdict as a number.

    Args:
        case: model and test rows, none of which a method may have used.
        budgets: largest allowed gap by metric key, in (0, 1); None takes the budget that the rule
            was made for.
        floors: lowest allowed performance by measure, in (0, 1).
        max_drops: largest allowed fall below the performance of ``baseline``, in [0, 1).
        baseline: the same rows with the other model; needed with ``max_drops`` alone.
        rule: a rule, a rule file, or None for the one that belongs to the checkpoint.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); ``strict`` takes exact limits.
        on_inconclusive: "warn" lets inconclusive demands pass with a warning.

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
        Demand(kind, key, limit)
        for kind, limits in (
            (Kind.BUDGET, budgets),
            (Kind.FLOOR, floors),
            (Kind.MAX_DROP, max_drops),
        )
        for key, limit in (limits or {}).items()
    ]
    return gate_case(
        Judged.by(case, *_rule_of(case, rule)),
        demands,
        model="-" if case.checkpoint is None else case.checkpoint.path.name,
        reuse=reuse(case, None if isinstance(rule, DecisionRule) or rule is None else Path(rule)),
        baseline=None if baseline is None else Judged.by(baseline, *choose_rule(baseline)),
        confidence=level,
        lenient=on_inconclusive == "warn",
    )


def save(
    outcome: Outcome,
    output: str | Path | None = None,
    *,
    force: bool = False,
    export: str | Path | None = None,
) -> Destination:
    """Write checkpoint, rule and reports, all of them or none; return where they are.

    Args:
        outcome: what ``debias`` returned.
        output: the new checkpoint; ``<stem>.debiased<suffix>`` beside the input by default.
        force: replace existing files. Inputs are never overwritten.
        export: a .pt or .pt2 file for network and thresholds as one program, to be thresholded at
            0.5.

    Raises:
        OutputError: if a file exists, is an input, or cannot be written.
        VerificationError: if the checkpoint, read back, decides differently than reported.
    """
    return save_outcome(outcome, output, force=force, export_to=export)


def export(outcome: Outcome, path: str | Path, *, force: bool = False) -> Path:
    """Write network and thresholds as one TorchScript (.pt) or ``torch.export`` (.pt2) program.

    Its output, thresholded at 0.5 (logits at 0), gives the decisions of the rule; they are compared
    on every row of the run.

    Raises:
        UsageError: for another suffix, randomized thresholds, or group thresholds where the group
            is not among the network's inputs.
        OutputError: if the file exists (without ``force``) or cannot be written.
        VerificationError: if the program decides differently.
    """
    return export_file(outcome, Path(path), force=force)


def predict(
    model: str | Path | None,
    data: str | Path,
    *,
    rule: str | Path | None = None,
    label: str = "label",
    favorable: object = None,
    group: str | Sequence[str] = "group",
    missing_group: Literal["error", "keep"] = "error",
    id: str | None = None,
    ignore: Sequence[str] = (),
    weight: str | None = None,
    features: Sequence[str] | None = None,
    score: str | None = None,
    **model_options: Any,
) -> Predictions:
    """Scores and decisions for the rows of a table, by the rule that belongs to the model.

    Labels are not needed, and the group only where the rule has a threshold for each; both columns
    are named so that they are not taken for features. Arguments are as in ``load``.
    """
    options = _model_options(predict, model_options)
    columns = Columns(
        label=label,
        favorable=_written(favorable),
        groups=_several(group),
        id=id,
        ignore=tuple(ignore),
        weight=weight,
        features=None if features is None else tuple(features),
        score=score,
        missing_group=missing_group,
    )
    return predict_table(model, data, columns=columns, options=options, rule=rule)


def _rule_of(case: Case, rule: DecisionRule | str | Path | None) -> tuple[DecisionRule, str]:
    """The rule to apply and its source in words."""
    if isinstance(rule, DecisionRule):
        return rule, "the given rule"
    return choose_rule(case, None if rule is None else Path(rule))


def _model_options(function: Callable[..., object], given: dict[str, Any]) -> ModelOptions:
    """The options of a model, from what a function was given beyond its own arguments.

    Raises:
        UsageError: with the nearest name, for an argument that is none.
    """
    known = [option.name for option in fields(ModelOptions)]
    for name in given:
        if name not in known:
            hint = did_you_mean(name, [*signature(function).parameters, *known])
            raise UsageError(f"{function.__name__} has no argument {name!r}{hint}")
    return ModelOptions(**given)


def _written(value: object) -> str | None:
    return None if value is None else str(value)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)

"""The library's front door: the command line's options as keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from fairfix.data.table import Columns
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.audit import Audit, choose_rule
from fairfix.workflows.audit import audit as audit_case
from fairfix.workflows.case import Case, ModelOptions
from fairfix.workflows.case import load as load_case
from fairfix.workflows.debias import Outcome, make_objective
from fairfix.workflows.debias import debias as debias_case
from fairfix.workflows.predict import Predictions
from fairfix.workflows.predict import predict as predict_table


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
        confidence, strict: of the verdict, as ``fairfix.workflows.debias.debias`` says.
    """
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
        confidence=confidence,
        strict=strict,
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
    if not isinstance(rule, DecisionRule):
        rule, _ = choose_rule(case, None if rule is None else Path(rule))
    objective = make_objective(metric, budget)
    return audit_case(case, rule, objective, confidence=confidence, strict=strict)


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


def _model_options(function: Callable[..., object], given: dict[str, Any]) -> ModelOptions:
    """The options of a model, from what a function was given beyond its own arguments.

    Raises:
        UsageError: with the nearest name, for an argument that is none.
    """
    known = [option.name for option in fields(ModelOptions)]
    for name in given:
        if name not in known:
            near = get_close_matches(name, [*signature(function).parameters, *known], 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UsageError(f"{function.__name__} has no argument {name!r}{hint}")
    return ModelOptions(**given)


def _written(value: object) -> str | None:
    return None if value is None else str(value)


def _several(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)

"""The library's front door: the command line's options as keyword arguments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from fairfix import case as cases
from fairfix import debias as path
from fairfix.audit import GroupAudit
from fairfix.audit import audit as audit_case
from fairfix.case import Case, ModelOptions
from fairfix.debias import Outcome, make_objective
from fairfix.predict import Predictions
from fairfix.predict import predict as predict_table
from fairfix.rule import DecisionRule
from fairfix.rulefile import find_rule, read_rule
from fairfix.table import Columns


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
    """Read a model and a labelled, grouped table, and check that they fit together.

    Args:
        model: a checkpoint; None when ``score`` names a column of scores.
        data: CSV, CSV.gz or Parquet.
        label, favorable: the label column and its favourable value (default: the value 1).
        group, privileged: the protected columns, of which the first is debiased, and its
            privileged value.
        missing_group: "keep" makes rows without a group value a group of their own.
        id, ignore, weight, features, score: further columns, as on the command line.
        threshold: the cut deployed today, in [-1, 1].
        model_options: fields of ``fairfix.case.ModelOptions``: ``arch``, ``arch_args``, ``trust``,
            ``data_spec``, ``output_kind``, ``output_label``, ``device``, ``batch_size``.

    Raises:
        FairfixError: of the kind that fits, with the fact and the remedy.
    """
    columns = Columns(
        label=label,
        favorable=_written(favorable),
        groups=(group,) if isinstance(group, str) else tuple(group),
        privileged=_written(privileged),
        id=id,
        ignore=tuple(ignore),
        weight=weight,
        features=None if features is None else tuple(features),
        score=score,
        missing_group=missing_group,
    )
    options = ModelOptions(**model_options)
    return cases.load(model, data, columns=columns, options=options, threshold=threshold)


def _written(value: object) -> str | None:
    return None if value is None else str(value)


def debias(
    case: Case,
    method: str,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    margin: float | Literal["auto"] = "auto",
    performance: str = "balanced_accuracy",
    objective: Literal["constrained", "tradeoff"] = "constrained",
    lambda_: float = 0.75,
    test: Case | str | Path | None = None,
    holdout: float = 0.3,
    seed: int = 0,
    fold_threshold: bool = False,
    **options: Any,
) -> Outcome:
    """Run a method on a case and judge the result on rows the method never saw.

    Args:
        method: ``fairfix.methods.names()`` lists them; ``options`` are its own.
        metric, budget, margin, performance, objective, lambda_: what is optimised, as
            ``fairfix.objectives.Objective`` says.
        test: rows to judge on; without them ``holdout`` is the share of rows kept for judging.
        seed: equal seeds give equal bytes.
        fold_threshold: move the threshold into the last bias, so that a cut at 0.5 is right.
    """
    if test is not None and not isinstance(test, Case):
        test = case.companion(test)
    return path.debias(
        case,
        method,
        make_objective(
            metric,
            budget,
            margin=None if margin == "auto" else margin,
            performance=performance,
            kind=objective,
            weight=lambda_,
        ),
        test=test,
        holdout_share=holdout,
        seed=seed,
        fold=fold_threshold,
        options=options,
    )


def audit(case: Case, rule: DecisionRule | str | Path | None = None) -> tuple[GroupAudit, ...]:
    """Every metric of a case, one entry a group column; nothing is changed.

    ``rule`` is a rule, a rule file, or None for the one that belongs to the checkpoint; where there
    is none the case is cut at its threshold.
    """
    found = rule if isinstance(rule, DecisionRule) else None
    if found is None and case.checkpoint is not None:
        found, _ = find_rule(case.checkpoint, None if rule is None else Path(str(rule)))
    elif found is None and rule is not None:
        found = read_rule(Path(str(rule)))
    return audit_case(case, found or DecisionRule(threshold=case.problem.threshold))


def predict(
    model: str | Path | None, data: str | Path, *, rule: str | Path | None = None, **columns: Any
) -> Predictions:
    """Scores and decisions for the rows of a table.

    ``columns`` are fields of ``fairfix.table.Columns`` and of ``fairfix.case.ModelOptions``.
    """
    options = {k: columns.pop(k) for k in tuple(columns) if k in ModelOptions.__dataclass_fields__}
    return predict_table(
        model, data, columns=Columns(**columns), options=ModelOptions(**options), rule=rule
    )

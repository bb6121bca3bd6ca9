"""Read a model, its rule, and a table whose columns are found by the rule's contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairfix._utils.detail import Detail
from fairfix.data.table_source import Data, table_source
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint
from fairfix.thresholds.label_rules import label_rules, rule_of_label
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import NO_RULE, FoundRule, beside, find_rule, rule_in
from fairfix.workflows.case import Case, check_options, load, read_model
from fairfix.workflows.classifier import Classifier, scored_by
from fairfix.workflows.given_values import check_given
from fairfix.workflows.model_options import Model, ModelOptions
from fairfix.workflows.named_columns import resolve_columns


def open_model(
    model: Model | None, options: ModelOptions, rule: DecisionRule | Path | None = None
) -> tuple[Checkpoint | None, FoundRule]:
    """Read a model and the rule that belongs to it.

    Args:
        model: a checkpoint or a network; None or "-" where a table has the scores.
        rule: a rule or its file; by default the rule in the checkpoint or beside it.

    Raises:
        CheckpointError: if the network cannot be read or run.
        UsageError: if the rule cannot be read or does not belong to the model.
    """
    if model is None or str(model) == "-":
        return None, NO_RULE if rule is None else rule_in(rule)
    checkpoint = read_model(model, options, rule if isinstance(rule, Path) else None)
    found = find_rule(checkpoint, rule)
    _check_architecture(options, found)
    return checkpoint, found


def _check_architecture(options: ModelOptions, found: FoundRule) -> None:
    """Raise UsageError if another plain network is named than the rule was made with."""
    contract = None if found.rule is None else found.rule.contract
    made_with = None if contract is None else contract.arch
    given = options.arch
    both = made_with is not None and given is not None and made_with != given
    if both and str(made_with).startswith("mlp:") and str(given).startswith("mlp:"):
        raise UsageError(
            f"The rule in {found.where} was made with --arch {made_with}, and {given} is another "
            f"network; give --arch {made_with}."
        )


def open_case(
    model: Model | Classifier | None,
    data: Data,
    given: Mapping[str, Any],
    options: ModelOptions,
    *,
    threshold: float = 0.5,
    rule: DecisionRule | Path | None = None,
    decides: bool = True,
    require_labels: bool = True,
) -> Case:
    """Read a model and a labeled table.

    Args:
        given: fields of ``Columns`` that the user set; the rule's contract has the others.
        rule: a rule or its file; by default the rule in the checkpoint or beside it.
        decides: whether the rule will decide. Otherwise only its contract is used, and a rule
            that does not belong to the model is noted and left out.
        require_labels: whether the table must have labels; if not, it may lack a label column
            that the user did not name.

    Raises:
        FairfixError: as ``load``.
    """
    check_options(options, threshold)
    scored, model, given = scored_by(model, given)
    options = options.completed(model, rule)
    notes: tuple[str, ...] = ()
    if decides:
        rule = rule_of_label(model, rule, given.get("label"))
    if decides or not isinstance(model, str | Path) or str(model) == "-":
        checkpoint, found = open_model(model, options, rule)
        check_given(given, options, found, measures=True)
        notes = page_warning(found)
    else:
        checkpoint, found = read_model(model, options), NO_RULE
        try:
            found = find_rule(checkpoint, label_rules(model).get(str(given.get("label"))))
        except UsageError as error:
            found = FoundRule(None, beside(checkpoint.file, ".rule.json").name)
            text = str(error).partition(". ")[0]
            notes = (f"no rule is used to find columns: {text[:1].lower()}{text[1:]}",)
    columns = resolve_columns(given, found.rule)
    if checkpoint is not None and given.get("score") is None:
        columns = replace(columns, score=None)
    source = table_source(data, columns)
    if scored is not None:
        source = scored.table(source, columns)
    case = load(
        checkpoint,
        source,
        columns=columns,
        options=options,
        threshold=threshold,
        found=found,
        require_labels=require_labels or given.get("label") is not None,
    )
    return replace(case, notes=(*notes, *case.notes), classifier=scored)


def rule_notes(found: FoundRule) -> tuple[str, ...]:
    """Describe where the decisions come from."""
    if found.rule is None:
        return ("no rule found: decisions by score > 0.5",)
    decided = f"decisions by the rule in {found.where}"
    return (Detail(decided, decided), *position_warning(found), *page_warning(found))


def position_warning(found: FoundRule) -> tuple[str, ...]:
    """Warn of a rule that does not know its columns."""
    if not found.by_position:
        return ()
    return (f"warning: columns by position, since the rule in {found.where} has no names of them",)


def page_warning(found: FoundRule) -> tuple[str, ...]:
    """Warn of pages beside the report that are not of the same run."""
    pages = found.foreign_pages
    if not pages or found.report is None:
        return ()
    shown = f"{' and '.join(pages)} {'shows' if len(pages) == 1 else 'show'}"
    return (f"warning: {shown} another report than {found.report.name}; debias again",)

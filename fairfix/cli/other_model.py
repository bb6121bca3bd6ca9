"""Another model on the rows of a gate or an audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import checkpoint_key_of
from fairfix.workflows.audit import choose_rule
from fairfix.workflows.case import Case, load
from fairfix.workflows.model_options import ModelOptions
from fairfix.workflows.open_case import open_model


def other_model(
    model: Path, data: Path, case: Case, options: ModelOptions, *, by_name: bool
) -> tuple[Case, DecisionRule, str]:
    """Return the rows with another model, its own rule, and the source of the rule.

    Its inputs and checkpoint key are those of its own rule, else those of the case.

    Args:
        by_name: refuse a rule that takes columns by position.
    """
    columns = case.columns
    if columns.score is not None:
        ignored = (*columns.ignore, columns.score)
        columns = replace(columns, score=None, ignore=ignored)
    key = checkpoint_key_of(model) or options.checkpoint_key
    options = replace(options, checkpoint_key=key)
    checkpoint, found = open_model(model, options)
    if found.contract is not None:
        columns = replace(columns, features=None)
    other = load(
        checkpoint,
        data,
        columns=columns,
        options=options,
        threshold=case.problem.threshold,
        found=found,
        require_labels=case.problem.labeled,
    )
    return other, *choose_rule(other, by_name=by_name)

"""Values that the user gives again and that the rule has already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairfix._utils.name_list import joined_names
from fairfix._utils.text import quoted_list
from fairfix.data.table import equal_values
from fairfix.data.table.labels import favorable_among
from fairfix.errors import UsageError
from fairfix.models.classes import Classes
from fairfix.thresholds.rule_file import FoundRule
from fairfix.workflows.model_options import ModelOptions


def check_given(
    given: Mapping[str, Any], options: ModelOptions, found: FoundRule, *, measures: bool
) -> None:
    """Check that given values agree with the rule.

    Args:
        given: fields of ``Columns`` that the user set.
        measures: whether gaps are measured, which may be those of other groups, with another sign.

    Raises:
        UsageError: names both values of the first that differs.
    """
    for option, value, ours in _values(given, options, found, measures=measures):
        if value is not None and not equal_values(value, ours):
            raise UsageError(
                f"--{option} is {value!r}, but the rule in {found.where} was made with {ours!r}; "
                f"leave out --{option}, or debias again with {value!r}."
            )
    groups = given.get("groups")
    made_for = () if found.contract is None else found.contract.roles.groups
    if not measures and groups is not None and made_for and not set(groups) & set(made_for):
        raise UsageError(
            f"--group is {quoted_list(groups)}, but the rule in {found.where} was made for "
            f"{quoted_list(made_for)}; leave out --group, or debias again."
        )


def _values(
    given: Mapping[str, Any], options: ModelOptions, found: FoundRule, *, measures: bool
) -> Iterator[tuple[str, str | None, str]]:
    """Yield each option with the given value and the rule's own."""
    rule, contract = found.rule, found.contract
    if rule is None:
        return
    targets = given.get("targets")
    if rule.targets is not None:
        yield "target", given.get("label"), rule.targets.target
        yield "label", targets and joined_names(targets), joined_names(rule.targets.names)
    elif targets and contract is not None and contract.reads_table:
        yield "label", joined_names(targets), contract.roles.label
    yield "output-label", options.output_label, rule.output_label
    if rule.classes is None or not _names_all(given.get("favorable"), rule.classes):
        yield "favorable", given.get("favorable"), rule.positive_label
    if options.classes is not None:
        classes = rule.classes.names if rule.classes else ()
        yield "classes", joined_names(options.classes), joined_names(classes or ("",))
    if measures or contract is None or not contract.roles.groups:
        return
    names = contract.group_values.get(contract.roles.groups[0], ())
    if len(names) == 2:
        yield "privileged", given.get("privileged"), names[1]
        yield "reference", given.get("reference"), names[1]


def _names_all(favorable: str | None, classes: Classes) -> bool:
    """Whether a text names the favorable classes, in any order."""
    if favorable is None:
        return False
    return favorable_among(favorable, classes.names) == classes.favorable_names

"""Audits and gates of a network with several labels: one label after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairfix.cli.option_values import OptionValues
from fairfix.errors import UsageError
from fairfix.thresholds.label_rules import label_rules


def for_each_label(
    values: OptionValues, model: str, alone: Mapping[str, object]
) -> dict[str, OptionValues]:
    """Return the values with each label as target; {} where one is chosen, or the network has one.

    Args:
        alone: by name, options of one label that were given or are None.

    Raises:
        UsageError: if one of them was given with several labels.
    """
    names = values.labels
    if values.target is not None or len(names) == 1:
        return {}
    found = {name: values.of_label(name) for name in names or label_rules(model)}
    for option, given in alone.items() if found else ():
        if given is not None:
            raise UsageError(
                f"--{option} works on one label at a time; name it with --target, or leave out "
                "the option."
            )
    return found


def labels_document(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the documents of all labels as one."""
    return {"schema_version": 1, "labels": dict(documents)}

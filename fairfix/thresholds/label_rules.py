"""The rules beside a network with several labels: one for each label, in a list of files."""

from __future__ import annotations

from pathlib import Path, PurePath

from fairfix._utils.strict_json import read_json
from fairfix._utils.text import did_you_mean, quoted_list
from fairfix.errors import UsageError
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import LABELS_SUFFIX, beside


def label_rules(model: object) -> dict[str, Path]:
    """Return the rule file of each label; {} without the list of labels beside the network.

    Args:
        model: its path; a network in memory has no list.

    Raises:
        UsageError: if the list cannot be read or names a file in another folder.
    """
    if not isinstance(model, str | Path) or str(model) == "-":
        return {}
    path = beside(Path(model), LABELS_SUFFIX)
    if not path.is_file():
        return {}
    document = read_json(path)
    labels = document.get("labels") if isinstance(document, dict) else None
    entries = labels.items() if isinstance(labels, dict) else ()
    found = {
        str(label): path.with_name(entry["rule"])
        for label, entry in entries
        if isinstance(entry, dict) and _is_name(entry.get("rule"))
    }
    if not found or len(found) < len(entries):
        raise UsageError(
            f"{path.name} does not name the rule of each label; restore the files that were "
            "written together, or debias again."
        )
    return found


def rule_of_label(
    model: object, rule: DecisionRule | Path | None, label: str | None
) -> DecisionRule | Path | None:
    """Return the rule or file that was given, else that of the label; None without any.

    Raises:
        UsageError: if the network has a rule for each of several labels and this is none of them.
    """
    files = {} if rule is not None else label_rules(model)
    if not files:
        return rule
    if label in files:
        return files[label]
    has = f"{PurePath(str(model)).name} has a rule for each of the labels {quoted_list(files)}"
    if label is None:
        raise UsageError(f"{has}; choose one with --target.")
    raise UsageError(f"{has}, not for {label!r}{did_you_mean(label, files)}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and PurePath(value).name == value and value != ".."

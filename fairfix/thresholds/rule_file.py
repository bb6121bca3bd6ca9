"""The file of a decision rule, ``*.rule.json``, and the rule that belongs to a checkpoint."""

from __future__ import annotations

from pathlib import Path

from fairfix._utils.strict_json import read_json
from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint, weights_sha256
from fairfix.thresholds.rule import DecisionRule


def read_rule(path: Path) -> DecisionRule:
    """Read the rule in a ``.rule.json`` file.

    Raises:
        UsageError: if the file cannot be read or does not hold a rule.
    """
    return DecisionRule.from_json(read_json(path), path.name)


def stem_of(path: Path, *, folder: bool) -> str:
    """Return the common stem of the files written next to a checkpoint.

    Args:
        path: the checkpoint.
        folder: whether it is a directory, whose suffix belongs to its name.
    """
    return path.name if folder or path.suffix == ".debiased" else path.stem


def find_rule(checkpoint: Checkpoint, path: Path | None = None) -> tuple[DecisionRule | None, str]:
    """Return the rule of a checkpoint and a description of where it was found.

    The rule is read from ``path`` if given, else from the checkpoint's metadata, else from the
    ``.rule.json`` file next to the checkpoint. None and "" if there is none.

    Raises:
        UsageError: if the rule cannot be read or was made for other weights.
    """
    rule, where = _locate(checkpoint, path)
    if rule is not None and rule.weights_sha256 not in (None, weights_sha256(checkpoint.tensors)):
        raise UsageError(
            f"The rule in {where} was made for other weights than those in "
            f"{checkpoint.path.name}. Name the rule that was written with them (--rule), or debias "
            "again."
        )
    return rule, where


def _locate(checkpoint: Checkpoint, path: Path | None) -> tuple[DecisionRule | None, str]:
    if path is not None:
        return read_rule(path), path.name
    model = checkpoint.path
    if checkpoint.rule is not None:
        return DecisionRule.from_json(checkpoint.rule, model.name), f"{model.name} itself"
    sibling = model.with_name(f"{stem_of(model, folder=model.is_dir())}.rule.json")
    if sibling.is_file():
        return read_rule(sibling), sibling.name
    return None, ""

"""Finding the decision rule that belongs to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from fairfix.errors import UsageError
from fairfix.models.checkpoint import Checkpoint, weights_sha256
from fairfix.thresholds.rule import DecisionRule


def read_rule(path: Path) -> DecisionRule:
    """The rule in a ``.rule.json`` file.

    Raises:
        UsageError: when it cannot be read or is no rule.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the rule {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"{path.name} is not JSON: {error}.") from None
    return DecisionRule.from_json(data, path.name)


def stem_of(path: Path, *, folder: bool) -> str:
    """The name that the files beside a checkpoint begin with; a folder's is its whole name."""
    return path.name if folder or path.suffix == ".debiased" else path.stem


def find_rule(checkpoint: Checkpoint, given: Path | None = None) -> tuple[DecisionRule | None, str]:
    """The rule and where it was found: as given, in the checkpoint, or beside it.

    Raises:
        UsageError: when the rule was made for other weights.
    """
    rule, where = _locate(checkpoint, given)
    if rule is not None and rule.weights_sha256 not in (None, weights_sha256(checkpoint.tensors)):
        raise UsageError(
            f"The rule in {where} was made for other weights than those in "
            f"{checkpoint.path.name}; give the rule that was written with them by --rule, or "
            "debias again."
        )
    return rule, where


def _locate(checkpoint: Checkpoint, given: Path | None) -> tuple[DecisionRule | None, str]:
    if given is not None:
        return read_rule(given), given.name
    path = checkpoint.path
    if checkpoint.rule is not None:
        return DecisionRule.from_json(checkpoint.rule, path.name), f"{path.name} itself"
    beside = path.with_name(f"{stem_of(path, folder=path.is_dir())}.rule.json")
    if beside.is_file():
        return read_rule(beside), beside.name
    return None, ""

"""The decision rule as text inside a checkpoint's own metadata, under one name in every format."""

import json
from collections.abc import Mapping
from typing import Any

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.archive import Archive

NAME = "fairfix"
MEMBER = f"extra/{NAME}.json"  # where torch.jit.load and torch.export.load look for extra files


def rule_text(rule: Mapping[str, Any] | None) -> str | None:
    """The rule as JSON, the same text for equal rules."""
    return None if rule is None else json.dumps(rule, sort_keys=True, ensure_ascii=False)


def rule_bytes(rule: Mapping[str, Any] | None) -> bytes | None:
    """The rule as the content of an extra file; None takes an old one out."""
    text = rule_text(rule)
    return None if text is None else text.encode()


def rule_in(archive: Archive | None) -> dict[str, Any] | None:
    """The rule in an archive's extra file, if it has one."""
    if archive is None or MEMBER not in archive.members:
        return None
    return parse_rule(archive.read(MEMBER), archive.path)


def parse_rule(text: str | bytes | None, path: object) -> dict[str, Any] | None:
    """The inverse of ``rule_text``. Raises CheckpointError for text that is no rule."""
    if text is None:
        return None
    try:
        rule = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: the decision rule inside it is damaged ({error}). Give it with --rule."
        ) from error
    if not isinstance(rule, dict):
        raise CheckpointError(f"{path}: the decision rule inside it is none. Give it with --rule.")
    return rule

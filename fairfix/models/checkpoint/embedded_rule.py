"""The decision rule as JSON text in the metadata of a checkpoint, equal in all formats."""

import json
from collections.abc import Mapping
from typing import Any

from fairfix._utils.strict_json import parse_json
from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.archive import Archive

NAME = "fairfix"
MEMBER = f"extra/{NAME}.json"  # where torch.jit.load and torch.export.load look for extra files


def rule_text(rule: Mapping[str, Any] | None) -> str | None:
    """Return the rule as JSON; equal rules have equal text."""
    return None if rule is None else json.dumps(rule, sort_keys=True, ensure_ascii=False)


def rule_bytes(rule: Mapping[str, Any] | None) -> bytes | None:
    """Return the rule as the content of an extra file; None removes an existing one."""
    text = rule_text(rule)
    return None if text is None else text.encode()


def rule_in(archive: Archive | None) -> dict[str, Any] | None:
    """Return the rule in the extra file of an archive, or None."""
    if archive is None or MEMBER not in archive.members:
        return None
    return parse_rule(archive.read(MEMBER), archive.path)


def parse_rule(text: object, path: object) -> dict[str, Any] | None:
    """Parse what ``rule_text`` returned.

    Raises:
        CheckpointError: if the text is not a strict JSON object.
    """
    if text is None:
        return None
    if not isinstance(text, str | bytes):
        raise CheckpointError(f"{path}: its decision rule is not text. Write the file again.")
    rule = parse_json(text, f"{path}: its decision rule", error=CheckpointError)
    if not isinstance(rule, dict):
        raise CheckpointError(
            f"{path}: its decision rule is not a JSON object. Write the file again."
        )
    return rule

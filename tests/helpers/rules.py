"""Reports and rules that were changed together, so that their hashes still agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fairfix.thresholds.rule import DecisionRule

CONTRACT: dict[str, Any] = {
    "features": [],
    "roles": {
        "label": "label",
        "groups": ["sex"],
        "id": None,
        "weight": None,
        "score": "score",
        "cluster": None,
        "ignored": [],
    },
    "label_values": [],
    "group_values": {},
    "missing_group": "error",
    "output_name": None,
    "data_spec": None,
    "arch": None,
    "arch_args": None,
    "checkpoint_key": None,
}
"""A contract for scores."""


def as_saved(rule: DecisionRule) -> dict[str, Any]:
    """Return the JSON of a rule for scores as its file has it: with a contract, and bound."""
    return rule.to_json() | {"contract": CONTRACT, "report_sha256": "0f" * 32}


def change_report(path: Path, /, **parts: Any) -> None:
    """Replace parts of the report beside a model, and bind the rule file to the result.

    The pages of the former report are removed.
    """
    report, rule = path.with_suffix(".report.json"), path.with_suffix(".rule.json")
    text = json.dumps(json.loads(report.read_text()) | parts)
    report.write_text(text)
    bound = {"report_sha256": hashlib.sha256(text.encode()).hexdigest()}
    rule.write_text(json.dumps(json.loads(rule.read_text()) | bound))
    for suffix in (".md", ".html"):
        report.with_suffix(suffix).unlink(missing_ok=True)

"""Detect test rows that a rule was tuned on, from the report beside the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairfix._utils.strict_json import read_json
from fairfix.data.row_fingerprints import RowFingerprints, overlap
from fairfix.errors import UsageError
from fairfix.models.checkpoint import weights_sha256
from fairfix.thresholds.rule_file import stem_of
from fairfix.workflows.case import Case

MAX_SHARE = 0.5
"""Largest share of rows that may have been used for tuning."""


@dataclass(frozen=True)
class Reuse:
    """How many of the rows the rule was tuned on.

    Attributes:
        share: share of these rows that was used for tuning; None if unknown.
        sentence: the same in words, without a full stop.
        notes: further notes from the report.
    """

    share: float | None
    sentence: str
    notes: tuple[str, ...] = ()


def reuse(case: Case, rule: Path | None = None) -> Reuse:
    """Return how many of the case's rows the rule was tuned on.

    ``rule`` is the rule's own file if one was given; the report may lie beside it.

    Raises:
        UsageError: if that is more than half, or the report cannot be read.
    """
    found = _found(case, rule)
    if found.share is not None and found.share > MAX_SHARE:
        raise UsageError(
            f"{case.table.path.name} cannot test this rule: {found.sentence}. Give rows that it "
            "was not tuned on."
        )
    return found


def _found(case: Case, rule: Path | None) -> Reuse:
    unchecked = "so it is unchecked whether the rule was tuned on these rows"
    path = _report_path(case, rule)
    if path is None:
        return Reuse(None, f"there is no report beside the model, {unchecked}")
    report = _read(path)
    if not _same_model(case, report):
        return Reuse(None, f"{path.name} is for other weights than the model's, {unchecked}")
    data = report.get("data")
    data = data if isinstance(data, dict) else {}
    notes = _turned(case, data, path.name)
    fitted = data.get("validation_rows")
    if data.get("table_sha256") == case.table.sha256 and isinstance(fitted, int):
        sentence = f"the rule was tuned on {fitted:,} of its {case.table.rows:,} rows"
        return Reuse(min(1.0, fitted / case.table.rows), sentence, notes)
    known = report.get("tuned_rows")
    if known is None:
        return Reuse(None, f"{path.name} does not list the tuned rows, {unchecked}", notes)
    seen = overlap(RowFingerprints.from_json(known, f"{path.name}, tuned_rows"), case.problem)
    return Reuse(None if math.isnan(seen.reused) else seen.reused, seen.description, notes)


def _turned(case: Case, data: dict[str, Any], source: str) -> tuple[str, ...]:
    """Return a note if the report has another privileged group."""
    names = case.problem.group_names
    then, now = data.get("privileged"), names[1] if len(names) == 2 else None
    if data.get("group") != case.columns.groups[0] or None in (then, now) or then == now:
        return ()
    return (
        f"{source} has {then!r} as the privileged group, but here it is {now!r}: signs are "
        "reversed, verdicts are not",
    )


def _report_path(case: Case, rule: Path | None) -> Path | None:
    places = []
    if rule is not None:
        places.append(rule.with_name(f"{rule.name.removesuffix('.rule.json')}.report.json"))
    if case.checkpoint is not None:
        path = case.checkpoint.path
        places.append(path.with_name(f"{stem_of(path, folder=path.is_dir())}.report.json"))
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    found = read_json(path)
    if not isinstance(found, dict):
        raise UsageError(f"{path.name} is not a fairfix report: it does not hold a JSON object.")
    return found


def _same_model(case: Case, report: dict[str, Any]) -> bool:
    """Whether the report is for the case's weights, as far as both are known."""
    if case.checkpoint is None:
        return True
    model = report.get("model")
    after = model.get("weights_sha256_after") if isinstance(model, dict) else None
    return after in (None, weights_sha256(case.checkpoint.tensors))

"""Whether a table holds rows that a rule was fitted on, as the report beside the model tells."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairfix.data.row_fingerprints import RowFingerprints, overlap
from fairfix.errors import UsageError
from fairfix.models.checkpoint import weights_sha256
from fairfix.thresholds.rule_file import stem_of
from fairfix.workflows.case import Case

MOST = 0.5  # share of rows that may have been used for fitting


@dataclass(frozen=True)
class Reuse:
    """What is known of the rows that a rule was fitted on.

    Attributes:
        share: of the rows at hand, used for fitting; None where nothing tells.
        said: the same as a sentence without a full stop; ``notes`` is what else the report tells.
    """

    share: float | None
    said: str
    notes: tuple[str, ...] = ()


def reuse(case: Case, rule: Path | None = None) -> Reuse:
    """How many of the case's rows the rule was fitted on.

    ``rule`` is the rule's own file where one was given; the report is sought beside it, too.

    Raises:
        UsageError: when that is more than half, or when the report cannot be read.
    """
    found = _found(case, rule)
    if found.share is not None and found.share > MOST:
        raise UsageError(
            f"{case.table.path.name} cannot judge this rule: {found.said}. Give rows that it was "
            "not fitted on."
        )
    return found


def _found(case: Case, rule: Path | None) -> Reuse:
    unchecked = "so it could not be checked whether its rule was fitted on these rows"
    path = _report_path(case, rule)
    if path is None:
        return Reuse(None, f"no report lies beside the model, {unchecked}")
    report = _read(path)
    if not _same_model(case, report):
        return Reuse(None, f"{path.name} is of other weights than the model, {unchecked}")
    data = report.get("data")
    data = data if isinstance(data, dict) else {}
    notes = _turned(case, data, path.name)
    fitted = data.get("validation_rows")
    if data.get("table_sha256") == case.table.sha256 and isinstance(fitted, int):
        said = f"the rule was fitted on {fitted:,} of its {case.table.rows:,} rows"
        return Reuse(min(1.0, fitted / case.table.rows), said, notes)
    known = report.get("tuned_rows")
    if known is None:
        return Reuse(None, f"{path.name} does not tell the fitting rows, {unchecked}", notes)
    seen = overlap(RowFingerprints.from_json(known, f"{path.name}, tuned_rows"), case.problem)
    return Reuse(None if math.isnan(seen.reused) else seen.reused, seen.description, notes)


def _turned(case: Case, data: dict[str, Any], source: str) -> tuple[str, ...]:
    """A note where the report takes another group for the privileged one."""
    names = case.problem.group_names
    then, now = data.get("privileged"), names[1] if len(names) == 2 else None
    if data.get("group") != case.columns.groups[0] or None in (then, now) or then == now:
        return ()
    return (
        f"{source} takes {then!r} for the privileged group, and here it is {now!r}: signs are "
        "turned, verdicts are not",
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
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read the report {path}: {error.strerror}.") from None
    except ValueError as error:
        raise UsageError(f"{path.name} is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path.name} is no report of fairfix: it holds no JSON object.")
    return found


def _same_model(case: Case, report: dict[str, Any]) -> bool:
    """Whether the report is of the case's weights, as far as both say."""
    if case.checkpoint is None:
        return True
    model = report.get("model")
    after = model.get("weights_sha256_after") if isinstance(model, dict) else None
    return after in (None, weights_sha256(case.checkpoint.tensors))

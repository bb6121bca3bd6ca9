"""Detect test rows that a rule was tuned on, from the report beside the model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairfix._utils.strict_json import read_json
from fairfix.data.known_rows import KnownRows
from fairfix.data.row_fingerprints import MAX_EXCESS, Overlap
from fairfix.errors import UsageError
from fairfix.models.checkpoint import weights_sha256
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.rule_file import stem_of
from fairfix.workflows.case import Case

_RESTORE = (
    ", and whether it is the rule that was written; restore the report that was written with it"
)


@dataclass(frozen=True)
class Reuse:
    """How many of the rows the rule was tuned on.

    Attributes:
        share: share of these rows that was used for tuning, 0 if it is not more than chance
            explains; None if it could not be checked.
        sentence: the same in words, without a full stop.
        notes: further notes from the report.
        same_table: whether the rule was tuned on some rows of this very table.
    """

    share: float | None
    sentence: str
    notes: tuple[str, ...] = ()
    same_table: bool = False


def reuse(case: Case, rule: Path | None = None) -> Reuse:
    """Return how many of the case's rows the rule was tuned on.

    ``rule`` is the rule's own file if one was given; the report may lie beside it.

    Raises:
        UsageError: if that is more than chance explains by 5 points and 3 standard errors, or the
            report cannot be read.
    """
    path = _report_path(case, rule)
    if path is None:
        bound = case.found.rule is not None and case.found.rule.report_sha256 is not None
        return _unchecked("there is no report beside the model", remedy=_RESTORE if bound else "")
    found = reuse_in(case, _read(path), path.name)
    unbound = case.found.rule is not None and case.found.rule.report_sha256 is None
    if found.share is not None and not found.same_table and unbound:
        reason = f"the rule in {case.found.where} is not bound to a report"
        return _unchecked(reason, found.notes)
    return found


def reuse_by(case: Case, rule: DecisionRule) -> Reuse:
    """Return ``reuse`` of a rule in memory, which a report beside the model may be of."""
    path = _report_path(case, None)
    report = {} if path is None else _read(path)
    if path is not None and report.get("rule") == replace(rule, report_sha256=None).to_json():
        return reuse_in(case, report, path.name)
    return _unchecked(
        "a rule alone does not list the rows that it was tuned on",
        remedy="; pass the outcome of debias itself, or a rule file with its report",
    )


def reuse_in(case: Case, report: dict[str, Any], source: str) -> Reuse:
    """Return ``reuse`` of a report.

    Args:
        source: where the report is from, in words.
    """
    if not _same_model(case, report):
        return _unchecked(f"{source} is for other weights than the model's")
    data, learned = _section(report, "data"), _section(report, "training")
    notes = _turned(case, data, source)
    fitted = data.get("validation_rows")
    if data.get("table_sha256") == case.table.sha256 and isinstance(fitted, int):
        sentence = f"the rule was tuned on {fitted:,} of its {case.table.rows:,} rows"
        share = min(1.0, fitted / case.table.rows)
        _refuse(case, sentence, share > MAX_EXCESS)
        return Reuse(share, sentence, notes, same_table=True)
    _refuse(
        case,
        "the network was trained on its rows",
        learned.get("table_sha256") == case.table.sha256,
    )
    found = [
        each
        for part, place in ((report, source), (learned, f"{source}, training"))
        for each in KnownRows.from_json(part, place).overlaps(case.problem)
    ]
    if not found:
        return _unchecked(f"{source} does not list the tuned rows", notes)
    strongest = max(found, key=_strength)
    _refuse(case, strongest.description, strongest.too_many)
    if not strongest.known:
        return _unchecked(strongest.description, notes)
    return Reuse(strongest.reused if strongest.beyond_chance else 0.0, strongest.description, notes)


def _strength(found: Overlap) -> tuple[bool, bool, bool, float]:
    excess = found.share_of_rows - found.by_chance if found.known else 0.0
    return found.too_many, found.beyond_chance, found.known, excess


def _refuse(case: Case, sentence: str, too_many: bool) -> None:
    if too_many:
        raise UsageError(
            f"{case.table.name} cannot test this rule: {sentence}. Give rows that it was not "
            "tuned on."
        )


def _unchecked(reason: str, notes: tuple[str, ...] = (), remedy: str = "") -> Reuse:
    fact = f"{reason}, so it is unchecked whether the rule was tuned on these rows"
    return Reuse(None, f"{fact}{remedy}", notes)


def _section(report: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a section of a report, empty if the report lacks it."""
    found = report.get(name)
    return found if isinstance(found, dict) else {}


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
    if case.found.report is not None:
        places.append(case.found.report)
    path = None if case.checkpoint is None else case.checkpoint.path
    if path is not None:
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

"""Demands of a gate: budgets of gaps, floors and largest drops of performance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import PERFORMANCES

AUC = "auc"
MEASURES = (*PERFORMANCES, AUC)


class Kind(StrEnum):
    """What is limited: a fairness gap, a performance, or its drop below a baseline."""

    BUDGET = "budget"
    FLOOR = "floor"
    MAX_DROP = "max-drop"


class Severity(StrEnum):
    """Whether a demand decides the exit code (error) or only warns (warn)."""

    ERROR = "error"
    WARN = "warn"


@dataclass(frozen=True)
class Demand:
    """One demand: ``key`` names a metric of ``rates.METRICS`` or a performance measure.

    ``limit``: the size of a gap stays strictly below it, a performance at or above it, and a
    performance falls by no more than it.

    Raises:
        UsageError: for an unknown key or a limit out of range.
    """

    kind: Kind
    key: str
    limit: float
    severity: Severity = Severity.ERROR

    def __post_init__(self) -> None:
        known = tuple(METRICS) if self.kind is Kind.BUDGET else MEASURES
        if self.key not in known:
            raise UsageError(f"A {self.kind} needs one of {', '.join(known)}, not {self.key!r}.")
        if not 0 < self.limit < 1 and not (self.kind is Kind.MAX_DROP and self.limit == 0):
            raise UsageError(f"A {self.kind} must be between 0 and 1, not {self.limit:g}.")

    @property
    def condition(self) -> str:
        """The demand as a formula."""
        if self.kind is Kind.BUDGET:
            return f"gap of {self.key} < {self.limit:g}"
        measure = self.key.replace("_", " ")
        if self.kind is Kind.FLOOR:
            return f"{measure} >= {self.limit:g}"
        return f"drop of {measure} <= {self.limit:g}"


def demands(kind: Kind, entries: Iterable[str], *, default: str | None = None) -> list[Demand]:
    """Read entries ``name=number``, or ``name=number:warn``.

    ``default`` is the name that a bare number is for; without it a bare number is refused.

    Raises:
        UsageError: for a malformed entry, or two with the same key and severity.
    """
    read = [_demand(kind, entry, default) for entry in entries]
    for number, demand in enumerate(read):
        if any((d.key, d.severity) == (demand.key, demand.severity) for d in read[:number]):
            raise UsageError(
                f"--{kind} is given twice for {demand.key} with severity {demand.severity}; keep "
                "one of them."
            )
    return read


def split_entry(kind: str, entry: str) -> tuple[str, float, Severity]:
    """Name, number and severity of an entry; the name is empty for a bare number.

    Raises:
        UsageError: if it has another form.
    """
    bound, colon, severity = entry.partition(":")
    name, _, number = bound.rpartition("=")
    try:
        limit = float(number)
        found = Severity(severity.strip()) if colon else Severity.ERROR
    except ValueError:
        limit, found = math.nan, Severity.ERROR
    if not math.isfinite(limit):
        raise UsageError(f"A {kind} must be name=number or name=number:warn, not {entry!r}.")
    return name.strip(), limit, found


def _demand(kind: Kind, entry: str, default: str | None) -> Demand:
    name, limit, severity = split_entry(kind, entry)
    if not name and default is None:
        example = "spd" if kind is Kind.BUDGET else "balanced_accuracy"
        raise UsageError(
            f"--{kind} {entry} names no metric or measure; write --{kind} {example}={entry}."
        )
    return Demand(kind, name or str(default), limit, severity)


def check_baseline(asked: Sequence[Demand], *, given: bool) -> None:
    """Check that there is a baseline if and only if there is a largest drop.

    Raises:
        UsageError: if there is one without the other.
    """
    if given != any(demand.kind is Kind.MAX_DROP for demand in asked):
        raise UsageError(
            "A largest drop needs a baseline: give --max-drop and --baseline together."
        )


def has_floor(asked: Sequence[Demand]) -> bool:
    """Whether some floor of performance decides the exit code."""
    return any(d.kind is Kind.FLOOR and d.severity is Severity.ERROR for d in asked)

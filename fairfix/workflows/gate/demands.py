"""Demands on a model, and the one grammar in which every command and settings file writes them.

``KEY[.min][@COLUMN]=NUMBER[:warn]``: a budget limits the gap of a metric; a floor and a ceiling
limit a rate, a performance measure, or (a floor) the smallest rate of any group or a ratio of
rates; a largest drop limits how far performance falls below a baseline, and a selection rate change
how far the selection rate moves from that of a baseline or of the decisions in use today.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import NamedTuple

from fairfix._utils.number_text import exact_text, parse_float
from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import AUCD, METRICS, rates
from fairfix.metrics.objective import check_budget_of
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import selection_rate

AUC = "auc"
CALIBRATION_ERROR = "calibration_error"
MEASURES = (*PERFORMANCES, AUC)
SYNONYMS = {"precision": "ppv", "recall": "tpr"}
"""Other names of rates in floors and ceilings."""

_ENTRY = re.compile(
    r"(?:(?P<key>[^@=:.]*)(?P<smallest>\.min)?(?:@(?P<column>.*))?=)?"
    r"(?P<limit>[^=:@]*)(?::(?P<severity>[^=:]+))?",
    re.DOTALL,
)


class Kind(StrEnum):
    """What is limited: a fairness gap, a rate or performance, or a change against a baseline."""

    BUDGET = "budget"
    FLOOR = "floor"
    CEILING = "ceiling"
    MAX_DROP = "max-drop"
    SELECTION_CHANGE = "selection-rate-change"

    @property
    def needs_baseline(self) -> bool:
        """Whether it compares with other decisions on the same rows."""
        return self in (Kind.MAX_DROP, Kind.SELECTION_CHANGE)


class Severity(StrEnum):
    """Whether a demand decides the exit code (error) or only warns (warn)."""

    ERROR = "error"
    WARN = "warn"


_EXAMPLES: dict[str, str] = {
    Kind.BUDGET: "spd=0.05",
    Kind.FLOOR: "balanced_accuracy=0.7",
    Kind.CEILING: "selection_rate=0.5",
    Kind.MAX_DROP: "balanced_accuracy=0.02",
    Kind.SELECTION_CHANGE: "0.1",
}


@dataclass(frozen=True)
class Demand:
    """One demand.

    Attributes:
        kind: what is limited.
        key: a metric for a budget; a rate or a performance measure for a floor or a ceiling, for
            a floor also a metric that is a ratio, for a ceiling the calibration error; a
            performance measure for a largest drop; the selection rate for its change.
        limit: the size of a gap stays strictly below it, a ratio above it, a rate or performance
            at or on the right side of it, and a performance falls by no more than it; the change
            of a selection rate is relative.
        severity: whether it decides the exit code.
        column: the group column; None for the first one, or for all rows together.
        smallest: a floor of the smallest rate of any group.

    Raises:
        UsageError: for a key, column or limit that does not fit the kind.
    """

    kind: Kind
    key: str
    limit: float
    severity: Severity = Severity.ERROR
    column: str | None = None
    smallest: bool = False

    def __post_init__(self) -> None:
        known = _known_keys(self.kind, smallest=self.smallest)
        if self.key not in known:
            self._refuse_key(known)
        if self.column is not None and not self.by_group:
            self._refuse_column()
        if not 0 < self.limit < 1 and not (self.kind is Kind.MAX_DROP and self.limit == 0):
            raise UsageError(
                f"A {self.kind} must be between 0 and 1, not {exact_text(self.limit)}."
            )
        if self.is_gap and self.key != AUCD:
            self._check_gap()

    def _check_gap(self) -> None:
        try:
            check_budget_of(METRICS[self.key], self.budget)
        except UsageError as error:
            if self.kind is Kind.BUDGET:
                raise
            raise UsageError(
                f"A floor of {exact_text(self.limit)} for the ratio {self.key} lets one group have "
                f"half the rate of another. {error}"
            ) from None

    def _refuse_key(self, known: Sequence[str]) -> None:
        if self.key in METRICS and self.kind in (Kind.FLOOR, Kind.CEILING) and not self.smallest:
            raise UsageError(
                f"{self.key} is a gap, which a {self.kind} does not limit; write "
                f"--budget {self.key}={exact_text(self.limit)}."
            )
        what = "floor of the smallest group" if self.smallest else str(self.kind)
        hint = did_you_mean(self.key, known, "")
        raise UsageError(f"A {what} needs one of {', '.join(known)}, not {self.key!r}{hint or '.'}")

    def _refuse_column(self) -> None:
        remedy = (
            f"write --floor {self.key}.min@{self.column}={exact_text(self.limit)}"
            if self.kind is Kind.FLOOR and self.key in rates()
            else f"remove @{self.column}"
        )
        raise UsageError(
            f"A {self.kind} of {self.key} is for all rows together, not by group; {remedy}."
        )

    @property
    def is_gap(self) -> bool:
        """Whether it limits a gap between groups; a floor of a ratio does."""
        return self.kind is Kind.BUDGET or self.key in METRICS

    @property
    def by_group(self) -> bool:
        """Whether it needs the groups of a column."""
        return self.is_gap or self.smallest

    @property
    def budget(self) -> float:
        """The largest allowed size of the gap, if it limits one."""
        # Rounded, so that a floor of 0.8 is the budget 0.2.
        return self.limit if self.kind is Kind.BUDGET else round(1 - self.limit, 12)

    @property
    def condition(self) -> str:
        """The demand as a formula."""
        name = self.key.replace("_", " ")
        match self.kind:
            case Kind.BUDGET:
                return f"gap of {self.key} < {exact_text(self.limit)}"
            case Kind.CEILING:
                return f"{name} <= {exact_text(self.limit)}"
            case Kind.MAX_DROP:
                return f"drop of {name} <= {exact_text(self.limit)}"
            case Kind.SELECTION_CHANGE:
                return f"relative change of {name} <= {exact_text(self.limit)}"
        if self.smallest:
            return f"smallest {name} of a group >= {exact_text(self.limit)}"
        return (
            f"ratio of {name} > {exact_text(self.limit)}"
            if self.is_gap
            else f"{name} >= {exact_text(self.limit)}"
        )


class Entry(NamedTuple):
    """The parts of an entry of the grammar; the key is empty for a bare number."""

    key: str
    smallest: bool
    column: str | None
    limit: float
    severity: Severity


def split_entry(kind: str, entry: str) -> Entry:
    """Read one entry of the grammar.

    Raises:
        UsageError: if it has another form.
    """
    try:
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise ValueError(entry)
        limit = parse_float(found["limit"])
        severity = Severity((found["severity"] or "error").strip())
    except ValueError:
        raise UsageError(
            f"A {kind} must be KEY=NUMBER, KEY@COLUMN=NUMBER or KEY=NUMBER:warn, such as "
            f"{_EXAMPLES.get(kind, 'spd=0.05')}, not {entry!r}."
        ) from None
    key, column = (found["key"] or "").strip(), found["column"]
    if column is not None and not column.strip():
        raise UsageError(
            f"The {kind} {entry!r} names no column after @; name a group column, such as "
            f"{key or 'spd'}@sex={exact_text(limit)}, or leave out @."
        )
    return Entry(
        _rate_key(kind, key),
        bool(found["smallest"]),
        None if column is None else column.strip(),
        limit,
        severity,
    )


def _rate_key(kind: str, key: str) -> str:
    """Return the key of the rate that a floor or a ceiling names by a synonym."""
    return key if kind == Kind.MAX_DROP else SYNONYMS.get(key, key)


def demands(
    kind: Kind, entries: Iterable[str], *, default: str | None = None, option: str | None = None
) -> list[Demand]:
    """Read entries of the grammar.

    Args:
        default: key that a bare number is for; without it a bare number is refused.
        option: name of the option, if not that of the kind.

    Raises:
        UsageError: for a malformed entry, or two for the same figure and severity.
    """
    option = option or str(kind)
    read = [_demand(kind, entry, default, option) for entry in entries]
    for number, demand in enumerate(read):
        if any(_subject(each) == _subject(demand) for each in read[:number]):
            raise UsageError(
                f"--{option} is given twice for {demand.key} with severity {demand.severity}; keep "
                "one of them."
            )
    return read


def _demand(kind: Kind, entry: str, default: str | None, option: str) -> Demand:
    key, smallest, column, limit, severity = split_entry(kind, entry)
    if not key and (default is None or column is not None or smallest):
        name = _EXAMPLES[kind].partition("=")[0]
        raise UsageError(
            f"--{option} {entry} names no metric or measure; write --{option} "
            f"{name}={exact_text(limit)}."
        )
    return Demand(kind, key or str(default), limit, severity, column, smallest)


def demands_of(kind: Kind, limits: object) -> list[Demand]:
    """Return demands from numbers by ``KEY[.min][@COLUMN]``, as the library takes them.

    Raises:
        UsageError: for a key or a number that does not fit the kind.
    """

    if limits is None:
        return []
    if not isinstance(limits, Mapping):
        key = "spd" if kind is Kind.BUDGET else "balanced_accuracy"
        raise UsageError(
            f"A {kind} is a number by its key, such as {{{key!r}: 0.05}}, not {limits!r}."
        )

    def demand(target: object, limit: object) -> Demand:
        if not isinstance(target, str):
            raise UsageError(f"The key of a {kind} must be text, not {target!r}.")
        if isinstance(limit, bool) or not isinstance(limit, Real):
            raise UsageError(f"The {kind} of {target} must be a number, not {limit!r}.")
        written, at, column = target.partition("@")
        key = written.removesuffix(".min")
        return Demand(
            kind,
            _rate_key(kind, key),
            float(limit),
            column=column if at else None,
            smallest=written.endswith(".min"),
        )

    return [demand(target, limit) for target, limit in limits.items()]


def _subject(demand: Demand) -> tuple[object, ...]:
    return demand.kind, demand.key, demand.severity, demand.column, demand.smallest


def _known_keys(kind: Kind, *, smallest: bool) -> tuple[str, ...]:
    """Return the keys that a demand of a kind may have."""
    if smallest and kind is not Kind.FLOOR:
        raise UsageError(f".min is the smallest rate of any group; it needs --floor, not --{kind}.")
    if kind is Kind.BUDGET:
        return (*METRICS, AUCD)
    if kind is Kind.MAX_DROP:
        return MEASURES
    if kind is Kind.SELECTION_CHANGE:
        return (selection_rate.key,)
    if smallest:
        return tuple(rates())
    ratios = [key for key, metric in METRICS.items() if metric.ratio]
    own = ratios if kind is Kind.FLOOR else [CALIBRATION_ERROR]
    return tuple(dict.fromkeys((*MEASURES, *rates(), *own)))


def check_baseline(asked: Sequence[Demand], *, given: bool) -> None:
    """Check that there is a baseline if and only if a demand compares with it.

    Raises:
        UsageError: if there is one without the other.
    """
    if given != any(demand.kind.needs_baseline for demand in asked):
        raise UsageError(
            "--max-drop and --selection-rate-change need a baseline: give one of them and "
            "--baseline together."
        )


def selection_change(limit: float | None) -> list[Demand]:
    """Return the demand of a largest relative change of the selection rate, if there is one.

    Raises:
        UsageError: if it is not between 0 and 1.
    """
    if limit is None:
        return []
    return [Demand(Kind.SELECTION_CHANGE, selection_rate.key, limit)]

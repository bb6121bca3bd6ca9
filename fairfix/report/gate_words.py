"""What a gate found, in words: the same in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fairfix.evidence.certify import Verdict
from fairfix.gating.checks import Check, Power
from fairfix.gating.gate import Gate
from fairfix.report.markdown import number

HEADER = ("demand", "by", "value", "interval", "verdict", "rows needed", "severity")
FAILED = {2: "wrong input", 4: "internal error"}
ENDINGS = {0: "passed", 1: "violated", 3: "undecided", **FAILED}


def cells(check: Check) -> list[str]:
    """A check as a row under ``HEADER``."""
    return [
        check.asked,
        check.column or "all rows",
        number(check.value),
        interval(check),
        str(check.verdict),
        rows(check.rows_needed) or "-",
        str(check.severity),
    ]


def interval(check: Check) -> str:
    """The two-sided interval of a check's value."""
    if math.isnan(check.interval.low) or math.isnan(check.interval.high):
        return number(math.nan)
    return f"{number(check.interval.low)} to {number(check.interval.high)}"


def rows(by_group: Mapping[str, int] | None) -> str:
    """Numbers of rows by group."""
    return ", ".join(f"{name}: {count:,}" for name, count in (by_group or {}).items())


def sentence(gate: Gate, check: Check) -> str:
    """What was asked, what was found, and why that is the verdict."""
    figures = f"{check.title} {number(check.value)}"
    if check.sign:
        figures += f" ({check.sign})"
    said = (
        f"{check.name}: {check.verdict}. {figures}, {level(gate)} interval {interval(check)} by "
        f"{check.interval.method}: {check.reason}."
    )
    if check.rows_needed:
        said += f" Rows needed if the true gap is what was seen: {rows(check.rows_needed)}."
    return said


def level(gate: Gate) -> str:
    """How sure the shown intervals are: both one-sided tests together."""
    return f"{100 * (2 * gate.confidence - 1):g} %"


def headline(gate: Gate) -> str:
    """One sentence: how the gate ends, and what that means."""
    asked = sum(check.blocking for check in gate.checks)
    if gate.exit_code == 1:
        return f"Failed: {_of(len(gate.violated), asked)} violated."
    open_ = len(gate.undecided)
    if gate.exit_code == 3:
        return (
            f"Undecided: {_of(open_, asked)} not certified, which is neither a pass nor a finding "
            "of bias."
        )
    if open_:
        return (
            f"Passed by --on-inconclusive warn: {_of(open_, asked)} not certified, and nothing is "
            "shown to be violated."
        )
    if not asked:
        return "Passed: every demand only warns, so nothing here can fail."
    return f"Passed: {'the demand is' if asked == 1 else f'all {asked} demands are'} certified."


def _of(some: int, all_: int) -> str:
    if all_ == 1:
        return "the demand is"
    return f"{some} of {all_} demands {'is' if some == 1 else 'are'}"


def power_line(power: Power) -> str:
    """What the table can certify at all, before anything is said of the model."""
    asked = f"a gap of {power.metric} < {power.limit:g} by {power.column}"
    have = f"these rows ({rows(power.rows)})"
    if power.smallest is None:
        need = rows(power.rows_needed)
        more = f"; even without any gap it takes about {need}" if need else ""
        return f"power: {have} cannot certify {asked}, whatever is seen{more}"
    return f"power: {have} certify {asked} when what is seen is at most {power.smallest:.4f}"


def mark(gate: Gate, check: Check) -> str:
    """How a check stands: passed, failed, open (it blocks), or warned."""
    if check.verdict is Verdict.CERTIFIED:
        return "passed"
    if not check.blocking:
        return "warned"
    if check.verdict is Verdict.VIOLATED:
        return "failed"
    return "warned" if gate.forgives(check) else "open"

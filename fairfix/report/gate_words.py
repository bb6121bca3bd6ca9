"""The sentences of a gate document, equal in every output format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairfix._utils.text import plain_number

Document = Mapping[str, Any]
HEADER = ("demand", "by", "value", "interval", "verdict", "rows needed", "severity")
FAILED = {2: "wrong input", 4: "internal error"}
ENDINGS = {0: "passed", 1: "violated", 3: "inconclusive", **FAILED}


def cells(check: Document) -> list[str]:
    """A check as a row under ``HEADER``."""
    return [
        check["demand"],
        check["column"] or "all rows",
        plain_number(check["value"]),
        interval(check),
        check["verdict"],
        rows(check["rows_needed"]) or "-",
        check["severity"],
    ]


def named(check: Document) -> str:
    """The demand with its group column."""
    demand: str = check["demand"]
    return demand if check["column"] is None else f"{demand} by {check['column']}"


def interval(check: Document) -> str:
    """The two-sided interval of a check's value."""
    if check["low"] is None or check["high"] is None:
        return plain_number(None)
    return f"{plain_number(check['low'])} to {plain_number(check['high'])}"


def rows(by_group: Mapping[str, int] | None) -> str:
    """Numbers of rows by group."""
    return ", ".join(f"{name}: {count:,}" for name, count in (by_group or {}).items())


def sentence(gate: Document, check: Document) -> str:
    """The demand, the figures, and the reason of the verdict."""
    figures = f"{check['title']} {plain_number(check['value'])}"
    if check["sign"]:
        figures += f" ({check['sign']})"
    text = (
        f"{named(check)}: {check['verdict']}. {figures}, {level(gate)} interval {interval(check)} "
        f"by {check['interval']}: {check['reason']}."
    )
    if check["rows_needed"]:
        text += f" Rows needed if the true gap is what was seen: {rows(check['rows_needed'])}."
    return text


def level(gate: Document) -> str:
    """Confidence level of the two-sided intervals, in percent."""
    return f"{100 * (2 * gate['confidence'] - 1):g} %"


def power_line(power: Document) -> str:
    """The largest gap that these rows can certify."""
    asked = f"a gap of {power['metric']} < {power['budget']:g} by {power['column']}"
    have = f"these rows ({rows(power['rows'])})"
    most = power["certifiable_gap"]
    if most is None:
        need = rows(power["rows_needed"])
        more = f"; even without any gap it takes about {need}" if need else ""
        return f"power: {have} cannot certify {asked}, whatever is seen{more}"
    return f"power: {have} certify {asked} when what is seen is at most {most:.4f}"

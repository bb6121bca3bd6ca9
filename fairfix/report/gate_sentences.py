"""Sentences of a gate document, the same in every output format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairfix._utils.text import plain_number

Document = Mapping[str, Any]
HEADER = ("demand", "by", "value", "interval", "verdict", "rows needed", "severity")
EXIT_CODE_NAMES = {
    0: "passed",
    1: "violated",
    2: "wrong input",
    3: "inconclusive",
    4: "internal error",
}


def check_cells(check: Document) -> list[str]:
    """Return a check as a table row under ``HEADER``."""
    return [
        check["demand"],
        check["column"] or "all rows",
        plain_number(check["value"]),
        check_interval(check),
        check["verdict"],
        rows_by_group(check["rows_needed"]) or "-",
        check["severity"],
    ]


def check_name(check: Document) -> str:
    """Return the demand with its group column."""
    demand: str = check["demand"]
    return demand if check["column"] is None else f"{demand} by {check['column']}"


def check_interval(check: Document) -> str:
    """Return the two-sided confidence interval of a check's value."""
    if check["low"] is None or check["high"] is None:
        return plain_number(None)
    return f"{plain_number(check['low'])} to {plain_number(check['high'])}"


def rows_by_group(rows: Mapping[str, int] | None) -> str:
    """Return "f: 1,200, m: 2,000", or nothing without rows."""
    return ", ".join(f"{name}: {count:,}" for name, count in (rows or {}).items())


def check_sentence(gate: Document, check: Document) -> str:
    """Return the demand, its verdict, the figures, and the reason."""
    figures = f"{check['title']} {plain_number(check['value'])}"
    if check["sign"]:
        figures += f" ({check['sign']})"
    text = (
        f"{check_name(check)}: {check['verdict']}. {figures}, {interval_level(gate)} confidence "
        f"interval {check_interval(check)} ({check['interval']}): {check['reason']}."
    )
    if check["rows_needed"]:
        needed = rows_by_group(check["rows_needed"])
        text += f" Rows needed if the true gap equals the estimate: {needed}."
    return text


def interval_level(gate: Document) -> str:
    """Return the confidence level of the two-sided intervals, in percent."""
    return f"{100 * (2 * gate['confidence'] - 1):g} %"


def power_sentence(power: Document) -> str:
    """Return the largest gap that the rows can certify, for one budget and group column."""
    demand = f"a gap of {power['metric']} < {power['budget']:g} by {power['column']}"
    rows = f"these rows ({rows_by_group(power['rows'])})"
    largest = power["certifiable_gap"]
    if largest is not None:
        return f"power: {rows} certify {demand} if the estimated gap is at most {largest:.4f}"
    needed = rows_by_group(power["rows_needed"])
    remedy = f": even a gap of 0 needs about {needed}" if needed else ""
    return f"power: {rows} cannot certify {demand}, whatever the estimate{remedy}"

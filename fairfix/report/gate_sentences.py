"""Sentences of a gate document, the same in every output format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairfix._utils.number_text import exact_text
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
        ", ".join(filter(None, check_values(check))),
        ", ".join(check_intervals(check)),
        check["verdict"],
        rows_by_group(check["rows_needed"]) or "-",
        check["severity"],
    ]


def check_name(check: Document) -> str:
    """Return the demand with its group column."""
    demand: str = check["demand"]
    return demand if check["column"] is None else f"{demand} by {check['column']}"


def check_values(check: Document) -> tuple[str, ...]:
    """Return the value of a check; that of a ratio is its gap and the ratio, each by name."""
    if check["gap"] is None:
        return (plain_number(check["value"]),)
    gap, ratio = plain_number(check["gap"]["value"]), plain_number(check["value"])
    return f"gap {gap}", f"ratio {ratio}"


def check_intervals(check: Document) -> tuple[str, ...]:
    """Return the two-sided confidence intervals of ``check_values``."""
    figures = (check,) if check["gap"] is None else (check["gap"], check)
    return tuple(map(_interval, figures))


def _interval(figure: Document) -> str:
    if figure["low"] is None or figure["high"] is None:
        return plain_number(None)
    return f"{plain_number(figure['low'])} to {plain_number(figure['high'])}"


def rows_by_group(rows: Mapping[str, int] | None) -> str:
    """Return "f: 1,200, m: 2,000", or nothing without rows."""
    return ", ".join(f"{name}: {count:,}" for name, count in (rows or {}).items())


def check_sentence(gate: Document, check: Document) -> str:
    """Return the demand, its verdict, the figures, and the reason."""
    figures = f"{check['title']} {plain_number(check['value'])}"
    if check["sign"]:
        figures += f" ({check['sign']})"
    if check["gap"] is not None:
        figures = f"gap {plain_number(check['gap']['value'])}, {figures}"
    text = (
        f"{check_name(check)}: {check['verdict']}. {figures}, {interval_level(gate)} confidence "
        f"interval {_interval(check)} ({check['interval']}): {check['reason']}."
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
    demand = f"a gap of {power['metric']} < {exact_text(power['budget'])} by {power['column']}"
    rows = f"these rows ({rows_by_group(power['rows'])})"
    largest = power["certifiable_gap"]
    if largest is not None:
        return f"power: {rows} certify {demand} if the estimated gap is at most {largest:.4f}"
    needed = rows_by_group(power["rows_needed"])
    remedy = f": even a gap of 0 needs about {needed}" if needed else ""
    return f"power: {rows} cannot certify {demand}, whatever the estimate{remedy}"

"""Tables of an audit for a network with several classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from fairfix._utils.text import plain_number, shorten
from fairfix.cli.console import build_table

Document = dict[str, Any]
_RATES = ("selection_rate", "tpr", "fpr")
_ENDS = ("value", "low", "high")
_GAPS = ("spd", "eod", "fprd")


def class_tables(column: str, classes: Document) -> Iterator[Table]:
    """Yield rates and gaps of the decisions by the largest output, by the first group column.

    Args:
        column: that group column.
        classes: of the audit's document.
    """
    decided = {"(favorable)": classes["favorable"], **classes["one_against_rest"]}
    header = ["class", "group", "decided so", "of its rows", "of the others", "n"]
    rows = [
        [
            shorten(name),
            shorten(group["name"]),
            *(plain_number(group["rates"][rate]["value"]) for rate in _RATES),
            group["rows"],
        ]
        for name, measured in decided.items()
        for group in measured["groups"]
    ]
    yield build_table(f"Class with the largest output, by {column}", header, rows)
    gaps = [
        [shorten(name), key, *(_number(measured["gaps"][key][end]) for end in _ENDS)]
        for name, measured in decided.items()
        for key in _GAPS
    ]
    yield build_table(f"Gaps of each class by {column}", ["class", "gap", *_ENDS], gaps)


def _number(value: float | None) -> str:
    return "-" if value is None else plain_number(value)

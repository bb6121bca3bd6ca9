"""Figures of a document as a tidy table: one row for each figure, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

Document = Mapping[str, Any]
COLUMNS = ("column", "group", "measure", "value", "low", "high", "n")
"""Group column and group are missing for figures of all rows; n is missing for gaps."""


def report_frame(report: Document) -> pd.DataFrame:
    """Return the figures of the three models on test rows; the first column is the model."""
    column = report["data"]["group"]
    rows = [
        (model, *row)
        for model, measured in report["results"]["test"].items()
        for row in _measured(column, measured)
    ]
    return _frame(rows, ("model", *COLUMNS))


def audit_frame(audit: Document) -> pd.DataFrame:
    """Return the figures by every group column; performance is listed once, for all rows."""
    rows = []
    for i, (column, measured) in enumerate(audit["groups"].items()):
        found = _measured(column, measured)
        rows += [row for row in found if i == 0 or row[0] is not None]
    return _frame(rows, COLUMNS)


def gate_frame(gate: Document) -> pd.DataFrame:
    """Return the checks, with demand, limit and verdict after the figures."""
    ends = ("demand", "limit", "verdict")
    rows = [
        (each["column"], None, each["key"], *_ends(each), gate["rows"], *map(each.get, ends))
        for each in gate["checks"]
    ]
    return _frame(rows, (*COLUMNS, *ends))


def _frame(rows: list[tuple[Any, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype(dict.fromkeys(("value", "low", "high"), float) | {"n": "Int64"})


def _measured(column: str, measured: Document) -> Iterator[tuple[Any, ...]]:
    for key, figure in measured["performance"].items():
        yield None, None, key, *_ends(figure), measured["rows"]
    for key, figure in measured["gaps"].items():
        yield column, None, key, *_ends(figure), None
    for group in measured["groups"]:
        for key, rate in group["rates"].items():
            yield column, group["name"], key, *_ends(rate), rate["n"]
        yield column, group["name"], "auc", *_ends(group["auc"]), group["rows"]


def _ends(figure: Document) -> tuple[Any, Any, Any]:
    return figure["value"], figure["low"], figure["high"]

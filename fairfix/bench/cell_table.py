"""The rows of a study as a flat table with one line per cell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fairfix.bench.goal import Goal
from fairfix.report.figures import Figure, absolute_gap

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]

BASELINE = "identity"  # retuned threshold; gains are measured against it
UNMODIFIED = "unmodified"  # label of the unmodified model, measured in the baseline's cells
GROUP_THRESHOLDS = "thresholds"
ELSEWHERE = "training_gap", "other_gap", "other_gap_retuned"
"""Signed gaps on training rows, and between other groups of the test rows, that some rows have."""


def latest_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the last row of every cell.

    Earlier rows of a cell may have failed or come from an older version. Where several sources
    (classifiers or ways to split) share a task name, all but the first get a number.
    """
    parts = ("task", "split", "task_sha256", "method", "seed", "goal", "options")
    last = {json.dumps([row[part] for part in parts], sort_keys=True): row for row in rows}
    sources: dict[str, list[str]] = {}
    return [_numbered(row, sources.setdefault(row["task"], [])) for row in last.values()]


def _numbered(row: Row, sources: list[str]) -> Row:
    """Return the row, its task name numbered if it is not the name's first source."""
    source = row.get("source", "")
    if source not in sources:
        sources.append(source)
    number = sources.index(source) + 1
    return row if number == 1 else {**row, "task": f"{row['task']} ({number})"}


def cell_table(rows: Iterable[Row]) -> pd.DataFrame:
    """Return the method cells as a flat table, one line per cell.

    Each baseline cell adds a line for the unmodified model. Undefined figures are NaN; a cell
    without a result has a status and a reason only.
    """
    import pandas as pd

    return pd.DataFrame(
        [line for row in rows if row["status"] != "measured" for line in _lines(row)]
    )


def _lines(row: Row) -> Iterator[dict[str, Any]]:
    goal = Goal.from_json(row["goal"])
    cell = {
        "task": row["task"],
        "split": row["split"],
        "task_sha256": row["task_sha256"],
        "seed": row["seed"],
        **asdict(goal),
        "method": method_label(row),
        "status": row["status"],
    }
    if row["status"] != "done":
        yield cell | {"reason": row["reason"]}
        return
    cost = {
        "seconds": row["cost"]["seconds"],
        "peak_memory_mib": row["cost"]["peak_memory_mib"],
    }
    elsewhere = {key: nan_if_none(row[key]) for key in ELSEWHERE if key in row}
    yield cell | _figures(row, goal, "debiased", row["needs_group"]) | cost | elsewhere
    if row["method"] == BASELINE:
        unmodified = _figures(row, goal, UNMODIFIED, needs_group=False)
        yield cell | {"method": UNMODIFIED} | unmodified | {"ceiling": math.nan}


def method_label(row: Row) -> str:
    """Return the method of a row, followed by its options."""
    return " ".join([row["method"], *(f"{k}={v}" for k, v in sorted(row["options"].items()))])


def _figures(row: Row, goal: Goal, state: str, needs_group: bool) -> dict[str, Any]:
    test, validation = row["test"][state], row["validation"][state]
    gap = gap_size(goal.metric, test["gap"])
    performance = nan_if_none(test["performance"])
    limits_held = test.get("limits_held", True)
    return {
        "needs_group": needs_group,
        "gap": nan_if_none(test["gap"]),
        "gap_size": gap,
        "performance": performance,
        "objective": goal.value(gap, performance, limits_held=limits_held),
        "held": test["met"] and limits_held,
        "trivial": test["trivial"],
        "validation_gap": nan_if_none(validation["gap"]),
        "validation_performance": nan_if_none(validation["performance"]),
        "ceiling": nan_if_none(row["ceiling"]),
        "rows": test["rows"],
        "overlap": _overlap(row),
    }


def gap_size(metric: str, gap: float | None) -> float:
    """Return the size of a reported gap, as a budget bounds it; NaN if undefined."""
    return nan_if_none(absolute_gap(metric, Figure(gap)).value)


def _overlap(row: Row) -> float:
    if "overlap" in row:
        return float(row["overlap"])
    rows = (float(row[part]["debiased"]["rows"]) for part in ("test", "validation"))
    return next(rows) / next(rows)


def nan_if_none(value: float | None) -> float:
    """Return a figure of a row, NaN if it is undefined."""
    return math.nan if value is None else float(value)

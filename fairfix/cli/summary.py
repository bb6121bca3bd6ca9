"""The terminal's tables, from the same report that is written to disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from fairfix.cli.talk import table
from fairfix.report.markdown import ROWS, STATES, number


def comparison_tables(report: dict[str, Any]) -> Iterator[Table]:
    """Before and after on judged and on fitting rows, then by group on the judged rows."""
    objective = report["objective"]
    metric, measure = objective["metric"], objective["performance"]
    rows = [
        [
            f"{STATES[state]}, {rows} rows",
            evaluation["rows"],
            f"{evaluation['groups'][0]['threshold']:.4g}",
            number(evaluation["gaps"][metric]),
            number(evaluation["performance"][measure]),
            number(evaluation["objective"]),
            "yes" if evaluation["met"] else "no",
        ]
        for rows in ROWS
        for state, evaluation in report["results"][rows].items()
    ]
    need = "needs the group" if report["rule"]["needs_group"] else "needs no group"
    title = f"{report['method']['name']} for {objective['metric_title']}, decision {need}"
    header = ["network", "rows", "cut", metric, measure.replace("_", " "), "objective"]
    yield table(title, [*header, f"within {objective['budget']:g}"], rows)
    judged = report["results"]["judged"]
    yield table(
        "By group, judged rows: before -> after",
        ["group", "rows", "positive", "true positive rate", "false positive rate", "accuracy"],
        [
            [before["name"], before["rows"], *_changes(before["rates"], after["rates"])]
            for before, after in zip(
                judged["original"]["groups"], judged["debiased"]["groups"], strict=True
            )
        ],
    )


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{number(before[name]['value'])} -> {number(after[name]['value'])}"
        for name in ("selection_rate", "tpr", "fpr", "accuracy")
    ]

"""What the terminal shows of a report; the same numbers are written to disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rich.table import Table

from fairfix.cli.console import build_table, shorten
from fairfix.report.markdown import ROWS, STATES, condition, figure, number, verdict

LONG = 60  # letters of a word, from which a name is shortened


def summary(report: dict[str, Any]) -> Iterator[Table | str]:
    """Before and after on judged and on fitting rows, then by group, then in one sentence."""
    need = "needs the group" if report["rule"]["needs_group"] else "needs no group"
    yield (
        f"{report['method']['name']} for {report['objective']['metric_title']}: the decision "
        f"{need}."
    )
    for rows in ROWS:
        yield _comparison(report, rows)
    yield _by_group(report["results"]["test"])
    yield f"Positive {condition(report['rule'])}."
    yield re.sub(rf"\S{{{LONG},}}", lambda word: shorten(word[0]), verdict(report))


def _comparison(report: dict[str, Any], rows: str) -> Table:
    objective, results = report["objective"], report["results"][rows]
    metric, measure = objective["metric"], objective["performance"]
    header = ["network", metric, measure.replace("_", " "), "objective"]
    return build_table(
        f"{ROWS[rows].capitalize()}: {results['debiased']['rows']}",
        [*header, f"within {objective['budget']:g}"],
        [
            [
                STATES[state],
                figure(evaluation["gaps"][metric]),
                number(evaluation["performance"][measure]["value"]),
                number(evaluation["objective"]),
                "yes" if evaluation["met"] else "no",
            ]
            for state, evaluation in results.items()
        ],
    )


def _by_group(judged: dict[str, Any]) -> Table:
    return build_table(
        "By group, judged rows: before -> after",
        ["group", "rows", "positive", "true positive rate", "false positive rate", "accuracy"],
        [
            [before["name"], before["rows"], *_changes(before["rates"], after["rates"])]
            for before, after in zip(
                judged["unmodified"]["groups"], judged["debiased"]["groups"], strict=True
            )
        ],
    )


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [
        f"{number(before[name]['value'])} -> {number(after[name]['value'])}"
        for name in ("selection_rate", "tpr", "fpr", "accuracy")
    ]

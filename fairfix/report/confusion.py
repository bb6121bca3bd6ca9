"""Confusion matrices by group as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fairfix._utils.text import format_count, format_number, single_line
from fairfix.report.markdown import STATES
from fairfix.report.svg import percent, tag

Group = Mapping[str, Any]

ROWS = {
    "favorable": {"tp": "true positives", "fn": "false negatives"},
    "unfavorable": {"fp": "false positives", "tn": "true negatives"},
}
"""Cells by label; the first of each row is decided positive."""


def confusion_matrices(
    measured: Mapping[str, Mapping[str, Any]], names: Mapping[str, str], shown: Sequence[str]
) -> dict[str, Any]:
    """Return a confusion matrix for each group and kind, those of a group in succession.

    Args:
        measured: measured decisions by kind (a key of ``STATES``, or another for one alone).
        names: label of each group.
        shown: names of the groups to draw.
    """
    kinds = {kind: {group["name"]: group for group in e["groups"]} for kind, e in measured.items()}
    return {
        "plots": [
            {
                "label": names[name],
                "state": STATES.get(kind, ""),
                "drawing": confusion_matrix(
                    groups[name], ", ".join(filter(None, (names[name], STATES.get(kind))))
                ),
            }
            for name in shown
            for kind, groups in kinds.items()
        ],
        "left_out": len(names) - len(shown),
    }


def confusion_matrix(group: Group, title: str) -> Markup:
    """Return the counts of a group; a cell's color grows with its share of the label's rows."""
    layers, said = [], []
    for row, cells in enumerate(ROWS.values()):
        total = sum(group[key] or 0 for key in cells)
        for column, (key, name) in enumerate(cells.items()):
            share = (group[key] or 0) / total if total else 0.0
            count = format_count(group[key])
            text = f"{format_number(100 * share, 1)} %" if total else "undefined"
            layers.append(_cell(row, column, share, (name, count, text)))
            said.append(f"{name} {count} ({text})")
    return tag(
        "svg",
        tag("title", f"Confusion matrix of {single_line(title)}"),
        tag("desc", f"{', '.join(said)}."),
        *layers,
        class_="confusion",
        role="img",
    )


def _cell(row: int, column: int, share: float, lines: tuple[str, str, str]) -> Markup:
    x, y = 50 * column, 50 * row
    name, count, text = (
        tag("text", line, x=percent(x + 25), y=percent(y + 25), dy=dy, class_=f"middle {kind}")
        for line, dy, kind in zip(lines, (-14, 4, 21), ("name", "count", "share"), strict=True)
    )
    filled = tag(
        "rect",
        x=percent(x),
        y=percent(y),
        width="50%",
        height="50%",
        class_="cell",
        fill_opacity=f"{0.45 * share:.3f}",
    )
    return filled + name + count + text

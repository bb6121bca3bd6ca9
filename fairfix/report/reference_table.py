"""Table of the gaps of every other group to the reference group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairfix._utils.text import shorten
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.figures import Figure, is_ratio

INTERVALS = "Their confidence intervals hold together (Bonferroni)."
LISTED = 100


@dataclass(frozen=True)
class ReferenceTable:
    """Gaps of one or several models on the same rows.

    Attributes:
        title: what is compared, without a full stop.
        kinds: the models.
        rows: name, number of rows and the gap of each model, by descending number of rows.
        left_out: number of smaller groups that are not listed.
    """

    title: str
    kinds: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Figure, ...]], ...]
    left_out: int


def reference_table(measured: Mapping[str, Mapping[str, Any]]) -> ReferenceTable | None:
    """Return the table of measured decisions by model; None if no groups were merged."""
    found = [each["to_reference"] for each in measured.values() if each.get("to_reference")]
    if not found or not found[0]["gaps"]:
        return None
    metric, reference = found[0]["metric"], found[0]["reference"]
    figures = zip(*(map(Figure.of, each["gaps"]) for each in found), strict=True)
    order = sorted(
        (
            (gap["name"], gap["rows"], row)
            for gap, row in zip(found[0]["gaps"], figures, strict=True)
        ),
        key=lambda row: -row[1],
    )
    return ReferenceTable(
        f"{title_of(metric)} of {_contrast(metric, shorten(reference))}",
        tuple(measured),
        tuple(order[:LISTED]),
        max(0, len(order) - LISTED),
    )


def _contrast(metric: str, reference: str) -> str:
    if metric in METRICS and not METRICS[metric].signed:
        return f"each other group and {reference}"
    return f"each other group {'divided by' if is_ratio(metric) else 'minus'} {reference}"

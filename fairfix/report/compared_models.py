"""Several models on the same rows, of the document of an audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairfix._utils.text import shorten, unique_labels
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.charts import Mark, Strips
from fairfix.report.figures import Figure, budget_band, neutral

Document = Mapping[str, Any]
THIS = "this model"
PERFORMANCE = "balanced_accuracy"


def compared_rows(document: Document) -> Iterator[dict[str, Any]]:
    """Yield gap, performance and change of every model by every group column.

    The change is the absolute gap of the audited model minus that of the other; None for itself.
    """
    others = document["compared"]
    labels = unique_labels([THIS, *(each["model"] for each in others)])
    for column, measured in document["groups"].items():
        metric = measured["evidence"]["claims"][0]["metric"]
        for name, by_column, change in (
            (THIS, document["groups"], None),
            *((each["model"], each["groups"], _change(each, column)) for each in others),
        ):
            yield {
                "column": column,
                "label": labels[name],
                "gap": by_column[column]["gaps"][metric],
                "performance": by_column[column]["performance"][PERFORMANCE],
                "change": change,
            }


def _change(other: Document, column: str) -> dict[str, Any]:
    (found,) = (each for each in other["changes"] if each["column"] == column)
    known = None not in (found["before"], found["after"])
    value = found["after"] - found["before"] if known else None
    return {"value": value, "low": found["low"], "high": found["high"]}


def compared_models(document: Document) -> dict[str, Any] | None:
    """Return the section of a page; None with one model."""
    if not document.get("compared"):
        return None
    claim = next(iter(document["groups"].values()))["evidence"]["claims"][0]
    rows = [
        {
            **row,
            **{
                key: None if row[key] is None else Figure.of(row[key])
                for key in ("gap", "performance", "change")
            },
        }
        for row in compared_rows(document)
    ]
    metric = claim["metric"]
    band = budget_band(metric, claim["budget"])
    strips = Strips.around([row["gap"] for row in rows], neutral(metric), band)
    columns: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        kind = "rest" if row["change"] is None else "unmodified"
        drawn = strips.strip(Mark(kind, row["gap"], row["label"]))
        columns.setdefault(shorten(row["column"]), []).append({**row, "strip": drawn})
    return {
        "title": title_of(metric),
        "budget": claim["budget"],
        "axis": strips.axis(),
        "columns": columns,
        "performance": [
            (shorten(each["model"]), Figure.of(each["performance_change"]))
            for each in document["compared"]
        ],
    }

"""The sections of an audit's page, each from the document to what its template shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairfix._utils.text import shorten, unique_labels
from fairfix.metrics.registry import title as title_of
from fairfix.report import audit_charts, sections, words
from fairfix.report.charts import Mark, Strips
from fairfix.report.figures import Figure, budget_band, is_ratio, neutral, thin

Document = Mapping[str, Any]
Row = dict[str, Any]

ROWS_OF_GROUPS = 144  # over all columns, so that a page of many columns stays small
SHOWN_PLOTS = 36  # over all columns, and 12 of one
SHOWN_CROSSINGS = 12
SHOWN_LINES = 6
LISTED_THRESHOLDS = 30


def facts(document: Document) -> list[Row]:
    """The performance on all rows, which every column shares."""
    measured = next(iter(document["groups"].values()))
    return [
        {"title": title_of(key), "figure": Figure.of(raw)}
        for key, raw in measured["performance"].items()
    ]


def columns(document: Document) -> list[Row]:
    """What was measured by each group column."""
    wide = len(document["groups"])
    most = max(8, min(sections.SHOWN_GROUPS, ROWS_OF_GROUPS // wide))
    plots = max(3, min(12, SHOWN_PLOTS // wide))
    return [_column(document, name, most, plots) for name in document["groups"]]


def _column(document: Document, column: str, most: int, plots: int) -> Row:
    measured = document["groups"][column]
    names = unique_labels(group["name"] for group in measured["groups"])
    claim = measured["evidence"]["claims"][0]
    kept = {*sections.largest(measured["groups"], most), measured["calibration"][0]["name"]}
    return {
        "name": column,
        "names": names,
        "claim": claim,
        "figure": Figure.of(claim),
        "headline": words.audit_headline(document, measured),
        "certifiable": words.certifiable(measured),
        "sign_words": words.sign_words(names),
        "gaps": gaps(measured, claim),
        "groups": sections.groups({"rest": measured}, names, most),
        "calibration": calibration(
            [part for part in measured["calibration"] if part["name"] in kept],
            len(measured["calibration"]),
            plots,
        ),
    }


def gaps(measured: Document, claim: Document) -> list[Row]:
    """Differences and ratio, each on a scale of its own, the one with the claim first.

    The band is the claim's budget, drawn for the metrics on the claim's scale.
    """
    kinds = {
        "Differences": [key for key in measured["gaps"] if not is_ratio(key)],
        "Ratio": [key for key in measured["gaps"] if is_ratio(key)],
    }
    order = sorted(kinds, key=lambda kind: claim["metric"] not in kinds[kind])
    return [_gaps(kind, kinds[kind], measured, claim) for kind in order if kinds[kind]]


def _gaps(title: str, keys: Sequence[str], measured: Document, claim: Document) -> Row:
    keys = sorted(keys, key=lambda key: key != claim["metric"])
    figures = {key: Figure.of(measured["gaps"][key]) for key in keys}
    bands = {
        key: budget_band(key, claim["budget"]) if claim["metric"] in keys else None for key in keys
    }
    strips = Strips.around(list(figures.values()), neutral(keys[0]), bands[keys[0]])
    return {
        "title": title,
        "axis": strips.axis(),
        "banded": claim["metric"] in keys,
        "rows": [
            {
                "title": title_of(key),
                "key": key,
                "claimed": key == claim["metric"],
                "figure": figure,
                "strip": replace(strips, band=bands[key]).strip(
                    Mark("rest", figure, title_of(key))
                ),
            }
            for key, figure in figures.items()
        ],
    }


def calibration(parts: Sequence[Document], every: int, plots: int) -> Row:
    """Labels and scores of all rows, then of each group, the first few of them with a chart.

    Args:
        every: how many parts there are, with those not given.
    """
    names = _calibrated(parts)
    marks = [
        (Figure.of(part["base_rate"]), Figure(part["mean_score"]), Figure.of(part["bias"]))
        for part in parts
    ]
    strips = Strips.around([figure for base, mean, _ in marks for figure in (base, mean)], 0.0)
    return {
        "axis": strips.axis(),
        "left_out": every - len(parts),
        "rows": [
            {
                "label": name,
                "n": part["rows"],
                "base": base,
                "mean": mean,
                "bias": bias,
                "strip": strips.strip(
                    Mark("unmodified", mean, "mean score"), Mark("rest", base, "favorable labels")
                ),
            }
            for name, part, (base, mean, bias) in zip(names, parts, marks, strict=True)
        ],
        "plots": [
            {
                "label": name,
                "error": part["error"],
                "by_chance": part["error_by_chance"],
                "drawing": audit_charts.reliability(part, name),
                "bins": [{**each, "figure": Figure.of(each["rate"])} for each in part["bins"]],
            }
            for name, part in zip(names[:plots], parts, strict=False)
        ],
        "plots_left_out": every - min(len(parts), plots),
    }


def _calibrated(parts: Sequence[Document]) -> list[str]:
    """Labels, in order; a group may be called what all rows are called."""
    first, *others = parts
    named = unique_labels(part["name"] for part in others)
    return [shorten(first["name"]), *(named[part["name"]] for part in others)]


def thresholds(document: Document) -> Row | None:
    """What other shared thresholds would do to the first column; None where there is none."""
    found = document["threshold_sweep"]
    if found is None:
        return None
    column, measured = next(iter(document["groups"].items()))
    budget = measured["evidence"]["claims"][0]["budget"]
    names = unique_labels(found["groups"])
    shown = _spread(found["current"]["selection_rates"])
    listed = thin(len(found["points"]), LISTED_THRESHOLDS)
    kept = [{**found["points"][i], "current": False} for i in listed]
    current = {**found["current"], "current": True}
    return {
        "column": column,
        "budget": budget,
        "metric": title_of(found["metric"]),
        "performance": title_of(found["performance"]),
        "gap_curve": audit_charts.gap_curve(found, budget),
        "performance_curve": audit_charts.performance_curve(found),
        "selection_curves": audit_charts.selection_curves(found, shown),
        "shown": shown,
        "labels": [names[found["groups"][i]] for i in shown],
        "left_out": len(found["groups"]) - len(shown),
        "current": found["current"],
        "points": sorted([*kept, current], key=lambda point: point["threshold"]),
    }


def _spread(rates: Sequence[float | None]) -> list[int]:
    """Which groups get a line: all of a few, else from the least to the most often selected."""
    if len(rates) <= SHOWN_LINES:
        return list(range(len(rates)))
    order = sorted(range(len(rates)), key=lambda i: rates[i] or 0.0)
    return [order[i * (len(order) - 1) // (SHOWN_LINES - 1)] for i in range(SHOWN_LINES)]


def intersections(document: Document) -> list[Row]:
    """The groups of several columns together; no rates of those with too few rows."""
    shown = document["intersections"][:SHOWN_CROSSINGS]
    most = max(8, ROWS_OF_GROUPS // max(1, len(shown)))
    return [_intersection(crossed, most) for crossed in shown]


def _intersection(crossed: Document, most: int) -> Row:
    names, small = (
        unique_labels(group["name"] for group in crossed["groups"]),
        set(crossed["too_small"]),
    )
    kept = set(sections.largest(crossed["groups"], most))
    gaps = crossed["gaps"] or {}
    return {
        "columns": [shorten(column) for column in crossed["columns"]],
        "gaps": [(title_of(key), gaps[key]) for key in ("spd", "eod") if key in gaps],
        "too_small": len(small),
        "left_out": len(names) - len(kept),
        "groups": [
            {
                "label": names[group["name"]],
                "n": group["rows"],
                "too_small": group["name"] in small,
                "rates": [Figure.of(group["rates"][key]) for key in sections.RATES],
            }
            for group in crossed["groups"]
            if group["name"] in kept
        ],
    }

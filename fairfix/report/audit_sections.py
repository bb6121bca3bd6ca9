"""Data of the sections of an audit page, for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairfix._utils.text import shorten, unique_labels
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report import audit_charts, sections, sentences
from fairfix.report.charts import Mark, Strips
from fairfix.report.confusion import confusion_matrices
from fairfix.report.figures import Figure, budget_band, is_ratio, neutral, thin
from fairfix.report.reference_table import reference_table

Document = Mapping[str, Any]
Row = dict[str, Any]

GROUP_ROWS = 144  # over all columns, to limit the size of the page
SHOWN_PLOTS = 36  # over all columns, and 12 per column
SHOWN_INTERSECTIONS = 12
SHOWN_CLASSES = 12
CLASS_GAPS = "spd", "eod", "fprd"
SHOWN_LINES = 6
LISTED_THRESHOLDS = 30


def facts(document: Document) -> list[Row]:
    """Return the performance on all rows, which does not depend on the column."""
    measured = next(iter(document["groups"].values()))
    return [
        {"title": title_of(key), "figure": Figure.of(raw)}
        for key, raw in measured["performance"].items()
    ]


def columns(document: Document) -> list[Row]:
    """Return the figures by each group column."""
    n_columns = len(document["groups"])
    limit = max(8, min(sections.SHOWN_GROUPS, GROUP_ROWS // n_columns))
    plots = max(3, min(12, SHOWN_PLOTS // n_columns))
    return [_column(document, name, limit, plots) for name in document["groups"]]


def _column(document: Document, column: str, limit: int, plots: int) -> Row:
    measured = document["groups"][column]
    names = unique_labels(group["name"] for group in measured["groups"])
    claim = measured["evidence"]["claims"][0]
    parts = measured["calibration"]
    kept = {*sections.shown_groups(measured["groups"], limit), *(p["name"] for p in parts[:1])}
    return {
        "name": column,
        "names": names,
        "claim": claim,
        "figure": Figure.of(claim),
        "headline": sentences.audit_headline(document, measured),
        "certifiable": sentences.certifiable_sentence(measured),
        "sign_sentence": sentences.audit_sign_sentence(names),
        "gaps": gaps(measured, claim),
        "groups": sections.groups({"rest": measured}, names, limit),
        "to_reference": reference_table({"value": measured}),
        "confusion": confusion_matrices(
            {"rest": measured},
            names,
            sections.shown_groups(measured["groups"], max(8, plots))[:plots],
        )
        if parts
        else None,
        "calibration": calibration(
            [part for part in parts if part["name"] in kept], len(parts), plots
        )
        if parts
        else None,
    }


def gaps(measured: Document, claim: Document) -> list[Row]:
    """Return differences and ratios, each with its own scale, those of the claim first.

    Metrics on the claim's scale have the band of the claim's budget.
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


def calibration(parts: Sequence[Document], total: int, plots: int) -> Row:
    """Return the calibration of all rows, then of each group.

    Args:
        parts: calibrations of all rows and of the groups shown.
        total: number of calibrations, including those left out.
        plots: largest number of reliability diagrams.
    """
    names = _calibration_labels(parts)
    marks = [
        (Figure.of(part["base_rate"]), Figure(part["mean_score"]), Figure.of(part["bias"]))
        for part in parts
    ]
    strips = Strips.around([figure for base, mean, _ in marks for figure in (base, mean)], 0.0)
    return {
        "axis": strips.axis(),
        "left_out": total - len(parts),
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
                "drawing": audit_charts.reliability({"rest": part}, name),
                "bins": [{**each, "figure": Figure.of(each["rate"])} for each in part["bins"]],
            }
            for name, part in zip(names[:plots], parts, strict=False)
        ],
        "plots_left_out": total - min(len(parts), plots),
    }


def _calibration_labels(parts: Sequence[Document]) -> list[str]:
    """Return a label for each part; a group can have the same name as all rows."""
    first, *others = parts
    labels = unique_labels(part["name"] for part in others)
    return [shorten(first["name"]), *(labels[part["name"]] for part in others)]


def thresholds(sweep: Document | None, column: str, budget: float) -> Row | None:
    """Return results at other shared thresholds, by a column; None without a sweep."""
    if sweep is None:
        return None
    names = unique_labels(sweep["groups"])
    shown = _shown_lines(sweep["current"]["selection_rates"])
    listed = thin(len(sweep["points"]), LISTED_THRESHOLDS)
    kept = [{**sweep["points"][i], "current": False} for i in listed]
    current = {**sweep["current"], "current": True}
    return {
        "column": column,
        "budget": budget,
        "metric": title_of(sweep["metric"]),
        "performance": title_of(sweep["performance"]),
        "gap_curve": audit_charts.gap_curve(sweep, budget),
        "performance_curve": audit_charts.performance_curve(sweep),
        "selection_curves": audit_charts.selection_curves(sweep, shown),
        "shown": shown,
        "drawn": [sweep["groups"][i] for i in shown],
        "labels": [names[sweep["groups"][i]] for i in shown],
        "left_out": len(sweep["groups"]) - len(shown),
        "current": sweep["current"],
        "points": sorted([*kept, current], key=lambda point: point["threshold"]),
    }


def _shown_lines(rates: Sequence[float | None]) -> list[int]:
    """Return the groups to draw: all if few, otherwise evenly spaced by selection rate."""
    if len(rates) <= SHOWN_LINES:
        return list(range(len(rates)))
    order = sorted(range(len(rates)), key=lambda i: rates[i] or 0.0)
    return [order[i * (len(order) - 1) // (SHOWN_LINES - 1)] for i in range(SHOWN_LINES)]


def classes(document: Document) -> Row | None:
    """Return gaps and rates of the decisions by the largest output; None without classes."""
    found = document["classes"]
    if found is None:
        return None
    column, measured = next(iter(document["groups"].items()))
    kept = set(sections.shown_groups(measured["groups"], GROUP_ROWS // SHOWN_CLASSES))
    labels = unique_labels(group["name"] for group in measured["groups"])
    decided = {"favorable classes": found["favorable"], **found["one_against_rest"]}
    shown = dict(list(decided.items())[: SHOWN_CLASSES + 1])
    return {
        "column": column,
        "gap_titles": [title_of(key) for key in CLASS_GAPS],
        "left_out": len(decided) - len(shown),
        "rows": [
            {
                "label": shorten(name),
                "gaps": [Figure.of(each["gaps"][key]) for key in CLASS_GAPS],
                "groups": [
                    {
                        "label": labels[group["name"]],
                        "n": group["rows"],
                        "rates": [Figure.of(group["rates"][key]) for key in sections.RATES],
                    }
                    for group in each["groups"]
                    if group["name"] in kept
                ],
            }
            for name, each in shown.items()
        ],
    }


def intersections(document: Document) -> list[Row]:
    """Return the groups of several columns together, without rates of those with too few rows."""
    shown = document["intersections"][:SHOWN_INTERSECTIONS]
    limit = max(8, GROUP_ROWS // max(1, len(shown)))
    return [_intersection(each, limit) for each in shown]


def _intersection(intersection: Document, limit: int) -> Row:
    names, small = (
        unique_labels(group["name"] for group in intersection["groups"]),
        set(intersection["too_small"]),
    )
    kept = set(sections.shown_groups(intersection["groups"], limit))
    gaps = intersection["gaps"] or {}
    return {
        "columns": [shorten(column) for column in intersection["columns"]],
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
            for group in intersection["groups"]
            if group["name"] in kept
        ],
    }

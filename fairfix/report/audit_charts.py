"""Charts of rows by their scores as inline SVG: calibration, other thresholds, ROC, PR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.figures import Figure, budget_band, is_ratio, neutral
from fairfix.report.svg import SHAPES, Plot, Point, Scale, percent, rule, segment, symbol, tag

UNIT = Scale(0.0, 1.0, 0.25)


def reliability(parts: Mapping[str, Mapping[str, Any]], name: str) -> Markup:
    """Return the reliability diagram of one group: base rate by mean score, one mark per bin.

    Args:
        parts: calibrations of the group's scores by kind, a key of ``svg.SHAPES``.
    """
    plot = Plot(
        UNIT,
        UNIT,
        "Mean score",
        "Favorable labels",
        f"Calibration of {name}",
        "Each mark is a bin of neighboring scores. Above the diagonal more labels are favorable "
        "than the scores predict, below it fewer.",
    )
    layers = [segment(0, 100, 100, 0, "diagonal")]
    for kind, calibration in parts.items():
        for each in calibration["bins"]:
            rate = Figure.of(each["rate"])
            if each["mean_score"] is None or rate.value is None:
                continue
            x, y = plot.point(each["mean_score"], rate.value)
            if rate.bounds is not None:
                low, high = (100 - plot.y.at(end) for end in rate.bounds)
                layers.append(segment(x, low, x, high, f"whisker {kind}"))
            layers.append(symbol(kind, x, y))
    return plot.draw(*layers, class_="square")


def gap_curve(sweep: Mapping[str, Any], budget: float) -> Markup:
    """Return the metric by shared threshold, with its budget band; for a ratio its absolute gap."""
    metric = sweep["metric"]
    ratio = is_ratio(metric)  # unbounded if a group has no positive decisions
    key, band, zero = (
        ("size", (0.0, budget), 0.0)
        if ratio
        else ("gap", budget_band(metric, budget), neutral(metric))
    )
    title = title_of(metric)
    plot = _plot(
        sweep,
        key,
        [*band, zero],
        f"Gap (1 − ratio), {title}" if ratio else title,
        "Gap by threshold",
        f"The {title} at each shared threshold; the shaded band is the budget of {budget:g}.",
    )
    line = rule("zero", y=100 - plot.y.at(zero))
    return plot.draw(plot.across(*band), line, *_curve(plot, sweep, key), class_="low")


def performance_curve(sweep: Mapping[str, Any]) -> Markup:
    """Return the performance by shared threshold."""
    title = title_of(sweep["performance"])
    plot = _plot(
        sweep,
        "performance",
        [],
        title,
        "Performance by threshold",
        f"The {title} at each threshold.",
    )
    return plot.draw(*_curve(plot, sweep, "performance"), class_="low")


def selection_curves(sweep: Mapping[str, Any], shown: Sequence[int]) -> Markup:
    """Return the selection rate by shared threshold, one line for each group in ``shown``."""
    plot = Plot(
        UNIT,
        UNIT,
        "Shared threshold",
        "Selection rate",
        "Selection rate by threshold",
        "The share of each group's rows decided positive at each shared threshold.",
    )
    layers = [_in_use(plot, sweep)]
    for style, group in enumerate(shown):
        points = [(p["threshold"], p["selection_rates"][group]) for p in sweep["points"]]
        layers.append(plot.line(points, f"series s{style}"))
    return plot.draw(*layers, class_="low")


@dataclass(frozen=True)
class GroupCurve:
    """Points (x, y) of a group over all thresholds, and that of its decisions.

    Attributes:
        style: number of the line style.
        group: number of the group in the embedded data.
        operating: None if the thresholds in use are not by this group; its y is None where it is
            undefined.
    """

    style: int
    group: int
    points: Sequence[Point]
    operating: Point | None


def roc_curves(curves: Sequence[GroupCurve]) -> Markup:
    """Return ROC curves with operating points that a script can move."""
    plot = Plot(
        UNIT,
        UNIT,
        "False positive rate",
        "True positive rate",
        "ROC by group",
        "The true positive rate of each group by its false positive rate, over all thresholds; "
        "dots are at the chosen thresholds.",
    )
    return _group_curves(plot, curves, ("fpr", "tpr"), segment(0, 100, 100, 0, "diagonal"))


def precision_recall_curves(curves: Sequence[GroupCurve]) -> Markup:
    """Return precision-recall curves with operating points that a script can move."""
    plot = Plot(
        UNIT,
        UNIT,
        "Recall (true positive rate)",
        "Precision (positive predictive value)",
        "Precision-recall by group",
        "The share of favorable labels among a group's positive decisions by its true positive "
        "rate, over all thresholds; dots are at the chosen thresholds.",
    )
    return _group_curves(plot, curves, ("tpr", "ppv"))


def _group_curves(
    plot: Plot, curves: Sequence[GroupCurve], rates: tuple[str, str], *below: Markup
) -> Markup:
    layers = [*below, *(plot.line(each.points, f"series s{each.style}") for each in curves)]
    for each in curves:
        across, up = each.operating or (0.0, None)
        x, y = plot.point(across, up or 0.0)
        layers.append(
            tag(
                "svg",
                tag("path", d=SHAPES["rest"], class_=f"mark dot-s{each.style}"),
                x=percent(x),
                y=percent(y),
                overflow="visible",
                visibility="hidden" if up is None else "visible",
                data_group=each.group,
                data_x=rates[0],
                data_y=rates[1],
            )
        )
    return plot.draw(*layers, class_="square")


def _in_use(plot: Plot, sweep: Mapping[str, Any]) -> Markup:
    return rule("chosen", x=plot.x.at(sweep["current"]["threshold"]))


def _plot(
    sweep: Mapping[str, Any], key: str, include: Sequence[float], y: str, title: str, text: str
) -> Plot:
    values = [point[key] for point in (*sweep["points"], sweep["current"])]
    return Plot(
        UNIT,
        Scale.over([*include, *values]),
        "Shared threshold",
        y[:1].upper() + y[1:],
        title,
        text,
    )


def _curve(plot: Plot, sweep: Mapping[str, Any], key: str) -> list[Markup]:
    """Return the curve and the mark of the threshold in use."""
    points: list[Point] = [(point["threshold"], point[key]) for point in sweep["points"]]
    current = sweep["current"]
    layers = [
        plot.line(points, "curve strong"),
        _in_use(plot, sweep),
    ]
    if current[key] is not None:
        layers.append(symbol("rest", *plot.point(current["threshold"], current[key])))
    return layers

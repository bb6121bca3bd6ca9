"""The charts of an audit: whether scores come true, and what other thresholds would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fairfix.metrics.registry import title as title_of
from fairfix.report.figures import Figure, budget_band, is_ratio, neutral
from fairfix.report.svg import Plot, Point, Scale, rule, segment, symbol

UNIT = Scale(0.0, 1.0, 0.25)


def reliability(part: Mapping[str, Any], name: str) -> Markup:
    """Every bin of one group's scores: the share that came true, with its interval, by the mean
    score; on the diagonal the two are alike."""
    plot = Plot(
        UNIT,
        UNIT,
        "Mean score",
        "Favorable labels",
        f"Scores against labels of {name}",
        "Each dot is a bin of neighboring scores. Above the diagonal more labels are favorable "
        "than the scores promise, below it fewer.",
    )
    layers = [segment(0, 100, 100, 0, "diagonal")]
    for each in part["bins"]:
        rate = Figure.of(each["rate"])
        if each["mean_score"] is None or rate.value is None:
            continue
        x, y = plot.point(each["mean_score"], rate.value)
        if rate.bounds is not None:
            low, high = (100 - plot.y.at(end) for end in rate.bounds)
            layers.append(segment(x, low, x, high, "whisker rest"))
        layers.append(symbol("rest", x, y))
    return plot.draw(*layers, class_="square")


def gap_curve(found: Mapping[str, Any], budget: float) -> Markup:
    """The metric by shared threshold over its budget band; of the ratio, the size of its gap."""
    metric = found["metric"]
    ratio = is_ratio(metric)  # beyond all bounds where one group gets nothing
    key, band, zero = (
        ("size", (0.0, budget), 0.0)
        if ratio
        else ("gap", budget_band(metric, budget), neutral(metric))
    )
    title = title_of(metric)
    plot = _plot(
        found,
        key,
        [*band, zero],
        f"Gap (1 − ratio), {title}" if ratio else title,
        "Gap by threshold",
        f"The {title} at every shared threshold; the shaded band is the budget of {budget:g}.",
    )
    line = rule("zero", y=100 - plot.y.at(zero))
    return plot.draw(plot.across(*band), line, *_course(plot, found, key), class_="low")


def performance_curve(found: Mapping[str, Any]) -> Markup:
    """The performance by shared threshold."""
    title = title_of(found["performance"])
    plot = _plot(
        found, "performance", [], title, "Performance by threshold", f"The {title} at every one."
    )
    return plot.draw(*_course(plot, found, "performance"), class_="low")


def selection_curves(found: Mapping[str, Any], shown: Sequence[int]) -> Markup:
    """Positive decisions by shared threshold, a line for each of the groups shown."""
    plot = Plot(
        UNIT,
        UNIT,
        "Shared threshold",
        "Positive decisions",
        "Positive decisions by threshold",
        "The share of each group's rows that is decided positive at every shared threshold.",
    )
    layers = [rule("chosen", x=plot.x.at(found["current"]["threshold"]))]
    for style, group in enumerate(shown):
        points = [(p["threshold"], p["selection_rates"][group]) for p in found["points"]]
        layers.append(plot.line(points, f"series s{style}"))
    return plot.draw(*layers, class_="low")


def _plot(
    found: Mapping[str, Any], key: str, hold: Sequence[float], y: str, title: str, said: str
) -> Plot:
    values = [point[key] for point in (*found["points"], found["current"])]
    return Plot(
        UNIT,
        Scale.over([*hold, *values]),
        "Shared threshold",
        y[:1].upper() + y[1:],
        title,
        said,
    )


def _course(plot: Plot, found: Mapping[str, Any], key: str) -> list[Markup]:
    """The curve, and on it the threshold in use."""
    points: list[Point] = [(point["threshold"], point[key]) for point in found["points"]]
    current = found["current"]
    layers = [
        plot.line(points, "course strong"),
        rule("chosen", x=plot.x.at(current["threshold"])),
    ]
    if current[key] is not None:
        layers.append(symbol("rest", *plot.point(current["threshold"], current[key])))
    return layers

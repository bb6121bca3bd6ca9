"""Charts of an audit as inline SVG: calibration, and results at other thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.figures import Figure, budget_band, is_ratio, neutral
from fairfix.report.svg import SHAPES, Plot, Point, Scale, percent, rule, segment, symbol, tag

UNIT = Scale(0.0, 1.0, 0.25)


def reliability(calibration: Mapping[str, Any], name: str) -> Markup:
    """Return the reliability diagram of one group: base rate by mean score, one dot per bin."""
    plot = Plot(
        UNIT,
        UNIT,
        "Mean score",
        "Favorable labels",
        f"Calibration of {name}",
        "Each dot is a bin of neighboring scores. Above the diagonal more labels are favorable "
        "than the scores predict, below it fewer.",
    )
    layers = [segment(0, 100, 100, 0, "diagonal")]
    for each in calibration["bins"]:
        rate = Figure.of(each["rate"])
        if each["mean_score"] is None or rate.value is None:
            continue
        x, y = plot.point(each["mean_score"], rate.value)
        if rate.bounds is not None:
            low, high = (100 - plot.y.at(end) for end in rate.bounds)
            layers.append(segment(x, low, x, high, "whisker rest"))
        layers.append(symbol("rest", x, y))
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
class RocCurve:
    """Points (false positive rate, true positive rate) of a group, and that of the decisions."""

    points: Sequence[tuple[float, float]]
    operating: tuple[float, float] | None


def roc_curves(curves: Sequence[RocCurve]) -> Markup:
    """Return ROC curves, one line for each group, with operating points that a script can move."""
    plot = Plot(
        UNIT,
        UNIT,
        "False positive rate",
        "True positive rate",
        "ROC by group",
        "The true positive rate of each group by its false positive rate, over all thresholds; "
        "dots are at the chosen thresholds.",
    )
    layers = [segment(0, 100, 100, 0, "diagonal")]
    layers += [plot.line(each.points, f"series s{i}") for i, each in enumerate(curves)]
    for i, each in enumerate(curves):
        x, y = plot.point(*(each.operating or (0.0, 0.0)))
        layers.append(
            tag(
                "svg",
                tag("path", d=SHAPES["rest"], class_=f"mark dot-s{i}"),
                x=percent(x),
                y=percent(y),
                overflow="visible",
                visibility="visible" if each.operating else "hidden",
                data_group=i,
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

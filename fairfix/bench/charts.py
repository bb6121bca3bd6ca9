"""The charts of a study page, as inline SVG without scripts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fairfix._utils.text import format_number
from fairfix.bench.cell_table import BASELINE, GROUP_THRESHOLDS, UNMODIFIED, gap_size
from fairfix.bench.goal import Goal
from fairfix.bench.split_statistics import Quartiles
from fairfix.bench.summary import MethodSummary
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.charts import axis
from fairfix.report.figures import thin
from fairfix.report.svg import (
    LogScale,
    Plot,
    Point,
    Scale,
    area,
    path,
    percent,
    rule,
    segment,
    symbol,
    tag,
)

SHOWN_DOTS = 40
SHOWN_STEPS = 80
COLORS = 8
WHISKER_OFFSET = 0.35  # percent of the width, so that whiskers at one point do not overlap


def mark_kind(method: MethodSummary) -> str:
    """Return the kind of mark of a method (see ``svg.SHAPES``)."""
    references = {BASELINE: "retuned", UNMODIFIED: "unmodified", GROUP_THRESHOLDS: "thresholds"}
    return references.get(method.method, "aware" if method.needs_group else "free")


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


@dataclass(frozen=True)
class BoxStrips:
    """Strips with the values of all splits as dots, quartiles as a box and the median as a line."""

    scale: Scale | LogScale

    def axis(self) -> Markup:
        """Return the ticks of the scale."""
        return axis(self.scale, self.scale.label)

    def strip(self, values: Sequence[float], spread: Quartiles, title: str) -> Markup:
        """Return the strip of one table row; ``title`` describes it for screen readers."""
        at = self.scale.at
        shown = sorted(value for value in values if not math.isnan(value))
        shown = [shown[i] for i in thin(len(shown), SHOWN_DOTS)]
        drawn = [rule("grid", x=at(tick)) for tick in self.scale.ticks]
        if shown:
            drawn.append(
                area(at(spread.lower_quartile), at(spread.upper_quartile), 24, 76, class_="box")
            )
            drawn += [_dot(at(value), 36 + 28 * (i % 2)) for i, value in enumerate(shown)]
            median = at(spread.median)
            drawn.append(segment(median, 18, median, 82, "median"))
        return tag("svg", tag("title", title), *drawn, class_="strip", role="img")


def _dot(x: float, y: float) -> Markup:
    return tag("circle", cx=percent(x), cy=percent(y), r=2, class_="dot")


def plane_chart(goal: Goal, methods: Sequence[MethodSummary], titles: Mapping[str, str]) -> Markup:
    """Draw every method by mean performance and mean absolute gap, with quartiles over splits.

    The background shows the budget, or contours of equal trade-off. A dashed line connects the
    unmodified model, the retuned threshold and the group thresholds: what thresholds alone reach.
    ``titles`` describes each method for screen readers.
    """
    known = [x for x in methods if not math.isnan(x.mean_gap + x.mean_performance)]
    across = [v for x in known for v in (x.mean_performance, *x.performance[1:])]
    up = [v for x in known for v in (x.mean_gap, *x.gap[1:])]
    background = (
        "Slanted lines connect points of equal trade-off."
        if goal.smaller_is_better
        else (f"The shaded band is the budget of {goal.budget:g}.")
    )
    plot = Plot(
        Scale.over(across),
        Scale.over([0.0, *([] if goal.smaller_is_better else [goal.budget]), *up]),
        f"{_capitalize(title_of(goal.performance_key))}, mean",
        "Absolute gap, mean",
        "Fairness against performance",
        "Performance increases to the right, the absolute gap upwards; whiskers are quartiles "
        f"over splits. {background}",
    )
    ground = (
        _contours(plot, goal.lambda_) if goal.smaller_is_better else [plot.across(0.0, goal.budget)]
    )
    order = (UNMODIFIED, BASELINE, GROUP_THRESHOLDS)
    references = sorted(
        (x for x in known if x.method in order), key=lambda x: order.index(x.method)
    )
    line = plot.line([(x.mean_performance, x.mean_gap) for x in references], "thresholds-alone")
    marks = [
        symbol(mark_kind(x), *plot.point(x.mean_performance, x.mean_gap), title=titles[x.method])
        for x in known
    ]
    points = [(x.method, *plot.point(x.mean_performance, x.mean_gap)) for x in known]
    whiskers = [whisker for x in known for whisker in _whiskers(plot, x)]
    return plot.draw(*ground, line, *whiskers, *marks, *point_labels(points), class_="tall plane")


def _whiskers(plot: Plot, method: MethodSummary) -> Iterable[Markup]:
    x, y = plot.point(method.mean_performance, method.mean_gap)
    left, right = (plot.x.at(v) for v in method.performance[1:])
    low, high = (100 - plot.y.at(v) for v in method.gap[1:])
    yield segment(left, y, right, y, f"whisker faint {mark_kind(method)}")
    yield segment(x, low, x, high, f"whisker faint {mark_kind(method)}")


def _contours(plot: Plot, weight: float) -> list[Markup]:
    """Draw labeled lines of equal weight * gap + (1 - weight) * (1 - performance)."""

    def trade_off(performance: float, gap: float) -> float:
        return weight * gap + (1 - weight) * (1 - performance)

    left, right, low, high = plot.x.low, plot.x.high, plot.y.low, plot.y.high
    scale = Scale.over([trade_off(right, low), trade_off(left, high)])
    drawn = []
    for value in scale.ticks[1:-1]:
        ends = [
            (performance, (value - (1 - weight) * (1 - performance)) / weight)
            for performance in (left, right)
            if weight > 0
        ] + [(1 - (value - weight * gap) / (1 - weight), gap) for gap in (low, high) if weight < 1]
        inside = sorted({(x, y) for x, y in ends if left <= x <= right and low <= y <= high})
        if len(inside) < 2:
            continue
        start, end = plot.point(*inside[0]), plot.point(*inside[-1])
        drawn.append(segment(*start, *end, "contour"))
        drawn.append(
            tag("text", scale.label(value), x=percent(end[0]), y=percent(end[1]), dx=-3, dy=12,
                class_="end contour-label")
        )  # fmt: skip
    return drawn


@dataclass(frozen=True)
class LabelSize:
    """Size of a letter in percent of the chart, and the CSS class of charts of that width."""

    width: float
    height: float
    class_: str

    def box(self, text: str, x: float, y: float, side: int) -> LabelBox:
        """Return the area of a label that starts (side 1) or ends (side -1) at a point."""
        near, far = x + 1.5 * side, x + side * (1.5 + self.width * len(text))
        return LabelBox(min(near, far), max(near, far), y - self.height / 2, y + self.height / 2)


@dataclass(frozen=True)
class LabelBox:
    """A rectangle in a chart, in percent from the left and from the top."""

    left: float
    right: float
    top: float
    bottom: float

    def overlaps(self, other: LabelBox) -> bool:
        """Return whether the two share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom - 0.01 and other.top < self.bottom - 0.01

    @property
    def inside(self) -> bool:
        """Whether the rectangle lies within the chart, with a small tolerance."""
        return self.left > -1 and self.right < 101 and self.top > -4 and self.bottom < 104


LABEL_SIZES = (LabelSize(1.05, 3.9, "on-wide"), LabelSize(2.4, 5.6, "on-narrow"))
SHIFTS = sorted(range(-14, 15), key=abs)  # in lines of text


def point_labels(points: Sequence[tuple[str, float, float]]) -> list[Markup]:
    """Draw a label next to each point (in percent), moved up or down to avoid overlaps.

    Labels are drawn for wide and for narrow charts; the style sheet shows one of the two.
    """
    return [tag("g", *_labels(points, size), class_=size.class_) for size in LABEL_SIZES]


def _labels(points: Sequence[tuple[str, float, float]], size: LabelSize) -> Iterable[Markup]:
    taken = [LabelBox(x - 1, x + 1, y - 1.5, y + 1.5) for _, x, y in points]
    for text, x, y in sorted(points, key=lambda point: point[2]):
        side, label_y, box = _free_position(size, text, x, y, taken)
        taken.append(box)
        moved = label_y != y
        if moved:
            yield segment(x, y, x + side * 1.5, label_y, "leader")
        yield tag(
            "text",
            text,
            x=percent(x + side * (1.5 if moved else 0)),
            y=percent(label_y),
            dx=side * (2 if moved else 9),
            dy="0.32em",
            class_=f"{'start' if side > 0 else 'end'} name",
        )


def _free_position(
    size: LabelSize, text: str, x: float, y: float, taken: Sequence[LabelBox]
) -> tuple[int, float, LabelBox]:
    """Return the nearest free position of a label: side of the point, y, and area."""
    sides = (1, -1) if x < 60 else (-1, 1)
    for shift in SHIFTS:
        for side in sides:
            label_y = y + shift * size.height
            box = size.box(text, x, label_y, side)
            if box.inside and not any(map(box.overlaps, taken)):
                return side, label_y, box
    return sides[0], y, size.box(text, x, y, sides[0])


Run = tuple[np.ndarray, int]
"""One split: steps (S, 2) with gap and performance on validation rows, and the chosen step."""


@dataclass(frozen=True)
class StepCharts:
    """Absolute gap and performance of a method by step."""

    gap: Markup
    performance: Markup


def step_charts(goal: Goal, runs: Sequence[Run]) -> StepCharts | None:
    """Draw absolute gap and performance by step, median and quartiles over splits.

    Returns None if no split has more than two steps.
    """
    longest = max((len(steps) for steps, _ in runs), default=0)
    if longest < 3:
        return None
    shown = [
        s
        for s in thin(longest, SHOWN_STEPS)
        if 2 * sum(len(steps) > s for steps, _ in runs) >= len(runs)
    ]
    at = [[steps[s] for steps, _ in runs if len(steps) > s] for s in shown]
    gaps = [[_size(goal, float(step[0])) for step in steps] for steps in at]
    performances = [[float(step[1]) for step in steps] for steps in at]
    chosen = [step for _, step in runs]
    band = None if goal.smaller_is_better else (0.0, goal.budget)
    name = _capitalize(title_of(goal.performance_key))
    return StepCharts(
        _step_chart(shown, gaps, "Absolute gap", band, chosen),
        _step_chart(shown, performances, name, None, chosen),
    )


def _size(goal: Goal, gap: float) -> float:
    return gap_size(goal.metric, None if math.isnan(gap) else gap)


def _step_chart(
    steps: Sequence[int],
    values: Sequence[Sequence[float]],
    name: str,
    band: tuple[float, float] | None,
    chosen: Sequence[int],
) -> Markup:
    by_step = [_quartiles(at) for at in values]
    last = max(1, steps[-1])
    ends = [v for q in by_step if q is not None for v in q]
    plot = Plot(
        Scale(0.0, float(last), max(1.0, Scale.over([0, last], steps=4).step)),
        Scale.over([*ends, *(band or ())], steps=4),
        "Step",
        "",
        f"{name} by step",
        f"{name} on validation rows by step: median and quartiles over splits. Marks at the "
        "bottom are the chosen steps.",
    )
    middle: list[Point] = [
        (step, None if q is None else q[1]) for step, q in zip(steps, by_step, strict=True)
    ]
    known = [(s, q) for s, q in zip(steps, by_step, strict=True) if q is not None]
    spread = [(s, q[2]) for s, q in known] + [(s, q[0]) for s, q in reversed(known)]
    rug = [
        segment(plot.x.at(step), 95, plot.x.at(step), 100, "chosen-step")
        for step in sorted({step for step in chosen if step <= last})
    ]
    return plot.draw(
        *([plot.across(*band)] if band else []),
        path("".join(_corners(plot, spread)) + "Z", "spread") if spread else Markup(""),
        plot.line(middle, "curve strong"),
        *rug,
        class_="low small",
    )


def _corners(plot: Plot, points: Sequence[tuple[float, float]]) -> Iterable[str]:
    for i, point in enumerate(points):
        x, y = plot.point(*point)
        yield f"{'L' if i else 'M'}{x:.1f} {y:.1f}"


def _quartiles(values: Sequence[float]) -> tuple[float, float, float] | None:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Series:
    """A method in a sweep: (parameter, quartiles over splits) for each point."""

    method: str
    color: int
    points: tuple[tuple[float, Quartiles], ...]


def sweep_chart(
    series: Sequence[Series], parameter: str, name: str, band: tuple[float, float] | None
) -> Markup:
    """Draw one line per method through its medians, with quartiles as whiskers side by side."""
    known = [point for each in series for point in each.points]
    plot = Plot(
        Scale.over([x for x, _ in known]),
        Scale.over([*(band or ()), *(v for _, spread in known for v in spread)]),
        parameter,
        "",
        f"{_capitalize(name)} by {parameter}",
        f"{_capitalize(name)} by {parameter}: one line per method through its medians; whiskers "
        "are quartiles over splits.",
    )
    layers = [plot.across(*band)] if band else []
    for i, each in enumerate(series):
        color = _color_class(each.color)
        offset = WHISKER_OFFSET * (i - (len(series) - 1) / 2)
        medians = [plot.point(x, spread.median) for x, spread in each.points]
        line = [f"{x + offset:.1f} {y:.1f}" for x, y in medians]
        layers.append(path("M" + "L".join(line), f"sweep-line {color}"))
        for (value, spread), (x, y) in zip(each.points, medians, strict=True):
            x += offset
            low, high = (100 - plot.y.at(v) for v in spread[1:])
            title = f"{each.method}, {parameter} {value:g}: {format_number(spread.median)}"
            layers.append(segment(x, low, x, high, f"bar-line {color}"))
            layers.append(
                tag("circle", tag("title", title),
                    cx=percent(x), cy=percent(y), r=3, class_=f"point {color}")
            )  # fmt: skip
    return plot.draw(*layers, class_="tall")


def _color_class(color: int) -> str:
    return f"c{color % COLORS}{' dashed' if color >= COLORS else ''}"


def color_key(color: int) -> Markup:
    """Draw the line of a method for a legend."""
    return tag(
        "svg",
        tag("path", d="M-8 0H8", class_=f"sweep-line {_color_class(color)}"),
        tag("circle", r=3, class_=f"point {_color_class(color)}"),
        class_="key",
        viewBox="-8 -8 16 16",
        aria_hidden="true",
    )

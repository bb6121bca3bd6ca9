"""The pictures of a study, as inline SVG without scripts; ``fairfix.report.svg`` has the parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from fairfix.bench.cell_table import BASELINE, GROUP_THRESHOLDS, UNMODIFIED, gap_size
from fairfix.bench.goal import Goal
from fairfix.bench.split_statistics import Quartiles
from fairfix.bench.summary import MethodSummary
from fairfix.report.charts import axis
from fairfix.report.figures import TITLES, number, thin
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
ASIDE = 0.35  # percent of the width between whiskers that would cover each other


def kind(line: MethodSummary) -> str:
    """The mark of a method: what it changes, and what it needs to know."""
    known = {BASELINE: "retuned", UNMODIFIED: "unmodified", GROUP_THRESHOLDS: "cuts"}
    return known.get(line.method, "aware" if line.needs_group else "free")


def title(key: str) -> str:
    """The full name of a metric or performance."""
    return TITLES.get(key, key)


def capital(words: str) -> str:
    return words[:1].upper() + words[1:]


@dataclass(frozen=True)
class Boxes:
    """Values over splits on one scale: a dot each, quartiles as a box, the median as a line."""

    scale: Scale | LogScale

    def axis(self) -> Markup:
        """The ticks of the scale."""
        return axis(self.scale, self.scale.label)

    def strip(self, values: Sequence[float], spread: Quartiles, said: str) -> Markup:
        """One row of a table; ``said`` is the picture in words."""
        at = self.scale.at
        shown = sorted(value for value in values if not math.isnan(value))
        shown = [shown[i] for i in thin(len(shown), SHOWN_DOTS)]
        drawn = [rule("grid", x=at(tick)) for tick in self.scale.ticks]
        if shown:
            drawn.append(
                area(at(spread.lower_quartile), at(spread.upper_quartile), 24, 76, class_="box")
            )
            drawn += [_dot(at(value), 36 + 28 * (i % 2)) for i, value in enumerate(shown)]
            where = at(spread.median)
            drawn.append(segment(where, 18, where, 82, "median"))
        return tag("svg", tag("title", said), *drawn, class_="strip", role="img")


def _dot(x: float, y: float) -> Markup:
    return tag("circle", cx=percent(x), cy=percent(y), r=2, class_="dot")


def plane(goal: Goal, lines: Sequence[MethodSummary], spreads: Mapping[str, str]) -> Markup:
    """Every method by its mean performance and mean size of the gap, with quartiles over splits.

    Behind them the budget, or for a trade-off lines of equal worth. What can be had by moving cuts
    alone is joined by a line. ``spreads`` says each method in words.
    """
    known = [x for x in lines if not math.isnan(x.mean_gap + x.mean_performance)]
    across = [v for x in known for v in (x.mean_performance, *x.performance[1:])]
    up = [v for x in known for v in (x.mean_gap, *x.gap[1:])]
    behind = (
        "Slanted lines join what is of equal worth."
        if goal.smaller_is_better
        else (f"The shaded band is the budget of {goal.budget:g}.")
    )
    plot = Plot(
        Scale.over(across),
        Scale.over([0.0, *([] if goal.smaller_is_better else [goal.budget]), *up]),
        f"{capital(title(goal.performance_key))}, mean",
        "Size of the gap, mean",
        "Fairness against performance",
        "To the right is better performance, further down a smaller gap; whiskers are quartiles "
        f"over splits. {behind}",
    )
    ground = (
        contours(plot, goal.weight) if goal.smaller_is_better else [plot.across(0.0, goal.budget)]
    )
    cuts = [x for x in known if x.method in (UNMODIFIED, BASELINE, GROUP_THRESHOLDS)]
    cuts.sort(key=lambda x: (UNMODIFIED, BASELINE, GROUP_THRESHOLDS).index(x.method))
    joined = plot.line([(x.mean_performance, x.mean_gap) for x in cuts], "cuts-alone")
    marks = [
        symbol(kind(x), *plot.point(x.mean_performance, x.mean_gap), title=spreads[x.method])
        for x in known
    ]
    places = [(x.method, *plot.point(x.mean_performance, x.mean_gap)) for x in known]
    whiskers = [whisker for x in known for whisker in _cross(plot, x)]
    return plot.draw(*ground, joined, *whiskers, *marks, *labels(places), class_="tall plane")


def _cross(plot: Plot, line: MethodSummary) -> Iterable[Markup]:
    x, y = plot.point(line.mean_performance, line.mean_gap)
    left, right = (plot.x.at(v) for v in line.performance[1:])
    low, high = (100 - plot.y.at(v) for v in line.gap[1:])
    yield segment(left, y, right, y, f"whisker faint {kind(line)}")
    yield segment(x, low, x, high, f"whisker faint {kind(line)}")


def contours(plot: Plot, weight: float) -> list[Markup]:
    """Lines of equal weight * gap + (1 - weight) * (1 - performance), with their values."""

    def worth(performance: float, gap: float) -> float:
        return weight * gap + (1 - weight) * (1 - performance)

    left, right, low, high = plot.x.low, plot.x.high, plot.y.low, plot.y.high
    scale = Scale.over([worth(right, low), worth(left, high)])
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
class Type:
    """How large a letter is in percent of a drawing, and where such a drawing is shown."""

    width: float
    height: float
    class_: str

    def box(self, name: str, x: float, y: float, side: int) -> Box:
        """What a name covers that begins (side 1) or ends (side -1) at a point."""
        near, far = x + 1.5 * side, x + side * (1.5 + self.width * len(name))
        return Box(min(near, far), max(near, far), y - self.height / 2, y + self.height / 2)


@dataclass(frozen=True)
class Box:
    """Part of a drawing, in percent from the left and from the top."""

    left: float
    right: float
    top: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom - 0.01 and other.top < self.bottom - 0.01

    @property
    def inside(self) -> bool:
        """Whether it lies in the drawing, or hardly out of it."""
        return self.left > -1 and self.right < 101 and self.top > -4 and self.bottom < 104


TYPES = (Type(1.05, 3.9, "on-wide"), Type(2.4, 5.6, "on-narrow"))
SHIFTS = sorted(range(-14, 15), key=abs)  # in lines of type


def labels(places: Sequence[tuple[str, float, float]]) -> list[Markup]:
    """A name beside each point (in percent), moved up or down where something else stands.

    They are drawn twice, for wide drawings and for narrow ones; the style sheet shows one.
    """
    return [tag("g", *_placed(places, letters), class_=letters.class_) for letters in TYPES]


def _placed(places: Sequence[tuple[str, float, float]], letters: Type) -> Iterable[Markup]:
    taken = [Box(x - 1, x + 1, y - 1.5, y + 1.5) for _, x, y in places]
    for name, x, y in sorted(places, key=lambda place: place[2]):
        side, down, box = _free(letters, name, x, y, taken)
        taken.append(box)
        moved = down != y
        if moved:
            yield segment(x, y, x + side * 1.5, down, "leader")
        yield tag(
            "text",
            name,
            x=percent(x + side * (1.5 if moved else 0)),
            y=percent(down),
            dx=side * (2 if moved else 9),
            dy="0.32em",
            class_=f"{'start' if side > 0 else 'end'} name",
        )


def _free(
    letters: Type, name: str, x: float, y: float, taken: Sequence[Box]
) -> tuple[int, float, Box]:
    """The nearest place for a name: on which side of the point, and how far down."""
    sides = (1, -1) if x < 60 else (-1, 1)
    for shift in SHIFTS:
        for side in sides:
            down = y + shift * letters.height
            box = letters.box(name, x, down, side)
            if box.inside and not any(map(box.meets, taken)):
                return side, down, box
    return sides[0], y, letters.box(name, x, y, sides[0])


Run = tuple[np.ndarray, int]


@dataclass(frozen=True)
class Course:
    """What a method's steps were like."""

    gap: Markup
    performance: Markup


def course(goal: Goal, runs: Sequence[Run]) -> Course | None:
    """Size of the gap and performance by step, median and quartiles over splits.

    Args:
        runs: of every split the steps (S, 2), gap and performance on the fitting rows, and the
            number of the one that was kept. None is drawn where no split has more than two.
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
    kept = [step for _, step in runs]
    band = None if goal.smaller_is_better else (0.0, goal.budget)
    name = capital(title(goal.performance_key))
    return Course(
        _course_plot(shown, gaps, "Size of the gap", band, kept),
        _course_plot(shown, performances, name, None, kept),
    )


def _size(goal: Goal, gap: float) -> float:
    return gap_size(goal.metric, None if math.isnan(gap) else gap)


def _course_plot(
    steps: Sequence[int],
    values: Sequence[Sequence[float]],
    name: str,
    band: tuple[float, float] | None,
    kept: Sequence[int],
) -> Markup:
    quartiles = [_quartiles(at) for at in values]
    last = max(1, steps[-1])
    ends = [v for q in quartiles if q is not None for v in q]
    plot = Plot(
        Scale(0.0, float(last), max(1.0, Scale.over([0, last], wanted=4).step)),
        Scale.over([*ends, *(band or ())], wanted=4),
        "Step",
        "",
        f"{name} by step",
        f"{name} on the fitting rows by step: median and quartiles over splits. The marks below "
        "are the steps kept.",
    )
    middle: list[Point] = [
        (step, None if q is None else q[1]) for step, q in zip(steps, quartiles, strict=True)
    ]
    known = [(s, q) for s, q in zip(steps, quartiles, strict=True) if q is not None]
    spread = [(s, q[2]) for s, q in known] + [(s, q[0]) for s, q in reversed(known)]
    rug = [
        segment(plot.x.at(k), 95, plot.x.at(k), 100, "kept")
        for k in sorted({k for k in kept if k <= last})
    ]
    return plot.draw(
        *([plot.across(*band)] if band else []),
        path("".join(_corners(plot, spread)) + "Z", "spread") if spread else Markup(""),
        plot.line(middle, "course strong"),
        *rug,
        class_="low small",
    )


def _corners(plot: Plot, points: Sequence[tuple[float, float]]) -> Iterable[str]:
    for i, point in enumerate(points):
        across, down = plot.point(*point)
        yield f"{'L' if i else 'M'}{across:.1f} {down:.1f}"


def _quartiles(values: Sequence[float]) -> tuple[float, float, float] | None:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return None
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    return float(low), float(middle), float(high)


@dataclass(frozen=True)
class Series:
    """A method along the knob of a sweep: (knob, spread over splits)."""

    method: str
    color: int
    points: tuple[tuple[float, Quartiles], ...]


def along(
    series: Sequence[Series], knob: str, name: str, band: tuple[float, float] | None
) -> Markup:
    """A line a method through its medians, with quartiles as whiskers side by side."""
    known = [point for each in series for point in each.points]
    plot = Plot(
        Scale.over([x for x, _ in known]),
        Scale.over([*(band or ()), *(v for _, spread in known for v in spread)]),
        knob,
        "",
        f"{capital(name)} by {knob}",
        f"{capital(name)} by {knob}: a line a method through its medians; whiskers are quartiles "
        "over splits.",
    )
    layers = [plot.across(*band)] if band else []
    for i, each in enumerate(series):
        shade = f"c{each.color % COLORS}{' dashed' if each.color >= COLORS else ''}"
        aside = ASIDE * (i - (len(series) - 1) / 2)
        places = [plot.point(x, spread.median) for x, spread in each.points]
        course = [f"{x + aside:.1f} {y:.1f}" for x, y in places]
        layers.append(path("M" + "L".join(course), f"along {shade}"))
        for (x, spread), (where, middle) in zip(each.points, places, strict=True):
            where += aside
            low, high = (100 - plot.y.at(v) for v in spread[1:])
            layers.append(segment(where, low, where, high, f"bar-line {shade}"))
            layers.append(
                tag("circle", tag("title", f"{each.method}, {knob} {x:g}: {number(spread.median)}"),
                    cx=percent(where), cy=percent(middle), r=3, class_=f"point {shade}")
            )  # fmt: skip
    return plot.draw(*layers, class_="tall")


def color_key(color: int) -> Markup:
    """The line of a method for a legend."""
    shade = f"c{color % COLORS}{' dashed' if color >= COLORS else ''}"
    return tag(
        "svg",
        tag("path", d="M-8 0H8", class_=f"along {shade}"),
        tag("circle", r=3, class_=f"point {shade}"),
        class_="key",
        viewBox="-8 -8 16 16",
        aria_hidden="true",
    )

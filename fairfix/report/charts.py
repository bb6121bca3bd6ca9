"""The charts of a report, as inline SVG without scripts; ``svg`` has the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from fairfix._utils.text import format_number, format_threshold
from fairfix.metrics.registry import title as title_of
from fairfix.report.figures import Figure, budget_band, neutral, size, thin
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

SHOWN_STEPS = 400


@dataclass(frozen=True)
class Mark:
    """One figure in a strip: what it is of (a kind of ``svg.SHAPES``) and in words."""

    kind: str
    figure: Figure
    title: str


@dataclass(frozen=True)
class Strips:
    """Dots with whiskers on one scale, one strip a row of a table, with a budget band behind."""

    scale: Scale
    zero: float | None = None
    band: tuple[float, float] | None = None

    @classmethod
    def around(
        cls,
        figures: Sequence[Figure],
        zero: float | None = None,
        band: tuple[float, float] | None = None,
    ) -> Strips:
        """Strips whose scale holds the figures with their intervals, zero and band."""
        ends = [end for f in figures for end in (f.value, *(f.bounds or ()))]
        return cls(Scale.over([*ends, zero, *(band or ())], wanted=4), zero, band)

    def strip(self, *marks: Mark) -> Markup:
        """The marks below each other in one strip."""
        gap = 100 / (len(marks) + 1)
        drawn = [self._mark(mark, (i + 1) * gap) for i, mark in enumerate(marks)]
        said = "; ".join(f"{mark.title}: {mark.figure}" for mark in marks)
        return tag("svg", tag("title", said), *self._ground(), *drawn, class_="strip", role="img")

    def axis(self) -> Markup:
        """The ticks of the scale."""
        return axis(self.scale, self.scale.label)

    def _ground(self) -> list[Markup]:
        at = self.scale.at
        ground = [] if self.band is None else [area(at(self.band[0]), at(self.band[1]))]
        ground += [rule("grid", x=at(tick)) for tick in self.scale.ticks]
        return ground if self.zero is None else [*ground, rule("zero", x=at(self.zero))]

    def _mark(self, mark: Mark, y: float) -> Markup:
        at, figure = self.scale.at, mark.figure
        if figure.value is None:
            return tag("text", "undefined", x="50%", y=percent(y), dy="0.32em", class_="middle")
        dot = symbol(mark.kind, at(figure.value), y)
        if figure.bounds is None:
            return dot
        low, high = map(at, figure.bounds)
        return segment(low, y, high, y, f"whisker {mark.kind}") + dot


@dataclass(frozen=True)
class Trades:
    """Shares that lost (to the left) and gained (to the right), one strip a group."""

    scale: Scale

    @classmethod
    def up_to(cls, most: float) -> Trades:
        """For shares of at most ``most``."""
        end = max(100 * most, 0.1)
        return cls(Scale.over([-end, end], wanted=4))

    def strip(self, lost: float, gained: float) -> Markup:
        """A bar from a middle line to each side."""
        left, middle, right = map(self.scale.at, (-100 * lost, 0.0, 100 * gained))
        shares = (format_number(100 * share, 1) for share in (lost, gained))
        title = "lost {} % of its rows, gained {} %".format(*shares)
        return tag(
            "svg",
            tag("title", title),
            *(rule("grid", x=self.scale.at(tick)) for tick in self.scale.ticks),
            area(left, middle, 28, 72, class_="lost"),
            area(middle, right, 28, 72, class_="gained"),
            rule("zero", x=middle),
            class_="strip",
            role="img",
        )

    def axis(self) -> Markup:
        """Percentages, both ways."""
        return axis(self.scale, lambda tick: self.scale.label(abs(tick)) + " %")


def axis(scale: Scale | LogScale, label: Callable[[float], str]) -> Markup:
    """The ticks of a scale, for the head of a column of strips."""
    ticks = (
        tag("text", label(t), x=percent(scale.at(t)), y="100%", dy=-10, class_="middle")
        for t in scale.ticks
    )
    return tag("svg", *ticks, class_="ticks", aria_hidden="true")


def plane(report: Mapping[str, Any]) -> Markup:
    """Every step by performance and size of the gap on the fitting rows, with the three networks,
    and where the result landed on the judged rows."""
    metric, key = report["objective"]["metric"], report["objective"]["performance"]
    budget, fitting = report["objective"]["budget"], report["results"]["validation"]

    def place(e: Mapping[str, Any]) -> tuple[Figure, Figure]:
        return Figure.of(e["performance"][key]), size(metric, Figure.of(e["gaps"][metric]))

    marks = {kind: place(e) for kind, e in fitting.items()}
    unseen = place(report["results"]["test"]["debiased"])
    steps = [
        (step["performance"], size(metric, Figure(step["gap"])).value)
        for step in report["method"]["trajectory"]
        if step["performance"] is not None
    ]
    every = [*((p.value, g.value) for p, g in (*marks.values(), unseen)), *steps]
    plot = Plot(
        Scale.over([p for p, _ in every]),
        Scale.over([0.0, budget, *(unseen[1].bounds or ()), *(g for _, g in every)]),
        _capital(performance_title(report)),
        "Size of the gap",
        "Fairness against performance",
        "Each dot is a step of the method on the fitting rows; to the right is better performance, "
        f"further down a smaller gap. The shaded band is the budget of {budget:g}.",
    )
    layers = [plot.across(0.0, budget)]
    layers.append(plot.dots(steps))
    chosen = marks["debiased"]
    if None not in (unseen[0].value, unseen[1].value, chosen[0].value, chosen[1].value):
        layers.append(_landing(plot, chosen, unseen))
    for kind, (performance, gap) in marks.items():
        if performance.value is not None and gap.value is not None:
            layers.append(symbol(kind, *plot.point(performance.value, gap.value)))
    return plot.draw(*layers, class_="tall")


def _landing(plot: Plot, fitted: tuple[Figure, Figure], unseen: tuple[Figure, Figure]) -> Markup:
    """From where the result stood on the fitting rows to where it stands on the judged rows."""
    start = plot.point(fitted[0].value or 0, fitted[1].value or 0)
    x, y = plot.point(unseen[0].value or 0, unseen[1].value or 0)
    drawn = segment(*start, x, y, "landing")
    if unseen[1].bounds:
        low, high = (100 - plot.y.at(end) for end in unseen[1].bounds)
        drawn += segment(x, low, x, high, "whisker debiased")
    return drawn + symbol("unseen", x, y)


def trajectory(report: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """The gap and the performance by step, the chosen one marked."""
    objective, method = report["objective"], report["method"]
    metric, chosen = objective["metric"], method["chosen_step"]
    steps = method["trajectory"]
    band = budget_band(metric, objective["budget"])
    gaps = _thinned([(step["step"], step["gap"]) for step in steps], chosen)
    performances = _thinned([(step["step"], step["performance"]) for step in steps], chosen)
    x = _whole(max((step["step"] for step in steps), default=1))
    gap = Plot(
        x,
        Scale.over([*band, neutral(metric), *(y for _, y in gaps)]),
        "Step",
        _capital(objective["metric_title"]),
        "Gap by step",
        f"The gap of every step at its best cut on the fitting rows; step {chosen} was chosen.",
    )
    performance = Plot(
        x,
        Scale.over([y for _, y in performances]),
        "Step",
        _capital(performance_title(report)),
        "Performance by step",
        f"The performance of every step at its best cut; step {chosen} was chosen.",
    )
    shade = gap.across(*band)
    zero = rule("zero", y=100 - gap.y.at(neutral(metric)))
    return (
        gap.draw(shade, zero, *_course(gap, gaps, chosen), class_="low"),
        performance.draw(*_course(performance, performances, chosen), class_="low"),
    )


def _course(plot: Plot, points: Sequence[Point], chosen: int) -> list[Markup]:
    layers = [plot.line(points, "course"), plot.dots(points)]
    layers.append(rule("chosen", x=plot.x.at(chosen)))
    layers += [
        symbol("debiased", *plot.point(x, y), title=f"step {x:g}: {format_number(y)}")
        for x, y in points
        if x == chosen and y is not None
    ]
    return layers


def _thinned(points: Sequence[Point], chosen: int) -> list[Point]:
    """Few enough points to draw; of every stretch its lowest and its highest, and the chosen."""
    if len(points) <= SHOWN_STEPS:
        return list(points)
    edges = thin(len(points), SHOWN_STEPS // 2)
    kept = {0, len(points) - 1, *(i for i, (x, _) in enumerate(points) if x == chosen)}
    for start, end in pairwise(edges):
        known = [i for i in range(start, end) if points[i][1] is not None]
        if known:
            kept |= {min(known, key=lambda i: points[i][1] or 0.0)}
            kept |= {max(known, key=lambda i: points[i][1] or 0.0)}
    return [points[i] for i in sorted(kept)]


def _whole(last: int) -> Scale:
    """A scale of whole steps from 0."""
    rounded = Scale.over([0, max(last, 1)])
    step = max(1.0, rounded.step)
    return Scale(0.0, float(max(last, 1)), step)


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    cuts: Mapping[str, Sequence[float]],
    name: str,
    most: float,
) -> Markup:
    """A group's scores before (line) and after (filled), as shares of its rows, and its cuts."""
    shares = {kind: _shares(bins) for kind, bins in counts.items()}
    plot = Plot(
        Scale(min(0.0, edges[0]), max(1.0, edges[-1]), 0.25),
        Scale.over([0.0, most], wanted=3),
        "Score",
        "",
        f"Scores of group {name}",
        "Filled bars are the scores of the debiased network, the outline those of the network as "
        "deployed; vertical lines are the cuts.",
    )
    layers = [
        area(plot.x.at(low), plot.x.at(high), 100 - plot.y.at(share), 100, class_="bar")
        for (low, high), share in zip(pairwise(edges), shares.get("debiased", []), strict=False)
        if share
    ]
    if "unmodified" in shares:
        layers.append(path(_outline(plot, edges, shares["unmodified"]), "outline"))
    for kind, line in (("unmodified", -24), ("debiased", -8)):
        layers += [_cut(plot, kind, at, line) for at in cuts.get(kind, ())]
    return plot.draw(*layers, class_="low cuts")


def _shares(bins: Sequence[float]) -> list[float]:
    total = sum(bins)
    return [n / total if total else 0.0 for n in bins]


def _outline(plot: Plot, edges: Sequence[float], shares: Sequence[float]) -> str:
    drawn = f"M{plot.x.at(edges[0]):.1f} 100"
    for i, share in enumerate(shares):
        drawn += f"V{100 - plot.y.at(share):.1f}H{plot.x.at(edges[i + 1]):.1f}"
    return drawn + "V100"


def _cut(plot: Plot, kind: str, at: float, line: int) -> Markup:
    """A vertical line at a cut, and its number above the drawing."""
    where = plot.x.at(at)
    anchor = "start" if where < 15 else "end" if where > 85 else "middle"
    return rule(f"cut {kind}", x=where) + tag(
        "text", format_threshold(at), x=percent(where), y=line, class_=f"{anchor} cut-label {kind}"
    )


def tradeoff_curve(report: Mapping[str, Any]) -> Markup:
    """The best performance at each chance of staying within the budget, and the chosen point."""
    points = [
        p for p in report["tradeoff_curve"] if None not in (p["probability"], p["performance"])
    ]
    places = [(p["probability"], p["performance"]) for p in points]
    plot = Plot(
        Scale.over([x for x, _ in places]),
        Scale.over([y for _, y in places]),
        "Chance of staying within the budget",
        _capital(performance_title(report)),
        "Price of being sure",
        "The best performance at each chance of staying within the budget, on the fitting rows.",
    )
    best = sorted(p for p in places if not any(_beats(other, p) for other in places))
    trivial = [(p["probability"], p["performance"]) for p in points if p.get("trivial")]
    chosen = [
        symbol("debiased", *plot.point(p["probability"], p["performance"]))
        for p in points
        if p.get("chosen")
    ]
    return plot.draw(
        plot.line(best, "course strong"),
        plot.dots(places, "dot strong"),
        plot.dots(trivial, "dot trivial"),
        *chosen,
    )


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether a point is as good both ways and better one way."""
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def performance_title(report: Mapping[str, Any]) -> str:
    """The full name of the performance measure."""
    key: str = report["objective"]["performance"]
    return title_of(key)


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]

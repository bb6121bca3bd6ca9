"""Charts of a report as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from fairfix._utils.text import format_number, format_threshold
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.figures import Figure, absolute_gap, budget_band, neutral, thin
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
    """One figure in a strip: its kind (a key of ``svg.SHAPES``) and its title."""

    kind: str
    figure: Figure
    title: str


@dataclass(frozen=True)
class Strips:
    """Dots with whiskers on a common scale, one strip per table row, with the budget band."""

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
        """Return strips whose scale contains all figures, their intervals, zero and the band."""
        ends = [end for f in figures for end in (f.value, *(f.bounds or ()))]
        return cls(Scale.over([*ends, zero, *(band or ())], steps=4), zero, band)

    def strip(self, *marks: Mark) -> Markup:
        """Return a strip with the marks, from top to bottom."""
        gap = 100 / (len(marks) + 1)
        drawn = [self._mark(mark, (i + 1) * gap) for i, mark in enumerate(marks)]
        title = "; ".join(f"{mark.title}: {mark.figure}" for mark in marks)
        return tag(
            "svg", tag("title", title), *self._background(), *drawn, class_="strip", role="img"
        )

    def axis(self) -> Markup:
        """Return the ticks of the scale."""
        return axis(self.scale, self.scale.label)

    def _background(self) -> list[Markup]:
        at = self.scale.at
        layers = [] if self.band is None else [area(at(self.band[0]), at(self.band[1]))]
        layers += [rule("grid", x=at(tick)) for tick in self.scale.ticks]
        return layers if self.zero is None else [*layers, rule("zero", x=at(self.zero))]

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
class GainLossStrips:
    """Shares of lost (left) and gained (right) decisions, one strip per group."""

    scale: Scale

    @classmethod
    def up_to(cls, largest: float) -> GainLossStrips:
        """Return strips for shares up to ``largest``."""
        end = max(100 * largest, 0.1)
        return cls(Scale.over([-end, end], steps=4))

    def strip(self, lost: float, gained: float) -> Markup:
        """Return a strip with one bar to each side."""
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
        """Return percentages in both directions."""
        return axis(self.scale, lambda tick: self.scale.label(abs(tick)) + " %")


def axis(scale: Scale | LogScale, label: Callable[[float], str]) -> Markup:
    """Return the ticks of a scale, for the heading of a column of strips."""
    ticks = (
        tag("text", label(t), x=percent(scale.at(t)), y="100%", dy=-10, class_="middle")
        for t in scale.ticks
    )
    return tag("svg", *ticks, class_="ticks", aria_hidden="true")


def gap_against_performance(report: Mapping[str, Any]) -> Markup:
    """Return the plot of absolute gap against performance.

    It has all candidates and the three models on validation rows, and the debiased model on test
    rows.
    """
    metric, key = report["objective"]["metric"], report["objective"]["performance"]
    budget, validation = report["objective"]["budget"], report["results"]["validation"]

    def figures(e: Mapping[str, Any]) -> tuple[Figure, Figure]:
        return Figure.of(e["performance"][key]), absolute_gap(metric, Figure.of(e["gaps"][metric]))

    marks = {kind: figures(e) for kind, e in validation.items()}
    test = figures(report["results"]["test"]["debiased"])
    steps = [
        (step["performance"], absolute_gap(metric, Figure(step["gap"])).value)
        for step in report["method"]["trajectory"]
        if step["performance"] is not None
    ]
    points = [*((p.value, g.value) for p, g in (*marks.values(), test)), *steps]
    plot = Plot(
        Scale.over([p for p, _ in points]),
        Scale.over([0.0, budget, *(test[1].bounds or ()), *(g for _, g in points)]),
        _capital(performance_title(report)),
        "Absolute gap",
        "Absolute gap against performance",
        "Each dot is a candidate of the method on validation rows; performance increases to the "
        f"right, the gap decreases downward. The shaded band is the budget of {budget:g}.",
    )
    layers = [plot.across(0.0, budget)]
    layers.append(plot.dots(steps))
    chosen = marks["debiased"]
    if None not in (test[0].value, test[1].value, chosen[0].value, chosen[1].value):
        layers.append(_validation_to_test(plot, chosen, test))
    for kind, (performance, gap) in marks.items():
        if performance.value is not None and gap.value is not None:
            layers.append(symbol(kind, *plot.point(performance.value, gap.value)))
    return plot.draw(*layers, class_="tall")


def _validation_to_test(
    plot: Plot, validation: tuple[Figure, Figure], test: tuple[Figure, Figure]
) -> Markup:
    """Return a line from the debiased model on validation rows to its mark on test rows."""
    start = plot.point(validation[0].value or 0, validation[1].value or 0)
    x, y = plot.point(test[0].value or 0, test[1].value or 0)
    drawn = segment(*start, x, y, "validation-to-test")
    if test[1].bounds:
        low, high = (100 - plot.y.at(end) for end in test[1].bounds)
        drawn += segment(x, low, x, high, "whisker debiased")
    return drawn + symbol("test", x, y)


def trajectory(report: Mapping[str, Any]) -> tuple[Markup, Markup]:
    """Return the plots of gap and performance by step, with the chosen step marked."""
    objective, method = report["objective"], report["method"]
    metric, chosen = objective["metric"], method["chosen_step"]
    steps = method["trajectory"]
    band = budget_band(metric, objective["budget"])
    gaps = _thin([(step["step"], step["gap"]) for step in steps], chosen)
    performances = _thin([(step["step"], step["performance"]) for step in steps], chosen)
    x = _step_scale(max((step["step"] for step in steps), default=1))
    gap = Plot(
        x,
        Scale.over([*band, neutral(metric), *(y for _, y in gaps)]),
        "Step",
        _capital(objective["metric_title"]),
        "Gap by step",
        f"The gap of each step at its best threshold on validation rows; step {chosen} was chosen.",
    )
    performance = Plot(
        x,
        Scale.over([y for _, y in performances]),
        "Step",
        _capital(performance_title(report)),
        "Performance by step",
        f"The performance of each step at its best threshold; step {chosen} was chosen.",
    )
    shade = gap.across(*band)
    zero = rule("zero", y=100 - gap.y.at(neutral(metric)))
    return (
        gap.draw(shade, zero, *_curve(gap, gaps, chosen), class_="low"),
        performance.draw(*_curve(performance, performances, chosen), class_="low"),
    )


def _curve(plot: Plot, points: Sequence[Point], chosen: int) -> list[Markup]:
    layers = [plot.line(points, "curve"), plot.dots(points)]
    layers.append(rule("chosen", x=plot.x.at(chosen)))
    layers += [
        symbol("debiased", *plot.point(x, y), title=f"step {x:g}: {format_number(y)}")
        for x, y in points
        if x == chosen and y is not None
    ]
    return layers


def _thin(points: Sequence[Point], chosen: int) -> list[Point]:
    """Return the minimum and maximum of each interval of steps, the ends, and the chosen step."""
    if len(points) <= SHOWN_STEPS:
        return list(points)
    edges = thin(len(points), SHOWN_STEPS // 2)
    kept = {0, len(points) - 1, *(i for i, (x, _) in enumerate(points) if x == chosen)}
    for start, end in pairwise(edges):
        defined = [i for i in range(start, end) if points[i][1] is not None]
        if defined:
            kept |= {min(defined, key=lambda i: points[i][1] or 0.0)}
            kept |= {max(defined, key=lambda i: points[i][1] or 0.0)}
    return [points[i] for i in sorted(kept)]


def _step_scale(last: int) -> Scale:
    """Return a scale from 0 to the last step, with integer ticks."""
    rounded = Scale.over([0, max(last, 1)])
    step = max(1.0, rounded.step)
    return Scale(0.0, float(max(last, 1)), step)


def histogram(
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    thresholds: Mapping[str, Sequence[float]],
    name: str,
    largest: float,
) -> Markup:
    """Return the histograms of one group's scores, with thresholds as vertical lines.

    Args:
        edges: edges of the bins, ascending.
        counts: rows in each bin, by "unmodified" and "debiased".
        thresholds: thresholds, by "unmodified" and "debiased".
        name: label of the group.
        largest: largest share of rows in a bin over all groups, for a common scale.
    """
    shares = {kind: _shares(bins) for kind, bins in counts.items()}
    plot = Plot(
        Scale(min(0.0, edges[0]), max(1.0, edges[-1]), 0.25),
        Scale.over([0.0, largest], steps=3),
        "Score",
        "",
        f"Scores of group {name}",
        "Filled bars are scores of the debiased model, the outline scores of the unmodified model; "
        "vertical lines are thresholds.",
    )
    layers = [
        area(plot.x.at(low), plot.x.at(high), 100 - plot.y.at(share), 100, class_="bar")
        for (low, high), share in zip(pairwise(edges), shares.get("debiased", []), strict=False)
        if share
    ]
    if "unmodified" in shares:
        layers.append(path(_outline(plot, edges, shares["unmodified"]), "outline"))
    for kind, line in (("unmodified", -24), ("debiased", -8)):
        layers += [_threshold(plot, kind, at, line) for at in thresholds.get(kind, ())]
    return plot.draw(*layers, class_="low scores")


def _shares(bins: Sequence[float]) -> list[float]:
    total = sum(bins)
    return [n / total if total else 0.0 for n in bins]


def _outline(plot: Plot, edges: Sequence[float], shares: Sequence[float]) -> str:
    drawn = f"M{plot.x.at(edges[0]):.1f} 100"
    for i, share in enumerate(shares):
        drawn += f"V{100 - plot.y.at(share):.1f}H{plot.x.at(edges[i + 1]):.1f}"
    return drawn + "V100"


def _threshold(plot: Plot, kind: str, value: float, line: int) -> Markup:
    """Return a vertical line at a threshold, with its value above the plot."""
    x = plot.x.at(value)
    anchor = "start" if x < 15 else "end" if x > 85 else "middle"
    label = f"{anchor} threshold-label {kind}"
    return rule(f"threshold {kind}", x=x) + tag(
        "text", format_threshold(value), x=percent(x), y=line, class_=label
    )


def tradeoff_curve(report: Mapping[str, Any]) -> Markup:
    """Return the trade-off curve: performance against the probability of meeting the budget."""
    points = [
        p for p in report["tradeoff_curve"] if None not in (p["probability"], p["performance"])
    ]
    places = [(p["probability"], p["performance"]) for p in points]
    plot = Plot(
        Scale.over([x for x, _ in places]),
        Scale.over([y for _, y in places]),
        "Probability of meeting the budget",
        _capital(performance_title(report)),
        "Trade-off curve",
        "The best performance at each probability of meeting the budget, on validation rows.",
    )
    best = sorted(p for p in places if not any(_dominates(other, p) for other in places))
    trivial = [(p["probability"], p["performance"]) for p in points if p.get("trivial")]
    chosen = [
        symbol("debiased", *plot.point(p["probability"], p["performance"]))
        for p in points
        if p.get("chosen")
    ]
    return plot.draw(
        plot.line(best, "curve strong"),
        plot.dots(places, "dot strong"),
        plot.dots(trivial, "dot trivial"),
        *chosen,
    )


def _dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether a point is at least as good in both coordinates and better in one."""
    return one != other and one[0] >= other[0] and one[1] >= other[1]


def performance_title(report: Mapping[str, Any]) -> str:
    """Return the full name of the performance measure."""
    key: str = report["objective"]["performance"]
    return title_of(key)


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]

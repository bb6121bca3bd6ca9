"""SVG building blocks: escaped elements, scales with ticks, symbols, and a plot frame.

Positions are percentages and text is in pixels, so that a drawing fills the available width and its
text keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from fairfix._utils.text import format_number

Point = tuple[float, float | None]

SHAPES = {
    "unmodified": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
    "retuned": "M0-6 6 0 0 6-6 0Z",
    "debiased": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z",
    "test": "M-6-6H6V6H-6Z",
    "free": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
    "aware": "M-4.5-4.5H4.5V4.5H-4.5Z",
    "thresholds": "M0-6 5.5 4.5H-5.5Z",
    "rest": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z",
}


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """Return an element with escaped children and attributes; attributes of None are left out.

    ``class_`` becomes ``class`` and ``stroke_width`` becomes ``stroke-width``.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value)
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(map(escape, children))
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), given, inside)


def percent(value: float) -> str:
    """Return a position, to a tenth of a percent."""
    return f"{value:.1f}".removesuffix(".0") + "%"


@dataclass(frozen=True)
class Scale:
    """Linear map from values in [low, high] to percent; other values are clipped."""

    low: float
    high: float
    step: float

    @classmethod
    def over(cls, values: Iterable[float | None], *, steps: int = 5, least: float = 1e-3) -> Scale:
        """Return a scale that contains the values, with round limits.

        Args:
            values: the values; None is skipped.
            steps: number of steps between ticks, approximately.
            least: smallest range of values.
        """
        known = [value for value in values if value is not None]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if high - low < least:
            low, high = low - least, high + least
        step = _round_step((high - low) / steps)
        return cls(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step)

    def at(self, value: float) -> float:
        """Return the position of a value in percent."""
        return 100 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    @property
    def ticks(self) -> list[float]:
        """Values of the ticks, ascending."""
        n = math.floor((self.high - self.low) / self.step + 1e-9)
        return [self.low + i * self.step for i in range(n + 1)]

    def label(self, tick: float) -> str:
        """Return a tick with as many digits as the steps need."""
        digits = (d for d in range(9) if math.isclose(round(self.step, d), self.step))
        return format_number(tick, next(digits, 9))


@dataclass(frozen=True)
class LogScale:
    """Logarithmic map from positive values to percent, with ticks at powers of ten."""

    first: int
    last: int

    @classmethod
    def over(cls, values: Iterable[float]) -> LogScale:
        """Return the smallest scale between powers of ten that contains all values above 0."""
        logs = [math.log10(value) for value in values if value > 0] or [0.0]
        first = math.floor(min(logs) + 1e-9)
        return cls(first, max(first + 1, math.ceil(max(logs) - 1e-9)))

    def at(self, value: float) -> float:
        """Return the position of a value in percent; 0 for values of 0 and below."""
        if value <= 0:
            return 0.0
        share = (math.log10(value) - self.first) / (self.last - self.first)
        return 100 * min(1.0, max(0.0, share))

    @property
    def ticks(self) -> list[float]:
        """Powers of ten, ascending."""
        return [10.0**power for power in range(self.first, self.last + 1)]

    def label(self, tick: float) -> str:
        """Return a tick without trailing zeros."""
        return f"{tick:,.0f}" if tick >= 1 else f"{tick:g}"


def _round_step(rough: float) -> float:
    magnitude = 10 ** math.floor(math.log10(rough))
    return float(min(m * magnitude for m in (1, 2, 5, 10) if m * magnitude >= rough * (1 - 1e-9)))


def symbol(kind: str, x: float = 50, y: float = 50, title: str | None = None) -> Markup:
    """Return the mark of one kind (a key of ``SHAPES``) at ``x`` and ``y`` in percent."""
    named = Markup("") if title is None else tag("title", title)
    mark = tag("path", named, d=SHAPES[kind], class_=f"mark {kind}")
    return tag("svg", mark, x=percent(x), y=percent(y), overflow="visible")


def key(kind: str) -> Markup:
    """Return the mark of one kind for a legend."""
    mark = tag("path", d=SHAPES[kind], class_=f"mark {kind}")
    return tag("svg", mark, class_="key", viewBox="-8 -8 16 16", aria_hidden="true")


def area(x1: float, x2: float, y1: float = 0, y2: float = 100, *, class_: str = "band") -> Markup:
    """Return a rectangle from its upper left (x1, y1) to (x2, y2), in percent."""
    return tag(
        "rect",
        x=percent(x1),
        width=percent(x2 - x1),
        y=percent(y1),
        height=percent(y2 - y1),
        class_=class_,
    )


def rule(
    class_: str, *, x: float | None = None, y: float | None = None, title: str | None = None
) -> Markup:
    """Return a full vertical line at ``x`` or a full horizontal line at ``y``, in percent."""
    across = x is None
    return tag(
        "line",
        Markup("") if title is None else tag("title", title),
        x1=0 if across else percent(x or 0),
        x2="100%" if across else percent(x or 0),
        y1=percent(y or 0) if across else 0,
        y2=percent(y or 0) if across else "100%",
        class_=class_,
    )


def segment(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a line between two points, in percent."""
    return tag(
        "line", x1=percent(x1), y1=percent(y1), x2=percent(x2), y2=percent(y2), class_=class_
    )


def path(d: str, class_: str) -> Markup:
    """Return a path in percent, with strokes of constant width."""
    drawn = tag("path", d=d, class_=class_, vector_effect="non-scaling-stroke")
    return tag(
        "svg",
        drawn,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        width="100%",
        height="100%",
        overflow="visible",
    )


@dataclass(frozen=True)
class Plot:
    """A plot with two axes, a title and a description; ``y_title`` can be empty."""

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    title: str
    description: str

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point, in percent from the left and from the top."""
        return self.x.at(x), 100 - self.y.at(y)

    def across(self, low: float, high: float) -> Markup:
        """Return a horizontal band between two values of the vertical axis."""
        return area(0, 100, 100 - self.y.at(high), 100 - self.y.at(low))

    def line(self, points: Sequence[Point], class_: str) -> Markup:
        """Return a line through the points, interrupted at undefined ones."""
        drawn, pen = [], "M"
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            across, down = self.point(x, y)
            drawn.append(f"{pen}{across:.1f} {down:.1f}")
            pen = "L"
        return path("".join(drawn), class_)

    def dots(self, points: Iterable[Point], class_: str = "dot") -> Markup:
        """Return a dot for each point; of overlapping dots only one."""
        places: dict[tuple[int, int], tuple[float, float]] = {}
        for x, y in points:
            if y is not None:
                across, down = self.point(x, y)
                places.setdefault((round(across * 0.8), round(down * 0.5)), (across, down))
        return Markup("").join(
            tag("circle", cx=percent(across), cy=percent(down), r=2, class_=class_)
            for across, down in places.values()
        )

    def draw(self, *layers: Markup, class_: str = "") -> Markup:
        """Return the complete drawing; later layers cover earlier ones."""
        return tag(
            "svg",
            tag("title", self.title),
            tag("desc", self.description),
            *self._grid(),
            *layers,
            tag("text", self.y_title, x=0, y=-14, class_="axis-title") if self.y_title else "",
            tag("text", self.x_title, x="50%", y="100%", dy=38, class_="axis-title middle"),
            class_=f"plot {class_}".strip(),
            role="img",
        )

    def _grid(self) -> Iterable[Markup]:
        for tick in self.y.ticks:
            down = 100 - self.y.at(tick)
            yield rule("grid", y=down)
            yield tag("text", self.y.label(tick), x=-8, y=percent(down), dy="0.32em", class_="end")
        for tick in self.x.ticks:
            across = percent(self.x.at(tick))
            yield tag("text", self.x.label(tick), x=across, y="100%", dy=18, class_="middle")

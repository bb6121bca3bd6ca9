"""Draw commands and their output as an animated SVG of a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from rich.text import Text

SECONDS = 20
TYPING, PAUSE, READING = 1.6, 0.8, 5.0  # seconds
COLUMNS, ROWS = 84, 26
WIDTH, HEIGHT, MARGIN, BAR = 8.43, 19, 16, 34  # pixels of a character and around the text

STYLE = """
text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d6dae2;
  white-space: pre }
.command { fill: #fff } .prompt { fill: #7fd1a5 } .bold { font-weight: 700; fill: #fff }
.cover { fill: #14171d; opacity: 0 }
"""


@dataclass(frozen=True)
class Recorded:
    """A command as typed, and what it printed, with ANSI codes."""

    typed: str
    output: str


@dataclass(frozen=True)
class _Line:
    """A line of the terminal, and the second it appears in; typed lines need some time."""

    text: Text
    start: float
    typed: bool


def draw(commands: Sequence[Recorded], title: str) -> str:
    """Return the recording; who prefers reduced motion sees its end."""
    lines = list(_timed(commands))
    width, height = COLUMNS * WIDTH + 2 * MARGIN, ROWS * HEIGHT + BAR + MARGIN
    scrolled = max(0, len(lines) - ROWS) * HEIGHT
    described = ", then ".join(command.typed for command in commands)
    drawn = "\n".join(_draw(line, number) for number, line in enumerate(lines))
    dots = "".join(
        f'<circle cx="{MARGIN + 6 + 18 * i}" cy="17" r="5" fill="{color}"/>'
        for i, color in enumerate(("#e06c60", "#e0b15e", "#74b87f"))
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}"
  role="img">
<title>{escape(title)}</title>
<desc>A terminal: {escape(described)}</desc>
<style>{STYLE}#all {{ transform: translateY(-{scrolled}px) }}
@media (prefers-reduced-motion: no-preference) {{
#all {{ animation: scroll {SECONDS}s step-end infinite }}
{_scrolling(lines)}
{"".join(_appearing(line, number) for number, line in enumerate(lines))}}}
</style>
<clipPath id="screen"><rect y="{BAR}" width="100%" height="{ROWS * HEIGHT + 4}"/></clipPath>
<rect width="100%" height="100%" rx="9" fill="#14171d"/>
{dots}
<g clip-path="url(#screen)"><g id="all">
{drawn}
</g></g>
</svg>
"""


def _timed(commands: Sequence[Recorded]) -> Iterator[_Line]:
    now = 0.0
    for command in commands:
        prompt = Text.assemble(("$ ", "prompt"), (command.typed, "command"))
        yield _Line(prompt, now, typed=True)
        now += TYPING + PAUSE
        for line in [*command.output.rstrip("\n").splitlines(), ""]:
            yield _Line(Text.from_ansi(line), now, typed=False)
            now += 0.05
        now += READING


def _draw(line: _Line, number: int) -> str:
    y = BAR + (number + 1) * HEIGHT - 5
    drawn = f'<text id="l{number}" x="{MARGIN}" y="{y}">{"".join(_spans(line.text))}</text>'
    if not line.typed:
        return drawn
    x, width = MARGIN + 2 * WIDTH, len(line.text.plain) * WIDTH
    cover = f'<rect id="c{number}" class="cover" x="{x:.0f}" y="{y - 15}" '
    return f'{drawn}\n{cover}width="{width:.0f}" height="{HEIGHT}"/>'


def _spans(text: Text) -> Iterator[str]:
    """Yield pieces of one style each."""
    ends = {0, len(text.plain), *(e for span in text.spans for e in (span.start, span.end))}
    bounds = sorted(ends)
    for start, end in pairwise(bounds):
        piece = escape(text.plain[start:end], quote=False)
        styles = [s.style for s in text.spans if s.start <= start and end <= s.end]
        names = [style if isinstance(style, str) else _class(style.bold) for style in styles]
        colors = [s.color.get_truecolor().hex for s in styles if not isinstance(s, str) and s.color]
        attributes = f' class="{names[-1]}"' if names and names[-1] else ""
        attributes += f' fill="{colors[-1]}"' if colors else ""
        yield f"<tspan{attributes}>{piece}</tspan>" if attributes else piece


def _class(bold: bool | None) -> str:
    return "bold" if bold else ""


def _appearing(line: _Line, number: int) -> str:
    shown, name = _percent(line.start), f"l{number}"
    frames = f"0% {{ opacity: 0 }} {shown} {{ opacity: 1 }}"
    rules = f"#{name} {{ animation: {name} {SECONDS}s step-end infinite }}\n"
    rules += f"@keyframes {name} {{ {frames} }}\n"
    if line.typed:
        letters = len(line.text.plain) - 2
        end, far = _percent(line.start + TYPING), f"translateX({letters * WIDTH:.0f}px)"
        frames = f"0%, {shown} {{ transform: none }} {end}, to {{ transform: {far} }}"
        rules += f"#c{number} {{ opacity: 1; animation: c{number} {SECONDS}s "
        rules += f"steps({letters}) infinite }}\n@keyframes c{number} {{ {frames} }}\n"
    return rules


def _scrolling(lines: Sequence[_Line]) -> str:
    """Return the steps by which the text moves up, once the screen is full."""
    frames = ["0% { transform: none }"]
    for number, line in enumerate(lines):
        if number >= ROWS:
            moved = (number - ROWS + 1) * HEIGHT
            frames.append(f"{_percent(line.start)} {{ transform: translateY(-{moved}px) }}")
    return f"@keyframes scroll {{ {' '.join(frames)} }}"


def _percent(second: float) -> str:
    return f"{100 * second / SECONDS:.2f}%"

"""Terminal output: results on stdout, messages and progress on stderr.

Text from files and file names is printed literally: no markup, no control characters.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fairfix._utils.detail import Detail
from fairfix._utils.progress import progress_callback
from fairfix._utils.text import shorten, unique_labels, without_commands

COMMANDS_VERSION = 1
"""Version of the documents in ``commands.schema.json``."""

_MIN_NAME, _MAX_NAME = 12, 48  # characters of a shortened name; files have the full name
_MAX_WIDTH = 100  # of wrapped text
_INTERVAL = re.compile(r"\[-?[\d.]+, -?[\d.]+\]|-?[\d.]+ to -?[\d.]+|\d %")
_MINUS = re.compile(r"\N{MINUS SIGN}(?=[\d.])")  # as HTML has it; tables have an ASCII one


_verbose: ContextVar[bool] = ContextVar("verbose", default=False)


@contextmanager
def verbosity(verbose: bool) -> Iterator[None]:
    """Let ``print_messages`` print details in full inside the ``with`` block, or in one line."""
    token = _verbose.set(verbose)
    try:
        yield
    finally:
        _verbose.reset(token)


def print_messages(messages: Iterable[str], *, quiet: bool) -> None:
    """Print messages on stderr, one per line; a terminal gets them wrapped.

    All details become one line, unless they are wanted in full.
    """
    if quiet:
        return
    terminal = sys.stderr.isatty()
    for message in messages if _verbose.get() else _with_details_in_one(list(messages)):
        line = f"fairfix: {printable(message)}"
        for part in wrap(line, indent="  ") if terminal else [line]:
            print(part, file=sys.stderr)


def _with_details_in_one(messages: list[str]) -> list[str]:
    """Return messages with one line, which comes first, in place of all details."""
    details = [each for each in messages if isinstance(each, Detail)]
    if not details:
        return messages
    short = "; ".join(dict.fromkeys(each.short for each in details if each.short))
    others = [each for each in messages if not isinstance(each, Detail)]
    more = "" if all(each == each.short for each in details) else " (-v shows details)"
    return [f"{short}{more}" if short else "details with -v", *others]


def print_json(document: dict[str, Any]) -> None:
    """Print the machine-readable result on stdout."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_document(document: dict[str, Any]) -> None:
    """Print the machine-readable result of a command whose document has no version of its own."""
    print_json({"schema_version": COMMANDS_VERSION, **document})


def print_output(*blocks: Table | str) -> None:
    """Print tables and lines of text on stdout, with an empty line around every table."""
    console = _Console(soft_wrap=True, highlight=False)
    for index, block in enumerate(blocks):
        if index and (isinstance(block, Table) or isinstance(blocks[index - 1], Table)):
            console.print()
        console.print(printable(block) if isinstance(block, str) else block, markup=False)


class _Console(Console):
    """A console that reports a closed stdout to the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def printable(text: str) -> str:
    """Return the text with a replacement mark for control characters and workflow commands."""
    clean = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)
    return without_commands(clean)


def wrap(text: str, *, indent: str = "", names: Iterable[str] = ()) -> list[str]:
    """Return a paragraph as lines that fit the terminal, with ASCII minus signs.

    Args:
        text: the paragraph.
        indent: put before every line but the first.
        names: phrases that stay on one line; intervals and percentages always do.
    """
    text = _MINUS.sub("-", text)
    for phrase in sorted({*_INTERVAL.findall(text), *names}, key=len, reverse=True):
        text = text.replace(phrase, phrase.replace(" ", "\N{NO-BREAK SPACE}"))
    lines = textwrap.wrap(
        text,
        min(Console().width, _MAX_WIDTH),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def build_table(
    title: str, header: Iterable[str], rows: Iterable[Iterable[object]], *, numbers: bool = True
) -> Table:
    """Return a table for the terminal.

    Args:
        title: heading above the table, or nothing.
        header: names of the columns.
        rows: cells, printed literally; a tuple is a cell of several lines.
        numbers: the first column holds names, which are shortened to fit, and the others hold
            numbers, which are never broken.
    """
    columns, cells = [_Cell((name,)) for name in header], [list(map(_Cell.of, row)) for row in rows]
    if numbers:
        columns, cells = _fit(columns, cells)
    table = Table(
        title=Text(printable(title)) if title else None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
    )
    for index, name in enumerate(columns):
        right = numbers and index > 0
        table.add_column(
            name.text, justify="right" if right else "left", overflow="fold", no_wrap=numbers
        )
    for row in cells:
        table.add_row(*(cell.text for cell in row))
    return table


class _Cell(tuple[str, ...]):
    """The lines of a cell."""

    @classmethod
    def of(cls, value: object) -> _Cell:
        return cls(map(str, value) if isinstance(value, tuple) else (str(value),))

    @property
    def text(self) -> Text:
        return Text("\n".join(map(printable, self)))

    @property
    def width(self) -> int:
        return max(map(cell_len, self), default=0)

    def wrapped(self, width: int) -> _Cell:
        """Return the cell with lines of at most ``width`` characters, or of one word."""
        return _Cell(
            part for line in self for part in textwrap.wrap(line, width, break_long_words=False)
        )


def _fit(columns: list[_Cell], cells: list[list[_Cell]]) -> tuple[list[_Cell], list[list[_Cell]]]:
    """Fit a table into the terminal: wrap headings, shorten names in the first column."""
    widths = [max((row[index].width for row in cells), default=0) for index in range(len(columns))]
    whole = [max(name.width, width) for name, width in zip(columns, widths, strict=True)]
    if sum(whole) + 2 * len(whole) - 2 > Console().width:
        columns = [name.wrapped(width) for name, width in zip(columns, widths, strict=True)]
    taken = sum(
        max(name.width, width) + 2 for name, width in zip(columns[1:], widths[1:], strict=True)
    )
    length = min(_MAX_NAME, max(_MIN_NAME, Console().width - taken))
    labels = unique_labels(
        dict.fromkeys(row[0][0].strip() for row in cells if not row[0][1:]), length
    )
    return columns, [[_shortened(row[0], labels, length), *row[1:]] for row in cells]


def _shortened(cell: _Cell, labels: dict[str, str], length: int) -> _Cell:
    """Return a cell of the first column: a name, or a heading and indented names below it."""
    heading, *names = cell
    if not names:
        indent = len(heading) - len(heading.lstrip())
        return _Cell((" " * indent + labels[heading.strip()],))
    short = (f"  {shorten(name, length - 2)}" for name in names)
    return _Cell((*_Cell((heading,)).wrapped(length), *short))


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[None]:
    """Show progress bars while stderr is a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(task: str, done: int, total: int) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            bars.update(tasks[task], completed=done)

        with progress_callback(advance):
            yield

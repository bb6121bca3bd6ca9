"""How commands talk: results on stdout, everything else on stderr.

What stands in files and names of files is shown as it is: no markup, no control characters.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fairfix._utils.progress import listening

_WIDEST = 40  # characters of a name in a table of figures; the files have it whole


def say(notes: Iterable[str], *, quiet: bool) -> None:
    """Notes, one a line, on stderr."""
    if not quiet:
        for note in notes:
            print(f"fairfix: {printable(note)}", file=sys.stderr)


def emit(document: dict[str, Any]) -> None:
    """The machine-readable result, alone on stdout."""
    print(json.dumps(document, indent=2, allow_nan=False))


def show(*tables: Table | str) -> None:
    """Tables and lines on stdout."""
    console = _Console(soft_wrap=True, highlight=False)
    for each in tables:
        console.print(printable(each) if isinstance(each, str) else each, markup=False)


class _Console(Console):
    """A console that leaves it to the command what to do when nobody reads on."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def printable(text: str) -> str:
    """The text with a mark in the place of every control character."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def table(
    title: str, header: Iterable[str], rows: Iterable[Iterable[object]], *, numbers: bool = True
) -> Table:
    """A table for the terminal; every cell is taken literally, a tuple as so many lines.

    ``numbers`` stand right of the names in the first column, which are shortened.
    """
    made = Table(
        title=_cell(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for index, name in enumerate(header):
        right = numbers and index > 0
        made.add_column(_cell(name), justify="right" if right else "left", overflow="fold")
    for first, *others in rows:
        shortened = numbers and isinstance(first, str)
        made.add_row(_cell(short(str(first)) if shortened else first), *map(_cell, others))
    return made


def short(name: str) -> str:
    """The name with an ellipsis in the place of its middle, where it is very long."""
    half = _WIDEST // 2  # names often differ at their ends alone
    return name if len(name) <= _WIDEST else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def _cell(value: object) -> Text:
    lines = value if isinstance(value, tuple) else (value,)
    return Text("\n".join(printable(str(line)) for line in lines))


@contextmanager
def progress(*, quiet: bool) -> Iterator[None]:
    """Show bars for long work where stderr is a terminal."""
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

        with listening(advance):
            yield

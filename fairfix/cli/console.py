"""Terminal output: results on stdout, messages and progress on stderr.

Text from files and file names is printed literally: no markup, no control characters.
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

_MAX_NAME = 40  # characters of a name in a table; files have the full name


def print_messages(messages: Iterable[str], *, quiet: bool) -> None:
    """Print messages on stderr, one per line."""
    if not quiet:
        for message in messages:
            print(f"fairfix: {printable(message)}", file=sys.stderr)


def print_json(document: dict[str, Any]) -> None:
    """Print the machine-readable result on stdout."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_output(*blocks: Table | str) -> None:
    """Print tables and lines of text on stdout."""
    console = _Console(soft_wrap=True, highlight=False)
    for block in blocks:
        console.print(printable(block) if isinstance(block, str) else block, markup=False)


class _Console(Console):
    """A console that reports a closed stdout to the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def printable(text: str) -> str:
    """Return the text with a replacement mark for every control character."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "\N{REPLACEMENT CHARACTER}", text)


def build_table(
    title: str, header: Iterable[str], rows: Iterable[Iterable[object]], *, numbers: bool = True
) -> Table:
    """Return a table for the terminal.

    Args:
        title: heading above the table.
        header: names of the columns.
        rows: cells, printed literally; a tuple is a cell of several lines.
        numbers: align all columns but the first to the right, and shorten names in the first.
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
        made.add_row(_cell(shorten(str(first)) if shortened else first), *map(_cell, others))
    return made


def shorten(name: str) -> str:
    """Return a name of at most 41 characters; an ellipsis replaces the middle of a longer one."""
    half = _MAX_NAME // 2  # names often differ only at their ends
    return name if len(name) <= _MAX_NAME else f"{name[:half]}\N{HORIZONTAL ELLIPSIS}{name[-half:]}"


def _cell(value: object) -> Text:
    lines = value if isinstance(value, tuple) else (value,)
    return Text("\n".join(printable(str(line)) for line in lines))


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

        with listening(advance):
            yield

"""How commands talk: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from fairfix.progress import listening


def say(notes: Iterable[str], *, quiet: bool) -> None:
    """Notes, one a line, on stderr."""
    if not quiet:
        for note in notes:
            print(f"fairfix: {note}", file=sys.stderr)


def emit(document: dict[str, Any]) -> None:
    """The machine-readable result, alone on stdout."""
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def show(*tables: Table | str) -> None:
    """Tables and lines on stdout."""
    console = Console(soft_wrap=True)
    for table in tables:
        console.print(table)


def table(title: str, header: Iterable[str], rows: Iterable[Iterable[object]]) -> Table:
    """A table for the terminal; every cell is taken literally, numbers stand right."""
    made = Table(title=escape(title), title_justify="left", title_style="bold")
    for index, name in enumerate(header):
        made.add_column(escape(name), justify="left" if index == 0 else "right")
    for row in rows:
        made.add_row(*(escape(str(cell)) for cell in row))
    return made


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

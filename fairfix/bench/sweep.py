"""Tasks that differ in one number of their name, as ``loh/alpha=0.5``: a sweep."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fairfix.bench.goal import Goal
from fairfix.bench.summary import TaskSummary

_NAMED = re.compile(r"(?P<world>[^/=]+)/(?P<knob>\w+)=(?P<value>[^ ]+)(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class Sweep:
    """Tables of one goal by the value of the knob, in rising order; two at least."""

    name: str
    knob: str
    goal: Goal
    tables: tuple[tuple[float, TaskSummary], ...]


def sweeps(tables: Sequence[TaskSummary]) -> list[Sweep]:
    """Every sweep among the tables, in the order of its first table."""
    found: dict[tuple[str, str, Goal], dict[float, TaskSummary]] = {}
    for table in tables:
        place = _place(table.task)
        if place is not None:
            name, knob, value = place
            found.setdefault((name, knob, table.goal), {}).setdefault(value, table)
    return [
        Sweep(name, knob, goal, tuple(sorted(at.items(), key=lambda pair: pair[0])))
        for (name, knob, goal), at in found.items()
        if len(at) > 1
    ]


def _place(task: str) -> tuple[str, str, float] | None:
    """Whose sweep, which knob, and where it stands; None for a task of its own."""
    named = _NAMED.fullmatch(task)
    if named is None:
        return None
    try:
        value = float(named["value"])
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return named["world"] + named["rest"], named["knob"], value

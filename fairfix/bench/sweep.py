"""Sweeps: tasks whose names differ in one number only, such as ``loh/alpha=0.5``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fairfix.bench.goal import Goal
from fairfix.bench.summary import TaskSummary

_TASK_NAME = re.compile(
    r"(?P<problem>[^/=]+)/(?P<parameter>\w+)=(?P<value>[^ ]+)(?P<variant>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Sweep:
    """Summaries of one goal by the value of a parameter, in ascending order; at least two."""

    name: str
    parameter: str
    goal: Goal
    summaries: tuple[tuple[float, TaskSummary], ...]


def sweeps(summaries: Sequence[TaskSummary]) -> list[Sweep]:
    """Return every sweep among the summaries, in the order of its first one."""
    groups: dict[tuple[str, str, Goal], dict[float, TaskSummary]] = {}
    for summary in summaries:
        parsed = _parse(summary.task)
        if parsed is not None:
            name, parameter, value = parsed
            groups.setdefault((name, parameter, summary.goal), {}).setdefault(value, summary)
    return [
        Sweep(name, parameter, goal, tuple(sorted(by_value.items(), key=lambda pair: pair[0])))
        for (name, parameter, goal), by_value in groups.items()
        if len(by_value) > 1
    ]


def _parse(task: str) -> tuple[str, str, float] | None:
    """Return sweep name, parameter and value of a task name; None if it has no finite value."""
    match = _TASK_NAME.fullmatch(task)
    if match is None:
        return None
    try:
        value = float(match["value"])
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    return match["problem"] + match["variant"], match["parameter"], value

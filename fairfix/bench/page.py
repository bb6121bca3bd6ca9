"""The page of a study: one self-contained HTML file, made by the parts of the report's.

``bench.html.j2`` is the page, ``pictures`` draws, ``summary`` has the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fairfix.bench.attribution_summary import attributions
from fairfix.bench.base_networks import networks
from fairfix.bench.cell_table import BASELINE, UNMODIFIED, latest_rows, method_label
from fairfix.bench.charts import (
    Boxes,
    Run,
    Series,
    along,
    color_key,
    course,
    kind,
    plane,
    title,
)
from fairfix.bench.goal import Goal
from fairfix.bench.page_networks import carried, deployed
from fairfix.bench.split_statistics import MeanInterval, Quartiles
from fairfix.bench.summary import MethodSummary, TaskSummary, summarize
from fairfix.bench.sweep import Sweep, sweeps
from fairfix.report.figures import number, p_value
from fairfix.report.html import environment
from fairfix.report.svg import LogScale, Scale

Row = Mapping[str, Any]
Shown = dict[str, Any]

SHOWN_TABLES = 12  # drawn in full; the others are in the overview and in summary.csv
SHOWN_SWEEPS = 24
LISTED_TABLES = 200
LISTED_REASONS = 100
KINDS = {False: "Group-free", True: "Needs the group at prediction"}


def page(rows: Sequence[Row]) -> str:
    """The page of a study's rows, as ``fairfix.bench.cells.run_cell`` makes them."""
    rows = latest_rows(rows)
    found = summarize(rows)
    swept = sweeps(found)
    in_sweeps = {id(table) for sweep in swept for _, table in sweep.tables}
    drawn = sorted(found, key=lambda table: id(table) in in_sweeps)[:SHOWN_TABLES]
    runs = _runs(rows, drawn)
    methods = list(dict.fromkeys(x.method for table in found for x in table.methods))
    return (
        environment()
        .get_template("bench.html.j2")
        .render(
            {
                "tasks": list(dict.fromkeys(table.task for table in found)),
                "methods": methods,
                "cells": len(rows),
                "states": Counter(row["status"] for row in rows),
                "versions": sorted({row["fairfix"] for row in rows}),
                "shown_gains": sum(_best(table, needs_group=False).gain_shown for table in found),
                "overview": [_overview(table) for table in found[:LISTED_TABLES]],
                "tables": len(found),
                "sweeps": [_sweep(sweep, sorted(methods)) for sweep in swept[:SHOWN_SWEEPS]],
                "sections": [_section(table, runs) for table in drawn],
                "reasons": _reasons(rows)[:LISTED_REASONS],
                "deployed": deployed(networks(rows)),
                "carried": carried(attributions(rows)),
                "kinds": {table.goal.kind for table in found},
                "overlaps": any((table.cells["overlap"] > 0).any() for table in found),
            }
        )
    )


def goal_words(goal: Goal) -> str:
    """What methods were ranked by, in words."""
    performance, metric = title(goal.performance_key), title(goal.metric)
    if goal.smaller_is_better:
        weight = f"{goal.weight:g}"
        rest = f"{1 - goal.weight:g}"
        return (
            f"trade-off: {weight} × the size of the {metric} + {rest} × (1 − {performance}); "
            "smaller is better"
        )
    return f"objective: {performance} where the {metric} held the budget of {goal.budget:g}, else 0"


Runs = dict[tuple[str, Goal, str], list[Run]]


def _runs(rows: Sequence[Row], drawn: Sequence[TaskSummary]) -> Runs:
    """The steps of every method of the tables to be drawn."""
    wanted = {(table.task, table.goal) for table in drawn}
    found: Runs = {}
    for row in rows:
        place = row["task"], Goal.from_json(row["goal"])
        if place in wanted and row["status"] == "done":
            steps = np.asarray(row["trajectory"], dtype=float).reshape(-1, 2)
            found.setdefault((*place, method_label(row)), []).append((steps, row["chosen"]))
    return found


def _best(table: TaskSummary, *, needs_group: bool) -> MethodSummary:
    """The first of its kind by the objective, the network as deployed left aside."""
    of_kind = [x for x in table.methods if x.needs_group == needs_group and x.method != UNMODIFIED]
    return (of_kind or list(table.methods))[0]


def _overview(table: TaskSummary) -> Shown:
    best = _best(table, needs_group=False)
    return {
        "task": table.task,
        "goal": f"{title(table.goal.metric)}, {table.goal.value_name}",
        "best": best.method,
        "figure": _interval(best.mean_objective),
        "gain": _gain(best),
    }


def _section(table: TaskSummary, runs: Runs) -> Shown:
    goal, lines = table.goal, table.methods
    done = table.cells[table.cells["status"] == "done"]
    cells = {str(method): mine for method, mine in done.groupby("method")}
    boxes = Boxes(Scale.over(done["objective"], wanted=4))
    # What the network as deployed cost is what identity did: the same cell.
    timed = [x for x in lines if x.method != UNMODIFIED]
    times = Boxes(LogScale.over(done["seconds"].dropna()))
    return {
        "task": table.task,
        "goal": goal,
        "metric": title(goal.metric),
        "performance": title(goal.performance_key),
        "words": goal_words(goal),
        "splits": done["task_sha256"].nunique(),
        "rows": sorted({int(n) for n in done["rows"]}),
        "axis": boxes.axis(),
        "ranks": _by_kind(
            [
                {
                    **_line(x),
                    "strip": boxes.strip(
                        cells[x.method]["objective"].tolist(), x.objective, _said(goal, x)
                    ),
                }
                for x in lines
            ]
        ),
        "plane": plane(goal, lines, {x.method: _placed(x) for x in lines}),
        "kinds": list(dict.fromkeys(kind(x) for x in lines)),
        "time_axis": times.axis(),
        "times": [
            {
                **_line(x),
                "strip": times.strip(
                    cells[x.method]["seconds"].tolist(),
                    x.seconds,
                    f"{x.method}: median {x.seconds.median:.3g} seconds",
                ),
            }
            for x in sorted(timed, key=lambda x: x.seconds.median)
        ],
        "courses": [
            {"method": x.method, "course": drawn}
            for x in lines
            if (drawn := course(goal, runs.get((table.task, goal, x.method), []))) is not None
        ],
    }


def _by_kind(lines: Sequence[Shown]) -> dict[str, list[Shown]]:
    found = {KINDS[need]: [x for x in lines if x["needs_group"] == need] for need in KINDS}
    return {name: of_kind for name, of_kind in found.items() if of_kind}


def _line(line: MethodSummary) -> Shown:
    """A method's figures as they are shown."""
    return {
        "method": line.method,
        "kind": kind(line),
        "needs_group": line.needs_group,
        "splits": line.splits,
        "missing": line.missing,
        "median": _spread(line.objective),
        "mean": _interval(line.mean_objective),
        "held": number(line.held, 2),
        "ceiling": "" if math.isnan(line.ceiling) else number(line.ceiling, 2),
        "gap": _spread(line.gap),
        "performance": _spread(line.performance),
        "gain": _gain(line),
        "p": "" if math.isnan(line.p) else p_value(line.p),
        "remark": _remark(line),
        "trivial": line.trivial,
        "trivial_share": number(line.trivial, 2),
        "pareto": line.pareto,
        "seconds": _seconds(line.seconds.median),
        "memory": "" if math.isnan(line.peak_memory_mib) else f"{line.peak_memory_mib:,.0f}",
    }


def _remark(line: MethodSummary) -> str:
    """Whether a gain on the untouched network at its best cut is shown."""
    if line.method in (BASELINE, UNMODIFIED):
        return ""
    return "gain shown" if line.gain_shown else "no gain on identity shown"


def _interval(figure: MeanInterval) -> Shown:
    known = not math.isnan(figure.low)
    return {
        "text": number(figure.value),
        "interval": f"{number(figure.low)} to {number(figure.high)}" if known else "",
    }


def _spread(spread: Quartiles) -> Shown:
    known = not math.isnan(spread.median)
    return {
        "text": number(spread.median),
        "interval": f"{number(spread[1])} to {number(spread[2])}" if known else "",
    }


def _gain(line: MethodSummary) -> Shown:
    if math.isnan(line.gain.value):
        return {"text": "", "interval": ""}
    shown = _interval(line.gain)
    sign = "+" if line.gain.value > 0 and shown["text"].strip("0.") else ""
    return {**shown, "text": sign + shown["text"]}


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _said(goal: Goal, line: MethodSummary) -> str:
    median, low, high = map(number, line.objective)
    return f"{line.method}: median {goal.value_name} {median}, quartiles {low} and {high}"


def _placed(line: MethodSummary) -> str:
    return (
        f"{line.method}: mean performance {number(line.mean_performance)}, mean size of the gap "
        f"{number(line.mean_gap)}"
    )


def _sweep(sweep: Sweep, every: Sequence[str]) -> Shown:
    """``every`` is all methods of the page: a method has one color in all pictures."""
    at: dict[str, list[tuple[float, MethodSummary]]] = {}
    for value, table in sweep.tables:
        for line in table.methods:
            at.setdefault(line.method, []).append((value, line))
    goal, methods = sweep.goal, [method for method in every if method in at]
    colors = {method: every.index(method) for method in methods}
    objectives = [
        Series(method, colors[method], tuple((value, x.objective) for value, x in at[method]))
        for method in methods
    ]
    gaps = [
        Series(
            method,
            colors[method],
            tuple((value, x.gap) for value, x in at[method] if not math.isnan(x.gap.median)),
        )
        for method in methods
    ]
    return {
        "name": sweep.name,
        "knob": sweep.knob,
        "metric": title(goal.metric),
        "words": goal_words(goal),
        "objective_name": goal.value_name,
        "values": [value for value, _ in sweep.tables],
        "objective": along(objectives, sweep.knob, goal.value_name, None),
        "gap": along(gaps, sweep.knob, "size of the gap", _band(goal)),
        "keys": [(color_key(colors[method]), method) for method in methods],
        "listed": [
            {
                "method": method,
                "figures": [
                    next((number(x.objective.median) for v, x in at[method] if v == value), "")
                    for value, _ in sweep.tables
                ],
            }
            for method in methods
        ],
    }


def _band(goal: Goal) -> tuple[float, float] | None:
    return None if goal.smaller_is_better else (0.0, goal.budget)


def _reasons(rows: Sequence[Row]) -> list[Shown]:
    """What was refused or failed, each reason once."""
    found = Counter(
        (row["status"], method_label(row), row["task"], row["reason"])
        for row in rows
        if row["status"] in ("refused", "failed")
    )
    return [
        {"status": status, "method": method, "task": task, "reason": reason, "cells": n}
        for (status, method, task, reason), n in found.items()
    ]

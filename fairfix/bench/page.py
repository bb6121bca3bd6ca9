"""The HTML page of a study: one self-contained file without scripts.

``bench.html.j2`` is the template, ``charts`` draws, ``summary`` computes the figures.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fairfix._utils.text import format_number, format_p_value
from fairfix.bench.attribution_summary import summarize_attributions
from fairfix.bench.base_network_summary import summarize_base_networks
from fairfix.bench.cell_table import (
    BASELINE,
    UNMODIFIED,
    Row,
    cell_table,
    latest_rows,
    method_label,
)
from fairfix.bench.charts import (
    BoxStrips,
    Run,
    Series,
    color_key,
    mark_kind,
    plane_chart,
    step_charts,
    sweep_chart,
)
from fairfix.bench.goal import Goal
from fairfix.bench.page_base_networks import attribution_view, base_networks_view
from fairfix.bench.page_elsewhere import elsewhere_view
from fairfix.bench.split_statistics import MeanInterval, Quartiles
from fairfix.bench.summary import MethodSummary, TaskSummary, summarize
from fairfix.bench.sweep import Sweep, sweeps
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.report.html import environment
from fairfix.report.svg import LogScale, Scale

View = dict[str, Any]
"""Values for the template."""

SHOWN_TABLES = 12  # drawn in full; the others are in the overview and in summary.csv
SHOWN_SWEEPS = 24
LISTED_TABLES = 200
LISTED_REASONS = 100
KINDS = {False: "Group-free", True: "Needs the group column at prediction"}


def page(rows: Sequence[Row]) -> str:
    """Return the HTML page for the rows of a study (see ``cells.run_cell``)."""
    rows = latest_rows(rows)
    tables = summarize(rows)
    found_sweeps = sweeps(tables)
    in_sweeps = {id(table) for sweep in found_sweeps for _, table in sweep.summaries}
    drawn = sorted(tables, key=lambda table: id(table) in in_sweeps)[:SHOWN_TABLES]
    runs = _runs(rows, drawn)
    methods = list(dict.fromkeys(x.method for table in tables for x in table.methods))
    return (
        environment()
        .get_template("bench.html.j2")
        .render(
            {
                "tasks": list(dict.fromkeys(table.task for table in tables)),
                "methods": methods,
                "cells": len(rows),
                "states": Counter(row["status"] for row in rows),
                "versions": sorted({row["fairfix"] for row in rows}),
                "gains_shown": sum(_best(table, needs_group=False).gain_shown for table in tables),
                "overview": [_overview(table) for table in tables[:LISTED_TABLES]],
                "tables": len(tables),
                "sweeps": [_sweep(sweep, sorted(methods)) for sweep in found_sweeps[:SHOWN_SWEEPS]],
                "sections": [_section(table, runs) for table in drawn],
                "reasons": _reasons(rows)[:LISTED_REASONS],
                "elsewhere": elsewhere_view(cell_table(rows)),
                "base_networks": base_networks_view(summarize_base_networks(rows)),
                "attribution": attribution_view(summarize_attributions(rows)),
                "kinds": {table.goal.kind for table in tables},
                "overlaps": any((table.cells["overlap"] > 0).any() for table in tables),
            }
        )
    )


def describe_goal(goal: Goal) -> str:
    """Return the definition of the ranking value in words."""
    performance, metric = title_of(goal.performance_key), title_of(goal.metric)
    if goal.smaller_is_better:
        weight = f"{goal.lambda_:g}"
        rest = f"{1 - goal.lambda_:g}"
        return (
            f"trade-off: {weight} × absolute {metric} + {rest} × (1 − {performance}); "
            "smaller is better"
        )
    limits = f" and {goal.limits} hold{'' if ',' in goal.limits else 's'}" if goal.limits else ""
    return (
        f"objective: {performance} if the absolute {metric} is below the budget of "
        f"{goal.budget:g}{limits}, else 0"
    )


RunsByMethod = dict[tuple[str, Goal, str], list[Run]]


def _runs(rows: Sequence[Row], drawn: Sequence[TaskSummary]) -> RunsByMethod:
    """Return the steps of every method of the tables to draw."""
    wanted = {(table.task, table.goal) for table in drawn}
    runs: RunsByMethod = {}
    for row in rows:
        table = row["task"], Goal.from_json(row["goal"])
        if table in wanted and row["status"] == "done":
            steps = np.asarray(row["trajectory"], dtype=float).reshape(-1, 2)
            runs.setdefault((*table, method_label(row)), []).append((steps, row["chosen"]))
    return runs


def _best(table: TaskSummary, *, needs_group: bool) -> MethodSummary:
    """Return the best method of a kind, not counting the unmodified model."""
    of_kind = [x for x in table.methods if x.needs_group == needs_group and x.method != UNMODIFIED]
    return (of_kind or list(table.methods))[0]


def _overview(table: TaskSummary) -> View:
    best = _best(table, needs_group=False)
    return {
        "task": table.task,
        "goal": f"{title_of(table.goal.metric)}, {table.goal.value_name}",
        "best": best.method,
        "figure": _mean_view(best.mean_objective),
        "gain": _gain_view(best),
    }


def _section(table: TaskSummary, runs: RunsByMethod) -> View:
    goal, methods = table.goal, table.methods
    done = table.cells[table.cells["status"] == "done"]
    cells = {str(method): own for method, own in done.groupby("method")}
    boxes = BoxStrips(Scale.over(done["objective"], steps=4))
    # The unmodified model comes from the baseline's cells and has no time of its own.
    timed = [x for x in methods if x.method != UNMODIFIED]
    times = BoxStrips(LogScale.over(done["seconds"].dropna()))
    return {
        "task": table.task,
        "goal": goal,
        "metric": title_of(goal.metric),
        "performance": title_of(goal.performance_key),
        "description": describe_goal(goal),
        "splits": done["task_sha256"].nunique(),
        "rows": sorted({int(n) for n in done["rows"]}),
        "axis": boxes.axis(),
        "ranks": _by_kind(
            [
                {
                    **_method_view(x),
                    "strip": boxes.strip(
                        cells[x.method]["objective"].tolist(), x.objective, _strip_title(goal, x)
                    ),
                }
                for x in methods
            ]
        ),
        "plane": plane_chart(goal, methods, {x.method: _mark_title(x) for x in methods}),
        "kinds": list(dict.fromkeys(mark_kind(x) for x in methods)),
        "time_axis": times.axis(),
        "times": [
            {
                **_method_view(x),
                "strip": times.strip(
                    cells[x.method]["seconds"].tolist(),
                    x.seconds,
                    f"{x.method}: median {x.seconds.median:.3g} seconds",
                ),
            }
            for x in sorted(timed, key=lambda x: x.seconds.median)
        ],
        "steps": [
            {"method": x.method, "charts": charts}
            for x in methods
            if (charts := step_charts(goal, runs.get((table.task, goal, x.method), []))) is not None
        ],
    }


def _by_kind(views: Sequence[View]) -> dict[str, list[View]]:
    kinds = {KINDS[need]: [x for x in views if x["needs_group"] == need] for need in KINDS}
    return {name: of_kind for name, of_kind in kinds.items() if of_kind}


def _method_view(method: MethodSummary) -> View:
    """Return a method's figures as text."""
    return {
        "method": method.method,
        "needs_group": method.needs_group,
        "splits": method.splits,
        "missing": method.missing,
        "median": _quartiles_view(method.objective),
        "mean": _mean_view(method.mean_objective),
        "held": format_number(method.held, 2),
        "ceiling": "" if math.isnan(method.ceiling) else format_number(method.ceiling, 2),
        "gap": _quartiles_view(method.gap),
        "performance": _quartiles_view(method.performance),
        "gain": _gain_view(method),
        "p": "" if math.isnan(method.p) else format_p_value(method.p),
        "gain_note": _gain_note(method),
        "trivial": method.trivial,
        "trivial_share": format_number(method.trivial, 2),
        "pareto": method.pareto,
        "seconds": _seconds(method.seconds.median),
        "memory": "" if math.isnan(method.peak_memory_mib) else f"{method.peak_memory_mib:,.0f}",
    }


def _gain_note(method: MethodSummary) -> str:
    """Say whether a gain over the retuned threshold is shown."""
    if method.method in (BASELINE, UNMODIFIED):
        return ""
    return "gain shown" if method.gain_shown else f"no gain over {BASELINE} shown"


def _mean_view(figure: MeanInterval) -> View:
    known = not math.isnan(figure.low)
    return {
        "text": format_number(figure.value),
        "interval": f"{format_number(figure.low)} to {format_number(figure.high)}" if known else "",
    }


def _quartiles_view(figure: Quartiles) -> View:
    known = not math.isnan(figure.median)
    low, high = format_number(figure.lower_quartile), format_number(figure.upper_quartile)
    return {"text": format_number(figure.median), "interval": f"{low} to {high}" if known else ""}


def _gain_view(method: MethodSummary) -> View:
    if math.isnan(method.gain.value):
        return {"text": "", "interval": ""}
    view = _mean_view(method.gain)
    sign = "+" if method.gain.value > 0 and view["text"].strip("0.") else ""
    return {**view, "text": sign + view["text"]}


def _seconds(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _strip_title(goal: Goal, method: MethodSummary) -> str:
    median, low, high = map(format_number, method.objective)
    return f"{method.method}: median {goal.value_name} {median}, quartiles {low} and {high}"


def _mark_title(method: MethodSummary) -> str:
    return (
        f"{method.method}: mean performance {format_number(method.mean_performance)}, "
        f"mean absolute gap {format_number(method.mean_gap)}"
    )


def _sweep(sweep: Sweep, all_methods: Sequence[str]) -> View:
    """Return the view of a sweep; a method has the same color in all charts of the page."""
    points: dict[str, list[tuple[float, MethodSummary]]] = {}
    for value, table in sweep.summaries:
        for summary in table.methods:
            points.setdefault(summary.method, []).append((value, summary))
    goal, methods = sweep.goal, [method for method in all_methods if method in points]
    colors = {method: all_methods.index(method) for method in methods}
    objectives = [
        Series(method, colors[method], tuple((value, x.objective) for value, x in points[method]))
        for method in methods
    ]
    gaps = [
        Series(
            method,
            colors[method],
            tuple((value, x.gap) for value, x in points[method] if not math.isnan(x.gap.median)),
        )
        for method in methods
    ]
    band = None if goal.smaller_is_better else (0.0, goal.budget)
    return {
        "name": sweep.name,
        "parameter": sweep.parameter,
        "metric": title_of(goal.metric),
        "description": describe_goal(goal),
        "objective_name": goal.value_name,
        "values": [value for value, _ in sweep.summaries],
        "objective": sweep_chart(objectives, sweep.parameter, goal.value_name, None),
        "gap": sweep_chart(gaps, sweep.parameter, "absolute gap", band),
        "keys": [(color_key(colors[method]), method) for method in methods],
        "listed": [
            {
                "method": method,
                "figures": [
                    next(
                        (
                            format_number(x.objective.median)
                            for v, x in points[method]
                            if v == value
                        ),
                        "",
                    )
                    for value, _ in sweep.summaries
                ],
            }
            for method in methods
        ],
    }


def _reasons(rows: Sequence[Row]) -> list[View]:
    """Return what was refused or failed, each reason once."""
    counts = Counter(
        (row["status"], method_label(row), row["task"], row["reason"])
        for row in rows
        if row["status"] in ("refused", "failed")
    )
    return [
        {"status": status, "method": method, "task": task, "reason": reason, "cells": n}
        for (status, method, task, reason), n in counts.items()
    ]

"""Summary of a study: tables on the terminal and files next to its rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from fairfix._utils.atomic_write import write_bytes
from fairfix._utils.text import plural, shorten
from fairfix.bench.attribution_summary import AttributionSummary, summarize_attributions
from fairfix.bench.base_network_summary import BaseNetworkSummary, summarize_base_networks
from fairfix.bench.cell_table import BASELINE, UNMODIFIED, cell_table
from fairfix.bench.page import page
from fairfix.bench.split_statistics import MIN_SPLITS, MeanInterval
from fairfix.bench.summary import MethodSummary, TaskSummary, summarize
from fairfix.cli.console import build_table, print_document, print_messages, print_output, wrap
from fairfix.cli.failures import INTERNAL
from fairfix.data.spreadsheet import csv_text

WRITTEN = (
    *("report.html", "summary.csv", "cells.csv", "cells.parquet"),
    *("networks.csv", "attribution.csv"),
)
MOSTLY = 0.5  # share of trivial splits from which a method is called trivial
SHORT = {"balanced_accuracy": "BA", "accuracy": "acc.", "f1": "F1"}
Row = Mapping[str, Any]


def write_and_print(
    rows: Sequence[Row],
    place: Path | None,
    *written: Path,
    json: bool,
    quiet: bool,
) -> int:
    """Summarize rows, write the files to ``place``, print the summary, return the exit code."""
    tasks, base_networks, attributions = (
        summarize(rows),
        summarize_base_networks(rows),
        summarize_attributions(rows),
    )
    if place is not None:
        written += _write(rows, tasks, base_networks, attributions, place)
    if json:
        parts: dict[str, Sequence[MethodSummary | BaseNetworkSummary | AttributionSummary]] = {
            "summary": [line for task in tasks for line in task.methods],
            "networks": base_networks,
            "attribution": attributions,
        }
        print_document(
            {"cells": len(rows), "without_result": _without_result(rows)}
            | {name: [_plain(each.flat()) for each in part] for name, part in parts.items()}
        )
    elif not quiet:
        kinds = [
            (table, of_kind)
            for table in tasks
            for need in (False, True)
            if (of_kind := [line for line in table.methods if line.needs_group == need])
        ]
        print_output(
            *(_table(*kind) for kind in kinds),
            *_attribution_table(attributions),
            *_legend(tasks, rows),
        )
    if not (json or quiet):
        print_output(*(f"wrote {path}" for path in written))
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        message = f"{len(failed)} cells failed; run the same command to repeat them"
        print_messages([message], quiet=False)
    return INTERNAL if failed else 0


def _write(
    rows: Sequence[Row],
    tasks: Sequence[TaskSummary],
    base_networks: Sequence[BaseNetworkSummary],
    attributions: Sequence[AttributionSummary],
    place: Path,
) -> tuple[Path, ...]:
    """Write the page and the tables, each atomically, and return their paths."""
    import pandas as pd

    lines = pd.DataFrame([line.flat() for table in tasks for line in table.methods])
    cells = cell_table(rows).rename(columns={"lambda_": "lambda"})
    contents = {
        "report.html": page(rows).encode(),
        "summary.csv": csv_text(lines).encode(),
        "cells.csv": csv_text(cells).encode(),
        "cells.parquet": cells.to_parquet(index=False),
        "networks.csv": csv_text(pd.DataFrame([each.flat() for each in base_networks])).encode(),
    }
    if attributions:
        weights = pd.DataFrame([each.flat() for each in attributions])
        contents["attribution.csv"] = csv_text(weights).encode()
    for name, content in contents.items():
        write_bytes(place / name, content)
    return tuple(place / name for name in contents)


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    def value(each: Any) -> Any:
        return None if isinstance(each, float) and not math.isfinite(each) else each

    return {key: value(each) for key, each in line.items()}


def _table(made: TaskSummary, lines: Sequence[MethodSummary]) -> Table:
    """Return the methods of one kind on one task as a table; the files have every figure."""
    first, goal = lines[0], made.goal
    header = [
        "method",
        goal.value_name,
        "held",
        f"|{goal.metric}|",
        SHORT.get(goal.performance_key, goal.performance_key),
        "gain, shown?",
        "s",
    ]
    kind = "the group is needed at prediction" if first.needs_group else "group-free"
    splits = max(line.splits for line in lines)
    budget = "" if goal.smaller_is_better else f" < {goal.budget:g}"
    title = f"{shorten(made.task)}, {goal.metric}{budget}, {splits} splits: {kind}"
    return build_table(title, header, [_cells(line) for line in lines])


def _attribution_table(attributions: Sequence[AttributionSummary]) -> list[Table | str]:
    """Return the attribution of the gap to weights, if there is any."""
    if not attributions:
        return []
    header = ["networks of", "metric", "n", "R2", "R2 fitted", "top 100", "singular values"]
    rows = [
        [
            each.task,
            each.metric,
            each.splits,
            f"{each.r2.mean:.3f}",
            f"{each.r2_of_fit.mean:.3f}",
            f"{each.share_of_largest[100].mean:.2f}",
            " to ".join(f"{end:.2f}" for end in each.singular_range),
        ]
        for each in attributions
    ]
    return [
        build_table("Which weights carry the gap", header, rows),
        "R2: of a linear model by gradients, on random changes of all weights; fitted: by lasso",
        "top 100: share of that variance in 100 weights; singular values near 1: nothing is shared",
    ]


def _cells(line: MethodSummary) -> list[str]:
    ceiling = "" if math.isnan(line.ceiling) else f"/{line.ceiling:.2f}"
    return [
        ("* " if line.pareto else "  ") + line.method,
        _interval(line.mean_objective, ""),
        f"{line.held:.2f}{ceiling}",
        f"{line.mean_gap:.3f}",
        f"{line.mean_performance:.3f}",
        f"{_interval(line.gain, '+')} {_remark(line)}".strip(),
        f"{line.seconds.median:.2f}" if line.method != UNMODIFIED else "",
    ]


def _interval(figure: MeanInterval, sign: str) -> str:
    """Return a mean ± half its interval; the limits where one is the end of the range."""
    if math.isnan(figure.value):
        return ""
    mean = f"{figure.value:{sign}.3f}"
    above, below = figure.high - figure.value, figure.value - figure.low
    if math.isnan(above):
        return mean
    if math.isclose(above, below, abs_tol=1e-9):
        return f"{mean}±{above:.3f}"
    return f"{mean} [{figure.low:.2f}, {figure.high:.2f}]"


def _remark(line: MethodSummary) -> str:
    if line.trivial >= MOSTLY:
        return "trivial"
    if line.method in (BASELINE, UNMODIFIED):
        return ""
    return "yes" if line.gain_shown else "no"


def _legend(tasks: Sequence[TaskSummary], rows: Iterable[Row]) -> list[str]:
    """Return notes: meaning of the columns, missing splits, reasons of refusal, each once."""
    kinds = {task.goal.smaller_is_better for task in tasks}
    lines = []
    if False in kinds:
        lines.append("objective: performance if the budget held on test rows, else 0")
    if True in kinds:
        lines.append("trade-off: lambda |gap| + (1 - lambda) (1 - performance); lower is better")
    if tasks:
        budgets = sorted({task.goal.budget for task in tasks})
        lines += [
            "figures are means over splits, s is the median",
            f"held: share of splits with a gap below {', '.join(f'{b:g}' for b in budgets)} / the "
            "same of a rule with a true gap of 0",
            "gain: difference to identity, positive is better; shown where p (Holm) < 0.05",
            "trivial: nearly all rows get the same decision on most splits",
            "±: half the 95 % interval; *: Pareto front of its kind by mean gap and performance",
        ]
    few = {line.splits for table in tasks for line in table.methods if line.splits < MIN_SPLITS}
    lines += [f"{plural(n, 'split', 'splits')}: no interval" for n in sorted(few)]
    lines += [
        f"{line.method} on {line.task}, {line.metric}: no result on {line.missing} of "
        f"{line.splits + line.missing} splits"
        for table in tasks
        for line in table.methods
        if line.missing
    ]
    lines += dict.fromkeys(
        f"{each['method']} on {each['task']}: {each['reason']}" for each in _without_result(rows)
    )
    return [part for line in lines for part in wrap(line, indent="  ")]


def _without_result(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Return what was refused or failed, each reason once."""
    results = {
        (row["method"], row["task"], row["goal"]["metric"], row["status"], row["reason"]): None
        for row in rows
        if row["status"] in ("refused", "failed")
    }
    names = ("method", "task", "metric", "status", "reason")
    return [dict(zip(names, each, strict=True)) for each in results]

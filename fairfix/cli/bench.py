"""``fairfix bench``: a study, its rows, and what they say."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.table import Table

from fairfix.bench import summary as study_summary
from fairfix.bench.attributions import Attributions, attributions
from fairfix.bench.journal import Journal
from fairfix.bench.networks import Networks, networks
from fairfix.bench.page import page
from fairfix.bench.plan import chosen_methods, made, own_tasks, part, planned, units
from fairfix.bench.protocols import Protocol, protocol
from fairfix.bench.study import Backend, Study, cores, dask, local
from fairfix.bench.summary import BASELINE, DEPLOYED, Line, frame, latest, tables
from fairfix.bench.task import Task
from fairfix.case import load
from fairfix.cli.failures import INTERNAL
from fairfix.cli.talk import emit, progress, say, short, show, table
from fairfix.cli.values import Values
from fairfix.errors import OutputError, UsageError
from fairfix.files import write_bytes
from fairfix.methods import names as method_names_known
from fairfix.objectives import Objective
from fairfix.progress import tracked
from fairfix.rates import METRICS

SEEDS = 5
CHOICES = ("k", "margin", "risk")  # how cuts are chosen, which no protocol says
MOSTLY = 0.5  # share of splits from which a trait is said of a method
SHORT = {"balanced_accuracy": "BA", "accuracy": "acc.", "f1": "F1"}
Row = Mapping[str, Any]
Paths = tuple[Path, ...]


def run(
    *,
    paths: list[str] | None,
    method_names: str | None,
    metrics: str | None,
    seeds: int | None,
    protocol: str | None,
    datasets: str | None,
    variants: str | None,
    attribution: bool,
    rows: list[Path] | None,
    jobs: int | None,
    backend: Literal["local", "dask"],
    scheduler: str | None,
    array: str | None,
    output: Path | None,
    json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    if rows:
        place = None if output is None else _folder(output)
        return _told(_read(rows), place, json=json, quiet=quiet)
    processes = cores() if jobs is None else jobs
    runs = _backend(backend, scheduler, processes)
    place = _folder(output)
    with progress(quiet=quiet):
        if protocol is not None:
            study = _by_protocol(
                protocol,
                paths,
                datasets,
                variants,
                method_names,
                metrics,
                seeds,
                array,
                processes,
                attribution,
                given,
            )
        else:
            if datasets or variants or array:
                raise UsageError("--datasets, --variants and --array need a --protocol.")
            study = _own(paths, method_names, metrics, seeds, attribution, given)
        journal = Journal(place / "rows.jsonl")
        done = len({cell.key for cell in study.cells} & journal.resume())
        if done:
            say([f"{done} of {len(study.cells)} cells are done already"], quiet=quiet)
        left = range(len(study.cells) - done)
        for _ in zip(tracked(left, "cells"), study.run(journal, runs), strict=True):
            pass
    wanted = {cell.key for cell in study.cells}
    found = latest(_light(row) for row in journal.rows() if row["key"] in wanted)
    return _told(found, place, journal.path, json=json, quiet=quiet)


def _backend(name: str, scheduler: str | None, jobs: int) -> Backend:
    if name == "local":
        if scheduler is not None:
            raise UsageError("--scheduler belongs to --backend dask.")
        return local(jobs)
    if scheduler is None:
        raise UsageError("--backend dask needs the --scheduler ADDRESS of a running cluster.")
    return dask(scheduler)


def _folder(output: Path | None) -> Path:
    place = output or Path("fairfix-bench")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(
            f"{place} is a file, and a folder is needed; name another with -o."
        ) from None
    return place


def _by_protocol(
    name: str,
    paths: Sequence[str] | None,
    datasets: str | None,
    variants: str | None,
    methods: str | None,
    metrics: str | None,
    seeds: int | None,
    array: str | None,
    jobs: int,
    attribution: bool,
    given: dict[str, Any],
) -> Study:
    if paths:
        raise UsageError(f"A protocol has its own models and rows; leave out {paths[0]!r}.")
    for option, value in given.items():
        if option not in CHOICES and value is not None and value is not False:
            said = f"--{option.rstrip('_').replace('_', '-')}"
            raise UsageError(f"A protocol has its own goal, networks and rows; leave out {said}.")
    chosen = protocol(name)
    objectives = _with_choice(_objectives(chosen, metrics), given)
    names = chosen_methods(methods, chosen.methods)
    wanted = units(chosen, _listed(datasets), seeds, _listed(variants))
    if array is not None:
        wanted = part(wanted, *_array(array))
    tasks = made(wanted, jobs)
    return planned(tasks, objectives, names, chosen.options, attribution=attribution)


def _with_choice(objectives: Sequence[Objective], given: dict[str, Any]) -> list[Objective]:
    """The objectives with what the command line says of how cuts are chosen."""
    asked = {name: given[name] for name in CHOICES if given.get(name) is not None}
    if not asked:
        return list(objectives)
    if any(objective.kind == "tradeoff" for objective in objectives):
        raise UsageError(
            f"The trade-off objective of this protocol knows no chance; leave out --{min(asked)}."
        )
    choice = Values(asked, {}, {}, None).objective()
    return [
        replace(objective, margin=choice.margin, risk=choice.risk, k=choice.k)
        for objective in objectives
    ]


def _objectives(chosen: Protocol, metrics: str | None) -> list[Objective]:
    if metrics is None:
        return list(chosen.objectives)
    return [replace(chosen.objectives[0], metric=_metric(key)) for key in _listed(metrics)]


def _metric(key: str) -> Any:
    if key not in METRICS:
        raise UsageError(f"Metrics to debias are {', '.join(METRICS)}, not {key!r}.")
    return METRICS[key]


def _own(
    paths: Sequence[str] | None,
    methods: str | None,
    metrics: str | None,
    seeds: int | None,
    attribution: bool,
    given: dict[str, Any],
) -> Study:
    if not paths or len(paths) < 2:
        raise UsageError("Give models and a table, or --protocol, or --rows; see bench --help.")
    data = Path(paths[-1])
    values = Values.collect("bench", given, data)
    goal = values.objective()
    objectives = [replace(goal, metric=_metric(key)) for key in _listed(metrics)] or [goal]
    names = chosen_methods(methods, method_names_known())
    judged = values.test()
    loaded = []
    for model in paths[:-1]:
        case = load(
            model,
            data,
            columns=values.columns(),
            options=values.model_options(),
            threshold=values["threshold"],
        )
        loaded.append((case, None if judged is None else case.companion(judged)))
    tasks: list[Task] = own_tasks(loaded, SEEDS if seeds is None else seeds, values["holdout"])
    return planned(tasks, objectives, names, attribution=attribution)


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _array(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdigit() and of.isdigit()):
        raise UsageError(f"An array is i/n, such as 3/20, not {text!r}.")
    return int(number), int(of)


def _read(files: Iterable[Path]) -> list[Row]:
    """The rows of several journals; of a cell that stands in them twice, the last row."""

    def rows() -> Iterator[Row]:
        for path in files:
            if not path.is_file():
                raise UsageError(f"There is no file {path}.")
            yield from map(_light, Journal(path).rows())

    return latest(rows())


def _light(row: dict[str, Any]) -> Row:
    """A row without what nothing here looks at, and its steps in little room."""
    if row["status"] != "done":
        return row
    for rows in ("judged", "fitting"):
        for state, figures in row[rows].items():
            if (rows, state) != ("judged", DEPLOYED):
                del figures["gaps"], figures["performances"]
    return row | {"trajectory": np.array(row["trajectory"], dtype=np.float32)}


def _told(
    rows: Sequence[Row],
    place: Path | None,
    *written: Path,
    json: bool,
    quiet: bool,
) -> int:
    """Say what the rows say, and write it beside them; the exit code."""
    found, carried = tables(rows), attributions(rows)
    if json:
        parts: dict[str, Sequence[Line | Networks | Attributions]] = {
            "summary": [line for table in found for line in table.lines],
            "networks": networks(rows),
            "attribution": carried,
        }
        emit(
            {"cells": len(rows)}
            | {name: [_plain(each.flat()) for each in part] for name, part in parts.items()}
        )
    elif not quiet:
        kinds = [
            (table, of_kind)
            for table in found
            for need in (False, True)
            if (of_kind := [line for line in table.lines if line.needs_group == need])
        ]
        show(*(_table(*kind) for kind in kinds), *_carried(carried), *_legend(found, rows))
    if place is not None:
        written += _write(rows, found, place)
    if not (json or quiet):
        show(*(f"wrote {path}" for path in written))
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        say([f"{len(failed)} cells failed; the same command runs them again"], quiet=False)
    return INTERNAL if failed else 0


def _write(rows: Sequence[Row], found: Sequence[study_summary.Table], place: Path) -> Paths:
    """The page and the tables, each whole or not at all."""
    import pandas as pd

    lines = pd.DataFrame([line.flat() for table in found for line in table.lines])
    cells = frame(rows)
    bases = pd.DataFrame([each.flat() for each in networks(rows)])
    carried = pd.DataFrame([each.flat() for each in attributions(rows)])
    contents = {
        "report.html": page(rows).encode(),
        "summary.csv": lines.to_csv(index=False).encode(),
        "cells.csv": cells.to_csv(index=False).encode(),
        "cells.parquet": cells.to_parquet(index=False),
        "networks.csv": bases.to_csv(index=False).encode(),
    }
    if len(carried):
        contents["attribution.csv"] = carried.to_csv(index=False).encode()
    for name, content in contents.items():
        write_bytes(place / name, content)
    return tuple(place / name for name in contents)


def _plain(line: dict[str, Any]) -> dict[str, Any]:
    def value(each: Any) -> Any:
        return None if isinstance(each, float) and not math.isfinite(each) else each

    return {key: value(each) for key, each in line.items()}


def _table(made: study_summary.Table, lines: Sequence[Line]) -> Table:
    """The methods of one kind on one task; the files beside have every figure."""
    first, goal = lines[0], made.goal
    header = [
        "method",
        goal.name,
        "held",
        f"|{goal.metric}|",
        SHORT.get(goal.performance_key, goal.performance_key),
        "gain, shown?",
        "s",
    ]
    kind = "the group is needed at prediction" if first.needs_group else "group-free"
    splits = max(line.splits for line in lines)
    budget = "" if goal.smaller_is_better else f" < {goal.budget:g}"
    title = f"{short(made.task)}, {goal.metric}{budget}, {splits} splits: {kind}"
    return table(title, header, [_cells(line) for line in lines])


def _carried(found: Sequence[Attributions]) -> list[Table | str]:
    """What attributions to weights say, if any were asked for."""
    if not found:
        return []
    header = ["networks of", "metric", "n", "R2", "R2 fitted", "top 100", "singular values"]
    rows = [
        [
            each.task,
            each.metric,
            each.networks,
            f"{each.r2.mean:.3f}",
            f"{each.r2_of_fit.mean:.3f}",
            f"{each.share_of_largest[100].mean:.2f}",
            " to ".join(f"{end:.2f}" for end in each.singular_ends),
        ]
        for each in found
    ]
    return [
        table("Which weights carry the gap", header, rows),
        "R2: of a linear model by gradients, on random changes of all weights; fitted: by lasso",
        "top 100: share of that variance in 100 weights; singular values near 1: nothing is shared",
    ]


def _cells(line: Line) -> list[str]:
    ceiling = "" if math.isnan(line.ceiling) else f"/{line.ceiling:.2f}"
    return [
        ("* " if line.pareto else "  ") + line.method,
        _interval(line.mean_objective, ""),
        f"{line.held:.2f}{ceiling}",
        f"{line.gap.median:.3f}",
        f"{line.performance.median:.3f}",
        f"{_interval(line.gain, '+')} {_remark(line)}".strip(),
        f"{line.seconds.median:.2f}" if line.method != DEPLOYED else "",
    ]


def _interval(figure: study_summary.Interval, sign: str) -> str:
    """A mean and half its interval, where they are known."""
    if math.isnan(figure.value):
        return ""
    half = figure.high - figure.value
    return f"{figure.value:{sign}.3f}" + ("" if math.isnan(half) else f"±{half:.3f}")


def _remark(line: Line) -> str:
    if line.trivial >= MOSTLY:
        return "trivial"
    if line.method in (BASELINE, DEPLOYED):
        return ""
    return "yes" if line.gain_shown else "no"


def _legend(found: Sequence[study_summary.Table], rows: Iterable[Row]) -> list[str]:
    """What the columns are, what lacks splits, and what was refused, each reason once."""
    kinds = {table.goal.smaller_is_better for table in found}
    lines = []
    if False in kinds:
        lines.append(
            "objective: mean of the performance where the budget held on judged rows, else 0"
        )
    if True in kinds:
        lines.append(
            "trade-off: mean of lambda |gap| + (1 - lambda) (1 - performance); less is better"
        )
    if found:
        lines += [
            "held: share of splits within the budget / the same of a rule with a true gap of 0",
            "gain: mean difference to identity, better is positive; shown where p by Holm < 0.05",
            "±: half the 95 % interval; *: Pareto front of its kind by mean gap and performance",
        ]
    lines += [
        f"{line.method} on {line.task}, {line.metric}: no result on {line.missing} of "
        f"{line.splits + line.missing} splits"
        for table in found
        for line in table.lines
        if line.missing
    ]
    said = dict.fromkeys(
        f"{row['method']} on {row['task']}: {row['reason']}"
        for row in rows
        if row["status"] in ("refused", "failed")
    )
    return [*lines, *said]

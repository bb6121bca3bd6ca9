"""``fairfix bench``: plans a study from the command line, runs or resumes it, summarizes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fairfix._utils.name_list import split_names
from fairfix._utils.number_text import parse_int
from fairfix._utils.progress import track
from fairfix.bench.cell_table import UNMODIFIED, latest_rows
from fairfix.bench.journal import Journal
from fairfix.bench.plan import (
    array_part,
    build_tasks,
    chosen_methods,
    model_tasks,
    plan_study,
    plan_tasks,
)
from fairfix.bench.protocols import Protocol, protocol
from fairfix.bench.study import Backend, Study, available_cores, dask_backend, local_backend
from fairfix.cli.bench_output import WRITTEN, Row, write_and_print
from fairfix.cli.console import print_messages, progress_bars
from fairfix.cli.demand_values import promises
from fairfix.cli.option_values import OptionValues
from fairfix.errors import FairfixError, OutputError, UsageError
from fairfix.methods import names as all_methods
from fairfix.metrics.fairness_metrics import AUCD, METRICS, goal
from fairfix.metrics.limits import Limit
from fairfix.metrics.objective import Objective
from fairfix.workflows.goals import limits_of, searched
from fairfix.workflows.open_case import open_case

JOURNAL = "rows.jsonl"
SEEDS = 5
THRESHOLD_CHOICE = ("k", "margin", "risk")  # how thresholds are chosen; no protocol fixes it


@dataclass(frozen=True)
class StudyRequest:
    """The study options of the command line; ``given`` are the shared options."""

    paths: Sequence[str]
    methods: str | None
    method: Sequence[str]
    metrics: str | None
    seeds: int | None
    protocol: str | None
    datasets: str | None
    variants: str | None
    array: str | None
    attribution: bool
    training_rows: bool
    given: dict[str, Any]
    quiet: bool = False

    @property
    def is_given(self) -> bool:
        """Whether the command line has any study option."""
        own = (value for name, value in vars(self).items() if name not in ("given", "quiet"))
        return any(own) or any(map(_is_given, self.given.values()))

    def study(self, jobs: int) -> Study:
        """Return all cells; ``jobs`` processes train the networks that are needed first."""
        if self.protocol is not None:
            return self._by_protocol(protocol(self.protocol), jobs)
        if self.datasets or self.variants or self.array or self.training_rows:
            raise UsageError("--datasets, --variants, --training-rows and --array need --protocol.")
        return self._own()

    def _by_protocol(self, chosen: Protocol, jobs: int) -> Study:
        if self.paths:
            raise UsageError(f"A protocol has its own models and rows; remove {self.paths[0]!r}.")
        for option, value in self.given.items():
            if option not in THRESHOLD_CHOICE and _is_given(value):
                flag = f"--{option.rstrip('_').replace('_', '-')}"
                raise UsageError(f"A protocol has its own goal, networks and rows; remove {flag}.")
        objectives = _with_choice(_objectives(chosen, self.metrics), self.given)
        names = chosen_methods(self._requested(self.method), chosen.methods)
        chosen = replace(chosen, learns=chosen.learns or self.training_rows)
        planned = plan_tasks(chosen, _listed(self.datasets), self.seeds, _listed(self.variants))
        if self.array is not None:
            planned = array_part(planned, *_array(self.array))
        tasks = build_tasks(planned, jobs)
        return plan_study(tasks, objectives, names, attribution=self.attribution)

    def _requested(self, method: Sequence[str] | None) -> Sequence[str]:
        """Return the requested methods; ``method`` is the option or the setting."""
        if self.methods is not None and self.method:
            raise UsageError("Give methods by --methods or by --method, not by both.")
        return method or () if self.methods is None else _listed(self.methods)

    def _own(self) -> Study:
        if len(self.paths) < 2:
            raise UsageError("Give models and a table, or --protocol, or --rows.")
        *models, table = self.paths
        given = {"method": self.method or None, **self.given}
        values = OptionValues.collect("bench", given, Path(table))
        print_messages(values.file_notes, quiet=self.quiet)
        goal = replace(values.objective(), limits=_limits(values))
        objectives = [replace(goal, metric=_metric(key)) for key in _listed(self.metrics)] or [goal]
        names = chosen_methods(self._requested(values["method"]), all_methods())
        test = values.test()
        loaded = []
        for model in models:
            case = open_case(
                model,
                Path(table),
                values.column_roles(),
                values.model_options(),
                threshold=values["threshold"],
                decides=False,
            )
            loaded.append((case, None if test is None else case.companion(test)))
        seeds = SEEDS if self.seeds is None else self.seeds
        tasks = model_tasks(loaded, seeds, values["holdout"], values["seed"])
        return plan_study(tasks, objectives, names, attribution=self.attribution)


def run(
    *,
    paths: list[str] | None,
    method_names: str | None,
    method: list[str] | None,
    metrics: str | None,
    seeds: int | None,
    protocol: str | None,
    datasets: str | None,
    variants: str | None,
    attribution: bool,
    training_rows: bool,
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
    request = StudyRequest(
        paths=paths or (),
        methods=method_names,
        method=method or (),
        metrics=metrics,
        seeds=seeds,
        protocol=protocol,
        datasets=datasets,
        variants=variants,
        array=array,
        attribution=attribution,
        training_rows=training_rows,
        given=given,
        quiet=quiet,
    )
    if rows:
        if request.is_given:
            raise UsageError(
                "--rows summarizes finished runs; remove every option but -o, --json and --quiet."
            )
        place = None if output is None else _folder(output, rows)
        return write_and_print(_read(rows), place, json=json, quiet=quiet)
    processes = available_cores() if jobs is None else jobs
    runs = _backend(backend, scheduler, processes)
    place = output or Path("fairfix-bench")
    begun = not place.exists()
    journal = Journal(_folder(place) / JOURNAL)
    try:
        with progress_bars(quiet=quiet):
            study = request.study(processes)
            done = len({cell.key for cell in study.cells} & journal.resume())
            if done:
                message = f"{done} of {len(study.cells)} cells are done already"
                print_messages([message], quiet=quiet)
            left = range(len(study.cells) - done)
            for _ in zip(track(left, "cells"), study.run(journal, runs), strict=True):
                pass
    except FairfixError:
        if begun:
            _remove_empty(place)
        raise
    except KeyboardInterrupt:
        print_messages(["finished cells are kept; run the same command to resume"], quiet=quiet)
        raise
    wanted = {cell.key for cell in study.cells}
    latest = latest_rows(_light(row) for row in journal.rows() if row["key"] in wanted)
    return write_and_print(latest, place, journal.path, json=json, quiet=quiet)


def _backend(name: str, scheduler: str | None, jobs: int) -> Backend:
    if name == "local":
        if scheduler is not None:
            raise UsageError("--scheduler needs --backend dask.")
        return local_backend(jobs)
    if scheduler is None:
        raise UsageError("--backend dask needs --scheduler with the address of a running cluster.")
    return dask_backend(scheduler)


def _folder(place: Path, rows: Sequence[Path] = ()) -> Path:
    """Return the output directory, created if needed.

    Args:
        place: its path.
        rows: the journals to summarize there, if any.

    Raises:
        OutputError: it cannot be created, or holds other files that would be replaced.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{place} is a file, not a directory; name another with -o.") from None
    journal = place / JOURNAL
    if (
        rows
        and journal.exists()
        and not any(path.samefile(journal) for path in rows if path.exists())
    ):
        raise OutputError(f"{place} holds another study; name another directory with -o.")
    if not rows and not journal.exists():
        taken = [name for name in WRITTEN if (place / name).exists()]
        if taken:
            raise OutputError(
                f"{place / taken[0]} exists and does not belong to a study there; name another "
                "directory with -o."
            )
    return place


def _remove_empty(place: Path) -> None:
    """Remove the directory that was created for a study that did not start."""
    journal = place / JOURNAL
    with suppress(OSError):
        if journal.exists() and journal.stat().st_size == 0:
            journal.unlink()
        place.rmdir()


def _limits(values: OptionValues) -> tuple[Limit, ...]:
    """Return the goals other than the budget.

    Raises:
        UsageError: one is by another group column than the first, the only one that tasks keep.
    """
    first = values["group"][0]
    asked = searched(promises(values))
    for demand in asked:
        if demand.column not in (None, first):
            raise UsageError(
                f"{demand.condition} by {demand.column!r} cannot be studied: a study keeps the "
                f"first group column, {first!r}; use the command of a method, or remove the goal."
            )
    return limits_of(asked, first)


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != []


def _with_choice(objectives: Sequence[Objective], given: dict[str, Any]) -> list[Objective]:
    """Return the objectives with the command line's choice of thresholds."""
    choices = {name: given[name] for name in THRESHOLD_CHOICE if given.get(name) is not None}
    if not choices:
        return list(objectives)
    if any(objective.kind == "tradeoff" for objective in objectives):
        raise UsageError(
            f"The trade-off objective of this protocol has no budget; remove --{min(choices)}."
        )
    choice = OptionValues(choices, {}, {}, None).objective()
    return [
        replace(objective, margin=choice.margin, risk=choice.risk, k=choice.k)
        for objective in objectives
    ]


def _objectives(chosen: Protocol, metrics: str | None) -> list[Objective]:
    if metrics is None:
        return list(chosen.objectives)
    return [replace(chosen.objectives[0], metric=_metric(key)) for key in _listed(metrics)]


def _metric(key: str) -> Any:
    if key not in METRICS and key != AUCD:
        raise UsageError(f"Unknown metric {key!r}; use {', '.join((*METRICS, AUCD))}.")
    return goal(key)


def _listed(names: str | None) -> list[str]:
    if names is None:
        return []
    listed = list(split_names(names))
    if not listed:
        raise UsageError(f"The list of names {names!r} is empty; add names or remove the option.")
    return listed


def _array(text: str) -> tuple[int, int]:
    try:
        number, of = map(parse_int, text.split("/"))
    except ValueError:
        raise UsageError(f"--array must be i/n, such as 3/20, not {text!r}.") from None
    return number, of


def _read(files: Sequence[Path]) -> list[Row]:
    """Return the rows of several journals; the last row of a cell that occurs twice."""

    def rows() -> Iterator[Row]:
        for path in files:
            if not path.is_file():
                raise UsageError(f"{path} does not exist.")
            yield from map(_light, Journal(path).rows())

    latest = latest_rows(rows())
    if not latest:
        raise UsageError(f"{', '.join(map(str, files))}: there are no rows to summarize.")
    return latest


def _light(row: dict[str, Any]) -> Row:
    """Return a row without the fields that the summary does not use."""
    if row["status"] != "done":
        return row
    for rows in ("test", "validation"):
        for state, figures in row[rows].items():
            if (rows, state) != ("test", UNMODIFIED):
                del figures["gaps"], figures["performances"]
    return row | {"trajectory": np.array(row["trajectory"], dtype=np.float32)}

"""``fairfix bench``: what is asked for, run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fairfix.bench.journal import Journal
from fairfix.bench.plan import chosen_methods, made, own_tasks, part, planned, units
from fairfix.bench.protocols import Protocol, protocol
from fairfix.bench.study import Backend, Study, cores, dask, local
from fairfix.bench.summary import DEPLOYED, latest
from fairfix.case import load
from fairfix.cli.study_told import Row, told
from fairfix.cli.talk import progress, say
from fairfix.cli.values import Values
from fairfix.errors import OutputError, UsageError
from fairfix.methods import names as method_names_known
from fairfix.objectives import Objective
from fairfix.progress import tracked
from fairfix.rates import METRICS

SEEDS = 5
CHOICES = ("k", "margin", "risk")  # how cuts are chosen, which no protocol says


@dataclass(frozen=True)
class Asked:
    """What a study is to be of, as the command line has it; ``given`` are the shared options."""

    paths: Sequence[str]
    methods: str | None
    metrics: str | None
    seeds: int | None
    protocol: str | None
    datasets: str | None
    variants: str | None
    array: str | None
    attribution: bool
    given: dict[str, Any]

    def study(self, jobs: int) -> Study:
        """Every cell; networks that are to be trained first are trained by ``jobs`` processes."""
        if self.protocol is not None:
            return self._by_protocol(protocol(self.protocol), jobs)
        if self.datasets or self.variants or self.array:
            raise UsageError("--datasets, --variants and --array need a --protocol.")
        return self._own()

    def _by_protocol(self, chosen: Protocol, jobs: int) -> Study:
        if self.paths:
            raise UsageError(
                f"A protocol has its own models and rows; leave out {self.paths[0]!r}."
            )
        for option, value in self.given.items():
            if option not in CHOICES and value is not None and value is not False:
                said = f"--{option.rstrip('_').replace('_', '-')}"
                raise UsageError(
                    f"A protocol has its own goal, networks and rows; leave out {said}."
                )
        objectives = _with_choice(_objectives(chosen, self.metrics), self.given)
        names = chosen_methods(self.methods, chosen.methods)
        wanted = units(chosen, _listed(self.datasets), self.seeds, _listed(self.variants))
        if self.array is not None:
            wanted = part(wanted, *_array(self.array))
        tasks = made(wanted, jobs)
        return planned(tasks, objectives, names, chosen.options, attribution=self.attribution)

    def _own(self) -> Study:
        if len(self.paths) < 2:
            raise UsageError("Give models and a table, or --protocol, or --rows; see bench --help.")
        *models, table = self.paths
        values = Values.collect("bench", self.given, Path(table))
        goal = values.objective()
        objectives = [replace(goal, metric=_metric(key)) for key in _listed(self.metrics)] or [goal]
        names = chosen_methods(self.methods, method_names_known())
        judged = values.test()
        loaded = []
        for model in models:
            case = load(
                model,
                Path(table),
                columns=values.columns(),
                options=values.model_options(),
                threshold=values["threshold"],
            )
            loaded.append((case, None if judged is None else case.companion(judged)))
        seeds = SEEDS if self.seeds is None else self.seeds
        tasks = own_tasks(loaded, seeds, values["holdout"])
        return planned(tasks, objectives, names, attribution=self.attribution)


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
        return told(_read(rows), place, json=json, quiet=quiet)
    processes = cores() if jobs is None else jobs
    runs = _backend(backend, scheduler, processes)
    asked = Asked(
        paths=paths or (),
        methods=method_names,
        metrics=metrics,
        seeds=seeds,
        protocol=protocol,
        datasets=datasets,
        variants=variants,
        array=array,
        attribution=attribution,
        given=given,
    )
    place = _folder(output)
    with progress(quiet=quiet):
        study = asked.study(processes)
        journal = Journal(place / "rows.jsonl")
        done = len({cell.key for cell in study.cells} & journal.resume())
        if done:
            say([f"{done} of {len(study.cells)} cells are done already"], quiet=quiet)
        left = range(len(study.cells) - done)
        for _ in zip(tracked(left, "cells"), study.run(journal, runs), strict=True):
            pass
    wanted = {cell.key for cell in study.cells}
    found = latest(_light(row) for row in journal.rows() if row["key"] in wanted)
    return told(found, place, journal.path, json=json, quiet=quiet)


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

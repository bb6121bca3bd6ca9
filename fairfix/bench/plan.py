"""From what a user asks for to the tasks and cells of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairfix import methods
from fairfix._utils.progress import tracked
from fairfix.bench.cell_table import BASELINE, GROUP_THRESHOLDS
from fairfix.bench.cells import ATTRIBUTION
from fairfix.bench.protocols import Base, Protocol, cells, chosen_datasets, task
from fairfix.bench.study import Study, processes, study
from fairfix.bench.task import Task, task_of
from fairfix.data.splitting import check_seed, split_problem
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.workflows.case import Case


@dataclass(frozen=True)
class Unit:
    """A task that is not made yet: a data set's split, and how its classifier is made."""

    dataset: str
    seed: int
    base: Base
    variant: str

    def task(self) -> Task:
        """Prepare the split and train the network, or find it in the cache."""
        return task(self.dataset, self.seed, self.base, self.variant)


def units(
    protocol: Protocol, datasets: Sequence[str], seeds: int | None, variants: Sequence[str]
) -> list[Unit]:
    """Every split of every data set, for the protocol's own network and the variants asked for.

    Raises:
        UsageError: for what the protocol does not have.
    """
    count = protocol.seeds if seeds is None else seeds
    if count < 1:
        raise UsageError(f"A study has at least one seed, not {count}.")
    for name in variants:
        if name not in protocol.variants:
            known = ", ".join(protocol.variants) or "none"
            raise UsageError(f"The variants of {protocol.name} are {known}, not {name!r}.")
    bases: dict[str, Base] = {"": protocol.recipe}
    bases |= {name: protocol.variants[name] for name in variants}
    return [
        Unit(dataset, seed, base, variant)
        for dataset in chosen_datasets(protocol, datasets)
        for variant, base in bases.items()
        for seed in range(count)
    ]


def part(items: Sequence[Unit], number: int, of: int) -> list[Unit]:
    """Part ``number`` (from 1) of ``of``, all of about equal size.

    Raises:
        UsageError: when there is no such part.
    """
    if not 1 <= number <= of:
        raise UsageError(f"An array is i/n with 1 <= i <= n, not {number}/{of}.")
    start, end = (len(items) * n // of for n in (number - 1, number))
    return list(items[start:end])


def made(wanted: Sequence[Unit], jobs: int) -> list[Task]:
    """The tasks of units, networks trained by several processes at once."""
    if jobs == 1 or len(wanted) < 2:
        return [unit.task() for unit in tracked(wanted, "networks")]
    from joblib import Parallel, delayed

    with processes(1):
        tasks = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(Unit.task)(unit) for unit in wanted
        )
        return [task for task, _ in zip(tasks, tracked(wanted, "networks"), strict=True)]


def own_tasks(
    loaded: Sequence[tuple[Case, Case | None]], seeds: int, holdout_share: float, first: int = 0
) -> list[Task]:
    """The user's models, each on ``seeds`` splits, numbered from ``first`` on.

    With a test table, split 0 is the two tables as they are and others draw the same rows anew;
    without one, every split holds out other rows.
    """
    if seeds < 1:
        raise UsageError(f"A study has at least one seed, not {seeds}.")
    check_seed(first)
    check_seed(first + seeds - 1)
    names = _names([case for case, _ in loaded])
    found: list[Task] = []
    for name, (case, test) in zip(names, loaded, strict=True):
        found += _splits(name, case, test, range(first, first + seeds), holdout_share)
    return found


def _splits(
    name: str, case: Case, test: Case | None, seeds: Sequence[int], share: float
) -> list[Task]:
    if test is not None:
        tables = task_of(case, test, name)
        tables = replace(tables, source=tables.sha256[:16])
        return [tables.resplit(seed) for seed in seeds]
    whole = f"{task_of(case, case, name).sha256} {share}"
    source = hashlib.sha256(whole.encode()).hexdigest()[:16]
    found = []
    for seed in seeds:
        parts = split_problem(case.problem, share, seed, case.table.path.name)
        fit, kept = (replace(case, problem=problem) for _, problem in parts)
        found.append(replace(task_of(fit, kept, name), split=seed, source=source))
    return found


def _names(cases: Sequence[Case]) -> list[str]:
    """File names where they differ, else whole paths."""
    paths = [(case.checkpoint or case.table).path for case in cases]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def chosen_methods(asked: Sequence[str], usual: Sequence[str]) -> list[str]:
    """The methods of a study, the usual ones where none is asked for; "all" stands for all.

    The baseline and the threshold-only frontier are always among them.

    Raises:
        UsageError: for an unknown one.
    """
    wanted = methods.names() if "all" in asked else asked or usual
    for name in wanted:
        methods.get(name)
    return list(dict.fromkeys((BASELINE, GROUP_THRESHOLDS, *wanted)))


def planned(
    tasks: Sequence[Task],
    objectives: Sequence[Objective],
    names: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    attribution: bool = False,
) -> Study:
    """Every method for every objective on every task; ``options`` of methods by name.

    With ``attribution`` the gaps are attributed to the networks' weights as well.
    """
    given = options or {}
    wanted = [*names, ATTRIBUTION] if attribution else names
    return study(tasks, lambda each, sha256: cells(each, sha256, objectives, wanted, given))

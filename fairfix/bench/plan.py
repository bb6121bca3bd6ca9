"""Plan a study: the tasks and cells that a user's request stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fairfix import methods
from fairfix._utils.progress import track
from fairfix.bench.cell_table import BASELINE, GROUP_THRESHOLDS
from fairfix.bench.cells import ATTRIBUTION, Cell
from fairfix.bench.goal import goal_to_json
from fairfix.bench.method_choice import MethodChoice, parse_methods
from fairfix.bench.protocol_task import protocol_task
from fairfix.bench.protocols import BaseClassifier, Protocol, chosen_datasets
from fairfix.bench.study import Study, worker_processes
from fairfix.bench.task import Task, holdout_tasks, task_from_cases
from fairfix.data.splitting import check_seed
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.workflows.case import Case


@dataclass(frozen=True)
class PlannedTask:
    """A task before its rows are prepared and its base classifier is trained."""

    dataset: str
    seed: int
    base: BaseClassifier
    variant: str
    learns: bool = False
    other: str | None = None

    def build(self) -> Task:
        """Prepare the split and train the network, or load it from the cache."""
        return protocol_task(
            self.dataset,
            self.seed,
            self.base,
            self.variant,
            learns=self.learns,
            other=self.other,
        )


def plan_tasks(
    protocol: Protocol, datasets: Sequence[str], seeds: int | None, variants: Sequence[str]
) -> list[PlannedTask]:
    """Return every split of every data set, for the protocol's network and the given variants.

    Raises:
        UsageError: if the protocol has no such data set or variant, or there is no seed.
    """
    count = protocol.seeds if seeds is None else seeds
    if count < 1:
        raise UsageError(f"A study needs at least one seed, not {count}.")
    for name in variants:
        if name not in protocol.variants:
            known = ", ".join(protocol.variants) or "none"
            raise UsageError(f"The variants of {protocol.name} are {known}, not {name!r}.")
    bases: dict[str, BaseClassifier] = {"": protocol.recipe}
    bases |= {name: protocol.variants[name] for name in variants}
    return [
        PlannedTask(
            dataset,
            seed,
            base,
            variant,
            protocol.learns,
            protocol.other_attributes.get(dataset),
        )
        for dataset in chosen_datasets(protocol, datasets)
        for variant, base in bases.items()
        for seed in range(count)
    ]


def array_part(tasks: Sequence[PlannedTask], index: int, count: int) -> list[PlannedTask]:
    """Return part ``index`` (from 1) of ``count`` parts of about equal size.

    Raises:
        UsageError: if there is no such part.
    """
    if not 1 <= index <= count:
        raise UsageError(f"An array is i/n with 1 <= i <= n, not {index}/{count}.")
    start, end = (len(tasks) * n // count for n in (index - 1, index))
    return list(tasks[start:end])


def build_tasks(planned: Sequence[PlannedTask], jobs: int) -> list[Task]:
    """Build the tasks; networks are trained by ``jobs`` processes."""
    if jobs == 1 or len(planned) < 2:
        return [each.build() for each in track(planned, "networks")]
    from joblib import Parallel, delayed

    with worker_processes(1):
        tasks = Parallel(n_jobs=jobs, return_as="generator")(
            delayed(PlannedTask.build)(each) for each in planned
        )
        return [task for task, _ in zip(tasks, track(planned, "networks"), strict=True)]


def model_tasks(
    loaded: Sequence[tuple[Case, Case | None]], seeds: int, holdout_share: float, first: int = 0
) -> list[Task]:
    """Return the tasks of the user's models: ``seeds`` splits each, numbered from ``first``.

    With a test table, split 0 is the two tables as given, and later splits draw the same rows anew.
    Without one, every split holds out other rows.

    Args:
        loaded: each model on its table, and on the test table if there is one.
        holdout_share: share of the rows held out without a test table, in (0, 1).

    Raises:
        UsageError: if ``seeds`` is below 1 or a seed is out of range.
    """
    if seeds < 1:
        raise UsageError(f"A study needs at least one seed, not {seeds}.")
    check_seed(first)
    check_seed(first + seeds - 1)
    names = _names([case for case, _ in loaded])
    tasks: list[Task] = []
    for name, (case, test) in zip(names, loaded, strict=True):
        tasks += _splits(name, case, test, range(first, first + seeds), holdout_share)
    return tasks


def _splits(
    name: str, case: Case, test: Case | None, seeds: Sequence[int], share: float
) -> list[Task]:
    if test is not None:
        task = task_from_cases(case, test, name)
        task = replace(task, source=task.sha256[:16])
        return [task.resplit(seed) for seed in seeds]
    return holdout_tasks(case, name, share, seeds)


def _names(cases: Sequence[Case]) -> list[str]:
    """Return the file names if they differ, else the whole paths."""
    paths = [case.files[0 if case.checkpoint is None else -1] for case in cases]
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def chosen_methods(requested: Sequence[str], default: Sequence[str]) -> list[MethodChoice]:
    """Return the methods of a study: the requested ones, else the default ones; "all" is all.

    The retuned threshold and the group thresholds are always included.

    Raises:
        UsageError: if a request is not valid (``parse_method``), or a method cannot be imported.
    """
    chosen = [MethodChoice(name) for name in (BASELINE, GROUP_THRESHOLDS)]
    for choice in parse_methods(requested or default):
        if choice not in chosen:
            chosen.append(choice)
    return chosen


def plan_study(
    tasks: Sequence[Task],
    objectives: Sequence[Objective],
    chosen: Sequence[MethodChoice | str],
    *,
    attribution: bool = False,
) -> Study:
    """Return the study of every method for every objective on every task.

    Args:
        chosen: the methods.
        attribution: also attribute the gaps to the networks' weights.
    """
    choices = [MethodChoice(each) if isinstance(each, str) else each for each in chosen]
    if attribution:
        choices.append(MethodChoice(ATTRIBUTION))
    return Study.of(tasks, lambda task, sha256: _cells(task, sha256, objectives, choices))


def _cells(
    task: Task,
    sha256: str,
    objectives: Sequence[Objective],
    choices: Sequence[MethodChoice],
) -> Iterator[Cell]:
    """Yield a cell for every method (or attribution) and objective on a task."""
    versions = {choice.name: methods.version(choice.name) for choice in choices}
    for objective in objectives:
        for choice in choices:
            yield Cell(
                task=task.name,
                split=task.split,
                task_sha256=sha256,
                method=choice.name,
                seed=task.split,
                goal=goal_to_json(objective),
                options=dict(choice.options),
                source=task.source,
                method_version=versions[choice.name],
            )

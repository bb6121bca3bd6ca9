"""Run the cells of a study on local processes or a Dask cluster.

The rows are the same wherever they are made. Cells that are in the journal are not run again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fairfix import methods
from fairfix._utils.optional_packages import needed_for
from fairfix.bench.cells import Cell, failed_row, run_cell
from fairfix.bench.journal import Journal
from fairfix.bench.task import Task
from fairfix.errors import UsageError
from fairfix.methods import MethodFunction

Work = tuple[Cell, Task]
Backend = Callable[[Sequence[Work]], Iterator[dict[str, Any]]]
RETRIES = 3  # of a cell whose Dask worker was lost


@dataclass(frozen=True)
class Study:
    """Cells, ordered by task, and their tasks by hash."""

    cells: tuple[Cell, ...]
    tasks: dict[str, Task]

    @classmethod
    def of(cls, tasks: Iterable[Task], cells_of: Callable[[Task, str], Iterable[Cell]]) -> Study:
        """Return the study of the tasks; ``cells_of(task, sha256)`` returns the cells of one."""
        by_hash: dict[str, Task] = {}
        cells: list[Cell] = []
        for task in tasks:
            sha256 = task.sha256
            by_hash[sha256] = task
            cells += cells_of(task, sha256)
        return cls(tuple(cells), by_hash)

    def run(self, journal: Journal, backend: Backend) -> Iterator[dict[str, Any]]:
        """Run the unfinished cells, write each row to the journal and yield it."""
        with journal.writing():
            done = journal.resume()
            work = [(c, self.tasks[c.task_sha256]) for c in self.cells if c.key not in done]
            for row in backend(work):
                journal.append(row)
                yield row


def serial_backend(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
    """Run one cell after another in this process."""
    for cell, task in work:
        yield run_cell(cell, task)


def local_backend(jobs: int) -> Backend:
    """Return a backend of ``jobs`` processes; processes times threads stay within the cores.

    Raises:
        UsageError: if ``jobs`` is below 1.
    """
    if jobs < 1:
        raise UsageError(f"The number of processes must be at least 1, not {jobs}.")
    if jobs == 1:
        return serial_backend

    def backend(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
        from joblib import Parallel, delayed

        threads = max(1, available_cores() // jobs)
        functions = methods.registered_functions()
        with worker_processes(threads):
            rows = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
                delayed(_run_with_threads)(threads, functions, cell, task) for cell, task in work
            )
            try:
                yield from rows
            except BrokenProcessPool:
                raise UsageError(
                    "A process of the study was killed, most likely because memory ran out. "
                    "Finished cells are kept: run it again with fewer processes (--jobs)."
                ) from None

    return backend


def _run_with_threads(
    threads: int, functions: Sequence[MethodFunction], cell: Cell, task: Task
) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    return _run_remotely(functions, cell, task)


def _run_remotely(functions: Sequence[MethodFunction], cell: Cell, task: Task) -> dict[str, Any]:
    """Run a cell in a process to which registered methods must be sent."""
    for function in functions:
        methods.register(function)
    return run_cell(cell, task)


def worker_processes(threads: int) -> AbstractContextManager[Any]:
    """Make joblib use processes with ``threads`` threads each that end with this process.

    Without the latter they would wait for work forever after the study was killed.
    """
    from joblib import parallel_config

    config: AbstractContextManager[Any] = parallel_config(
        "loky", inner_max_num_threads=threads, initializer=_exit_with, initargs=(os.getpid(),)
    )
    return config


def _exit_with(parent: int) -> None:
    """Exit this process soon after its parent ends, however the parent ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def dask_backend(scheduler: str) -> Backend:
    """Return a backend that submits cells to an existing Dask cluster.

    Rows and network of a task are sent to the cluster once; work of a lost worker is repeated.

    Raises:
        UsageError: if dask is not installed or no scheduler answers.
    """

    def backend(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
        with needed_for("The dask backend", "distributed", "dask"):
            from distributed import Client, as_completed
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"No Dask scheduler answers at {scheduler}: {error}. Start one, or check the "
                "address."
            ) from None
        with client:
            # A task is a step of the graph instead of scattered data: Dask can recompute what a
            # lost worker held.
            tasks = {cell.task_sha256: task for cell, task in work}
            remote = {sha256: client.submit(_identity, task) for sha256, task in tasks.items()}
            cells = {f"cell-{cell.key}": cell for cell, _ in work}
            run = partial(_run_remotely, methods.registered_functions())
            futures = [
                client.submit(run, cell, remote[cell.task_sha256], key=key, retries=RETRIES)
                for key, cell in cells.items()
            ]
            for future in as_completed(futures):
                failure = future.exception()
                if failure is None:
                    yield future.result()
                else:
                    yield failed_row(cells[future.key], failure)
                future.release()

    return backend


def _identity(task: Task) -> Task:
    return task

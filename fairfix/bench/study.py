"""Running the cells of a study: on local cores, on a Dask cluster, or one part of an array.

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
from typing import Any

from fairfix.bench.cells import Cell, failed, run_cell
from fairfix.bench.journal import Journal
from fairfix.bench.task import Task
from fairfix.errors import UsageError

Work = tuple[Cell, Task]
Backend = Callable[[Sequence[Work]], Iterator[dict[str, Any]]]


@dataclass(frozen=True)
class Study:
    """Cells and the tasks they need, in the order in which they are best run."""

    cells: tuple[Cell, ...]
    tasks: dict[str, Task]

    def run(self, journal: Journal, backend: Backend) -> Iterator[dict[str, Any]]:
        """Run what is not done, and journal each row as it comes."""
        with journal.writing():
            done = journal.resume()
            left = [(c, self.tasks[c.task_sha256]) for c in self.cells if c.key not in done]
            for row in backend(left):
                journal.append(row)
                yield row


def study(tasks: Iterable[Task], cells_of: Callable[[Task, str], Iterable[Cell]]) -> Study:
    """The study of these tasks; ``cells_of(task, sha256)`` gives the cells of one."""
    by_hash: dict[str, Task] = {}
    cells: list[Cell] = []
    for task in tasks:
        sha256 = task.sha256
        by_hash[sha256] = task
        cells += cells_of(task, sha256)
    return Study(tuple(cells), by_hash)


def serial(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
    """One cell after another, in this process."""
    for cell, task in work:
        yield run_cell(cell, task)


def local(jobs: int) -> Backend:
    """Processes on this machine; processes times threads stay within the cores."""
    if jobs < 1:
        raise UsageError(f"At least one process is needed, not {jobs}.")
    if jobs == 1:
        return serial

    def backend(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
        from joblib import Parallel, delayed

        threads = max(1, cores() // jobs)
        with processes(threads):
            rows = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1)(
                delayed(_with_threads)(threads, cell, task) for cell, task in work
            )
            try:
                yield from rows
            except BrokenProcessPool:
                raise UsageError(
                    "A process of the study was killed, most likely for want of memory. What is "
                    "finished is kept: run it again, with fewer --jobs."
                ) from None

    return backend


def _with_threads(threads: int, cell: Cell, task: Task) -> dict[str, Any]:
    import torch

    torch.set_num_threads(threads)
    return run_cell(cell, task)


def processes(threads: int) -> AbstractContextManager[Any]:
    """Within it, joblib works in processes of so many threads, which end when this one does.

    They would else wait for work forever once the study was killed.
    """
    from joblib import parallel_config

    found: AbstractContextManager[Any] = parallel_config(
        "loky", inner_max_num_threads=threads, initializer=_end_with, initargs=(os.getpid(),)
    )
    return found


def _end_with(parent: int) -> None:
    """See that this process ends soon after the one that started it, however that one ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


RETRIES = 3  # of a cell whose worker failed


def dask(scheduler: str) -> Backend:
    """An existing Dask cluster; a task's rows and network go to it once, lost work is repeated.

    Raises:
        UsageError: when dask is not installed or no scheduler answers.
    """

    def backend(work: Sequence[Work]) -> Iterator[dict[str, Any]]:
        try:
            from distributed import Client, as_completed
        except ImportError:
            raise UsageError("--backend dask needs dask: pip install 'fairfix[dask]'.") from None
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise UsageError(f"No Dask scheduler answers at {scheduler}: {error}.") from None
        with client:
            # A task is a step of the graph, not scattered: what a lost worker held is made again.
            tasks = {cell.task_sha256: task for cell, task in work}
            held = {sha256: client.submit(_same, task) for sha256, task in tasks.items()}
            cells = {f"cell-{cell.key}": cell for cell, _ in work}
            futures = [
                client.submit(run_cell, cell, held[cell.task_sha256], key=key, retries=RETRIES)
                for key, cell in cells.items()
            ]
            for future in as_completed(futures):
                lost = future.exception()
                yield future.result() if lost is None else failed(cells[future.key], lost)
                future.release()

    return backend


def _same(task: Task) -> Task:
    return task

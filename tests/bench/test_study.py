"""Studies: the rows are the same wherever and however often they are made."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairfix.bench.cell_table import latest_rows
from fairfix.bench.journal import Journal
from fairfix.bench.study import Study, dask_backend, local_backend, serial_backend
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias
from tests.helpers.studies import LOH, without_cost


def test_a_resumed_study_repeats_nothing(
    small: Study, expected: dict[str, Any], tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    begun = small.run(journal, serial_backend)
    for _ in range(5):
        next(begun)
    begun.close()
    with journal.path.open("ab") as file:
        file.write(b'{"version": 4, "key": "truncated')
    rest = list(small.run(journal, serial_backend))
    assert len(rest) == len(small.cells) - 5
    assert without_cost(journal.rows()) == expected
    assert len(list(journal.rows())) == len(small.cells)


def test_processes_give_the_same_rows(small: Study, expected: dict[str, Any]) -> None:
    work = [(cell, small.tasks[cell.task_sha256]) for cell in small.cells]
    assert without_cost(local_backend(2)(work)) == expected


def test_a_killed_study_resumes_where_it_was(tmp_path: Path) -> None:
    """After SIGKILL at random moments the rows are those of an uninterrupted run."""
    command = [
        *(sys.executable, "-m", "fairfix", "bench"),
        *(str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "roc,perturb"),
        *("--seeds", "3", "--jobs", "1", "--quiet"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, truncated = tmp_path / "whole", tmp_path / "truncated"
    start = time.perf_counter()
    subprocess.run([*command, "-o", str(whole)], env=environment, check=True)
    taken = time.perf_counter() - start
    moments = random.Random(0)
    for _ in range(3):
        running = subprocess.Popen([*command, "-o", str(truncated)], env=environment)
        time.sleep(moments.uniform(0.3, 1.0) * taken)
        running.send_signal(signal.SIGKILL)
        running.wait()
    subprocess.run([*command, "-o", str(truncated)], env=environment, check=True)
    ours, theirs = (list(Journal(place / "rows.jsonl").rows()) for place in (truncated, whole))
    assert len(ours) == len(theirs) == 12
    assert without_cost(ours) == without_cost(theirs)


def test_nothing_outlives_a_killed_study(tmp_path: Path) -> None:
    if not Path("/proc/self/task").is_dir():
        pytest.skip("no /proc to see processes in")
    command = [
        *(sys.executable, "-m", "fairfix", "bench", str(LOH / "model.pt"), str(LOH / "val.csv")),
        *("--methods", "perturb", "--seeds", "40", "--jobs", "2", "--quiet"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen([*command, "-o", str(tmp_path)], env=environment)
    journal = tmp_path / "rows.jsonl"
    wait(lambda: journal.exists() and journal.stat().st_size > 0)
    started = [
        int(child)
        for task in Path(f"/proc/{running.pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert len(started) >= 2
    wait(lambda: not any(alive(pid) for pid in started))


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until the condition holds; fail after a time limit."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_that_loses_a_worker_gives_the_same_rows(
    small: Study, expected: dict[str, Any], tmp_path: Path
) -> None:
    distributed = pytest.importorskip("distributed", reason="dask is not installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        journal = Journal(tmp_path / "rows.jsonl")
        rows = small.run(journal, dask_backend(cluster.scheduler_address))
        next(rows)
        victim = next(iter(cluster.workers.values()))
        os.kill(victim.process.pid, signal.SIGKILL)
        list(rows)
    assert without_cost(journal.rows()) == expected


def test_a_missing_scheduler_is_named(small: Study) -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    work = [(cell, small.tasks[cell.task_sha256]) for cell in small.cells]
    for place in ("tcp://127.0.0.1:9", "foo"):
        with pytest.raises(UsageError, match=f"No Dask scheduler answers at {place}"):
            next(dask_backend(place)(work))


def test_a_failed_cell_is_a_row_and_is_run_again(
    small: Study, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = small.cells[3]

    def debias_except_one(case: Case, method: str, objective: Objective, **more: Any) -> Any:
        if (method, objective.metric.key) == (broken.method, broken.goal["metric"]):
            raise RuntimeError("boom\nand more")
        return debias(case, method, objective, **more)

    journal = Journal(tmp_path / "rows.jsonl")
    with monkeypatch.context() as patched:
        patched.setattr("fairfix.bench.cells.debias", debias_except_one)
        rows = list(small.run(journal, serial_backend))
    failed = [row for row in rows if row["status"] == "failed"]
    assert {row["reason"] for row in failed} == {"RuntimeError: boom"}
    assert len(rows) == len(small.cells)
    assert len(journal.resume()) == len(small.cells) - len(failed)
    assert len(list(small.run(journal, serial_backend))) == len(failed) == 2
    assert without_cost(latest_rows(journal.rows())) == expected

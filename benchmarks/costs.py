"""Measure what fairfix costs on many groups, wide tables, large networks and large files.

    python benchmarks/costs.py                  # every part, as ``make bench`` runs them
    python benchmarks/costs.py groups columns   # some parts, each under two minutes

Each figure is of a process of its own, with one thread but for images. Ratios are printed with the
limit that they should stay within, so that a slower machine prints the same lines. Memory is the
peak of the process beyond that of its imports. Parts: start, groups, columns, images-METHOD, wide,
layerwise, scores, checkpoint.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from benchmark_models import speed_model
from sklearn.ensemble import GradientBoostingRegressor
from torch import nn

from fairfix import methods
from fairfix.bench.study import available_cores
from fairfix.metrics.objective import Objective

MIB = 2**20
LAYERWISE_0_2_0 = 44.0
"""CPU time of ``layerwise`` of version 0.2.0 on bank_42, in reference workloads."""

NETWORKS = '''
"""A hand-written ResNet-18 for rows of 3 x 32 x 32 values, and a network with one wide layer."""

from torch import nn


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.shortcut(x))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()
        )
        widths = [64, 64, 64, 128, 128, 256, 256, 512, 512]
        self.blocks = nn.Sequential(
            *(Block(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:]))
        )
        self.head = nn.Linear(512, 1)

    def forward(self, x):
        x = self.blocks(self.stem(x.reshape(len(x), 3, 32, 32)))
        return self.head(x.mean((2, 3)))


def wide(width=8000):
    return nn.Sequential(
        nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
'''
WITH_PEAK = """
import runpy, sys
from pathlib import Path
peak, kind, what, *rest = sys.argv[1:]
sys.argv = [what, *rest]
try:
    if kind == "-c":
        exec(what, {"__name__": "__main__"})
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)
finally:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    Path(peak).write_text("".join(x.split()[1] for x in lines if x.startswith("VmHWM")))
"""
"""Run Python code and write its peak memory in KiB; ru_maxrss includes that of the parent."""

METHODS = {
    "prune": ["--max-units", "2", "--per-step", "1"],
    "gda": ["--epochs", "1", "--minibatch", "64"],
    "perturb": ["--trials", "3"],
    "layerwise": ["--calls", "1", "--layers", "{head}"],
}
"""Short runs: a run of every length holds as much memory."""


@dataclass(frozen=True)
class Usage:
    """What a process took: CPU and wall seconds, and peak resident memory in bytes."""

    cpu: float
    wall: float
    memory: float


def usage(arguments: Sequence[str | Path], *, threads: int = 1) -> Usage:
    """Run Python with ``-c CODE`` or ``-m MODULE ...``, and return what it took.

    Args:
        arguments: of Python.
        threads: of the process, at most.

    Raises:
        RuntimeError: if it fails.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as installed libraries are
    started = time.perf_counter()
    with tempfile.NamedTemporaryFile("r") as peak, tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_PEAK, peak.name, *map(str, arguments)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        _, status, resources = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode not in (0, 3):
            output.seek(0)
            raise RuntimeError(f"{arguments}: {output.read().decode(errors='replace')[-2000:]}")
        memory = float(peak.read() or "nan") * 1024
    return Usage(resources.ru_utime + resources.ru_stime, wall, memory)


def fairfix(*arguments: str | Path, threads: int = 1) -> Usage:
    """Run a command of fairfix."""
    return usage(["-m", "fairfix", *arguments], threads=threads)


def imported(*modules: str) -> Usage:
    """Import what every run with a network imports, and some more modules."""
    names = ["torch", "pandas", "fairfix.workflows.debias", "fairfix.workflows.save", *modules]
    return usage(["-c", f"import {', '.join(names)}"])


def line(name: str, value: str, limit: str = "") -> None:
    print(f"{name:58}{value:>14}{f'  (at most {limit})' if limit else ''}", flush=True)


def scored_rows(path: Path, rows: int, groups: int) -> Path:
    """Write labels, groups and scores that depend on both, as CSV or Parquet."""
    rng = np.random.default_rng(0)
    label, group = rng.integers(0, 2, rows), rng.permutation(np.arange(rows) % groups)
    score = 1 / (1 + np.exp(-rng.normal(label + 0.5 * (group % 2) - 0.7)))
    frame = pd.DataFrame({"label": label, "group": group, "score": score.round(4)})
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return path


def wide_rows(path: Path, rows: int, columns: int) -> Path:
    """Write labels, groups and independent normal features as Parquet."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, columns)).astype(np.float32)
    frame = pd.DataFrame(values, columns=[f"x{i}" for i in range(columns)])
    label, group = rng.integers(0, 2, (2, rows))
    pd.concat([pd.DataFrame({"label": label, "group": group}), frame], axis=1).to_parquet(path)
    return path


def start(folder: Path) -> None:
    """Start-up: an audit of 100 scores, audit and prune of a network, against bare imports."""
    table = scored_rows(folder / "scores.csv", 100, 2)
    rows = wide_rows(folder / "rows.parquet", 100, 20)
    torch.save(nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1)), folder / "small.pt")
    network = (folder / "small.pt", rows, "--trust-checkpoint")
    pruned = ("--max-units", "2", "--allow-trivial", "--force", "-o", folder / "pruned.pt")
    commands: dict[str, Callable[[], Usage]] = {
        "bare": lambda: usage(["-c", "import torch, pandas"]),
        "audit of 100 scores": lambda: fairfix("audit", "-", table, "--score", "score"),
        "audit of a small network": lambda: fairfix("audit", *network),
        "prune of a small network": lambda: fairfix("prune", *network, *pruned),
    }
    seconds = {name: min(run().cpu for _ in range(3)) for name, run in commands.items()}
    bare = seconds.pop("bare")
    for name, cpu in seconds.items():
        line(f"{name} / import torch, pandas", f"{cpu / bare:.2f}", "1.8")


def groups(folder: Path) -> None:
    """Audit of many groups; 400 rows of 100 groups are refused, so that 500 rows have them."""
    seconds = {}
    for rows, n in ((400, 2), (400, 8), (400, 40), (400, 62), (500, 100)):
        table = scored_rows(folder / f"groups{n}.csv", rows, n)
        seconds[n] = min(fairfix("audit", "-", table, "--score", "score").cpu for _ in range(2))
        limit = "3" if n == 100 else ""
        line(
            f"audit of {rows} rows, {n} groups / 2 groups", f"{seconds[n] / seconds[2]:.2f}", limit
        )


def columns(folder: Path) -> None:
    """Audit of wide tables, beyond the time of 50 columns."""
    seconds = {}
    for n in (50, 500, 5000):
        table = wide_rows(folder / f"columns{n}.parquet", 2000, n)
        model = folder / f"columns{n}.pt"
        torch.save(nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.Linear(8, 1)), model)
        seconds[n] = fairfix("audit", model, table, "--trust-checkpoint").cpu
        line(f"audit of 2,000 rows, {n:,} columns: CPU s", f"{seconds[n]:.2f}")
    more = (seconds[5000] - seconds[50]) / max(seconds[500] - seconds[50], 0.1)
    line("time of 4,950 more columns / 450 more columns", f"{more:.1f}", "11")


def peak_memory(
    method: str, model: Path, table: Path, arch: str, head: str, *, threads: int = 1
) -> float:
    """Return the peak memory of a method beyond that of its imports, in bytes."""
    optimizer = ["torch._dynamo"] if method == "gda" else []  # imported by every torch optimizer
    base = imported(f"fairfix.methods.{method}", *optimizer).memory
    options = [option.format(head=head) for option in METHODS[method]]
    given = [model, table, "--arch", arch, "-o", model.with_name("out.pt"), "--force", *options]
    return fairfix(method, *given, threads=threads).memory - base


def _networks(folder: Path) -> Path:
    path = folder / "networks.py"
    path.write_text(NETWORKS)
    sys.path.insert(0, str(folder))
    return path


def images(folder: Path, method: str) -> None:
    """Peak memory of a method on a hand-written ResNet-18: 2,000 images against 200."""
    path = _networks(folder)
    from networks import ResNet18  # type: ignore[import-not-found]

    torch.manual_seed(0)
    model = folder / "resnet.pt"
    torch.save(ResNet18().state_dict(), model)
    cores = available_cores()
    few, many = (
        peak_memory(
            method,
            model,
            wide_rows(folder / f"images{n}.parquet", n, 3 * 32 * 32),
            f"{path}:ResNet18",
            "head",
            threads=cores,
        )
        for n in (200, 2000)
    )
    line(f"{method}, ResNet-18, 200 images: MiB", f"{few / MIB:.0f}")
    line(f"{method}, ResNet-18, 2,000 / 200 images", f"{many / few:.2f}", "1.2")


def wide(folder: Path) -> None:
    """Peak memory on a fully connected network of about 250 MiB, as multiples of its weights."""
    path = _networks(folder)
    from networks import wide as build

    torch.manual_seed(0)
    model = folder / "wide.pt"
    torch.save(build().state_dict(), model)
    table = wide_rows(folder / "wide.parquet", 400, 20)
    for method in METHODS:
        ratio = peak_memory(method, model, table, f"{path}:wide", "4") / model.stat().st_size
        limit = "4" if method == "perturb" else ""
        line(f"{method}, 250 MiB of weights: peak / weights", f"{ratio:.2f}", limit)


def reference_workload() -> None:
    """Fit boosted trees and run a small network: what ``layerwise`` spends its time on."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (50, 20)), rng.normal(size=50)
    layers = [layer for _ in range(8) for layer in (nn.Linear(32, 32), nn.ReLU())]
    network, rows = nn.Sequential(*layers), torch.zeros(6000, 32)
    for _ in range(20):
        trees = GradientBoostingRegressor(
            loss="quantile", alpha=0.5, n_estimators=30, random_state=0
        )
        trees.fit(x, y).predict(rng.uniform(-1, 1, (10_000, 20)))
        with torch.no_grad():
            network(rows)


def layerwise(folder: Path) -> None:
    """CPU time of ``layerwise`` against that of version 0.2.0, both in reference workloads."""
    model = speed_model()
    problem = model.case().problem
    torch.set_num_threads(1)
    reference_workload()
    ratios = []
    for _ in range(2):
        seconds = []
        for run in (
            reference_workload,
            lambda: methods.get("layerwise").run(problem, Objective(), seed=0),
        ):
            started = time.process_time()
            run()
            seconds.append(time.process_time() - started)
        ratios.append(seconds[1] / seconds[0])
    line(f"layerwise on {model.name} / reference workload", f"{min(ratios):.2f}")
    if model.name == "bank_42":
        line("layerwise of 0.2.0 / now", f"{LAYERWISE_0_2_0 / min(ratios):.1f}")


def scores(folder: Path) -> None:
    """Whole-process time of ``thresholds`` on 1,000,000 scores against reading them by pandas."""
    table = scored_rows(folder / "scores.parquet", 1_000_000, 2)
    read = usage(["-c", f"import pandas; pandas.read_parquet({str(table)!r})"])
    run = fairfix(
        "thresholds", "-", table, "--score", "score", "-o", folder / "rule.json", "--force"
    )
    line("thresholds on 1,000,000 scores: s", f"{run.wall:.1f}")
    line("thresholds on 1,000,000 scores / pandas reading", f"{run.wall / read.wall:.1f}")


def checkpoint(folder: Path) -> None:
    """Peak memory of looking at a checkpoint of 1 GB, and of changing it, as multiples of it."""
    model = folder / "large.pt"
    torch.manual_seed(0)
    width = 15_800
    network = nn.Sequential(
        nn.Linear(20, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    torch.save(network.state_dict(), model)
    del network
    table = wide_rows(folder / "large.parquet", 200, 20)
    base, size = imported().memory, model.stat().st_size
    looked = fairfix("inspect", model, "--arch", "mlp:relu").memory
    line("inspect of 1 GB: peak / file", f"{(looked - base) / size:.2f}", "1.3")
    options = ["--layers", "4", "--calls", "1", "-o", folder / "changed.pt", "--force"]
    changed = fairfix("layerwise", model, table, "--arch", "mlp:relu", *options).memory
    line("change of 1 GB by layerwise: peak / file", f"{(changed - base) / size:.2f}", "2.3")


PARTS: dict[str, Callable[[Path], None]] = {
    "start": start,
    "groups": groups,
    "columns": columns,
    **{f"images-{method}": partial(images, method=method) for method in METHODS},
    "wide": wide,
    "layerwise": layerwise,
    "scores": scores,
    "checkpoint": checkpoint,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named parts, or all, and print one line per figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    chosen = parser.parse_args(arguments).parts or list(PARTS)
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; parts: {', '.join(PARTS)}")
    for name in chosen:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[name](Path(folder))


if __name__ == "__main__":
    main()

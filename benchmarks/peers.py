"""Time ``thresholds`` against tools that need an environment of their own.

OxonFair and error-parity fit one threshold per group within a fixed bound of the gap. They are
installed in build/peers, because they pin older packages than fairfix requires, and fit the same
saved scores in separate processes. CPU seconds of the fit alone, one thread, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from peer_fits import FITS
from run import LIMIT, OBJECTIVE, Timing, line, random_scores, reached

from fairfix.data.problem import Problem
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / "build" / "peers"
OURS = {"fixed margin": OBJECTIVE, "margin auto": Objective()}

TimedFit = tuple[float, str]  # CPU seconds, and the figures reached


def environment() -> Path:
    """Return the Python with the peers installed; create its environment if needed."""
    python = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin") / "python"
    ready = ENVIRONMENT / "ready"
    if not ready.exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *FITS], check=True)
        ready.touch()
    return python


def our_fit(problem: Problem, objective: Objective) -> TimedFit:
    """Time one fit of ``thresholds``."""
    start = time.process_time()
    policy = thresholds(problem, objective).policy
    seconds = time.process_time() - start
    return seconds, reached(problem, policy.decide(problem.scores, problem.groups))


def their_fit(python: Path, tool: str, rows: Path) -> TimedFit:
    """Time one fit of a peer in a separate process."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [python, HERE / "peer_fits.py", "time", tool, rows, str(LIMIT)],
        env=os.environ | threads,
        capture_output=True,
        check=True,
        text=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    figures = f"{result['performance']:.3f} at spd {result['gap']:+.3f}"
    return result["seconds"], figures


def time_fits(problem: Problem, python: Path, repeats: int) -> dict[str, list[TimedFit]]:
    """Time the fits of all tools in turn, ours after an untimed one."""
    fits: dict[str, list[TimedFit]] = {name: [] for name in (*OURS, *FITS)}
    few = problem.take(torch.arange(min(2_000, len(problem))))
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.npz"
        np.savez(
            rows,
            scores=problem.scores.numpy(),
            labels=problem.labels.numpy(),
            groups=problem.groups.numpy(),
        )
        for _ in range(repeats):
            for name, objective in OURS.items():
                our_fit(few, objective)
                fits[name].append(our_fit(problem, objective))
            for tool in FITS:
                fits[tool].append(their_fit(python, tool, rows))
    return fits


def report(fits: dict[str, list[TimedFit]]) -> list[str]:
    """Return one line for each of our fits against each peer."""
    medians = {name: statistics.median(s for s, _ in found) for name, found in fits.items()}
    return [
        line(
            f"{ours}, {tool}",
            Timing(medians[ours], medians[tool], f"{fits[ours][0][1]} against {fits[tool][0][1]}"),
        )
        for ours in OURS
        for tool in FITS
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    fits = time_fits(random_scores(options.rows), environment(), options.repeats)
    print(f"{options.rows:,} rows; CPU seconds, median of {options.repeats}, 1 thread")
    print(f"{'thresholds at':32}{'fairfix':>9}{'peer':>9}{'ratio':>8}  reached")
    print("\n".join(report(fits)))


if __name__ == "__main__":
    main()

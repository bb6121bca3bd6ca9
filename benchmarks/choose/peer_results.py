"""Results of OxonFair and error-parity, which run in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from benchmarks.choose.bed import Bed, Cell, write_file
from benchmarks.choose.results import METRIC_KEYS, Line, objective_of, result_path
from benchmarks.choose.stages import SCORES, network_scores

PEERS = ("oxonfair", "error-parity")


def peer_python() -> Path:
    """Return the Python that the tools are installed in; its environment is created if needed."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # its scripts import each other
    from peers import environment

    return environment()


def compute_peer_results(bed: Bed, cells: Iterable[Cell], python: Path) -> None:
    """Compute and keep what is missing: one process for each tool and metric.

    The tools get a bound on the gap that equals the budget, and no margin.
    """
    cells = list(cells)
    for tool, metric in product(PEERS, METRIC_KEYS):
        missing = [cell for cell in cells if not result_path(bed, cell, metric, tool).is_file()]
        if missing:
            for cell in missing:
                network_scores(bed, cell)
            _run(bed, missing, metric, tool, python)


def _run(bed: Bed, cells: Sequence[Cell], metric: str, tool: str, python: Path) -> None:
    script = Path(__file__).resolve().parents[1] / "peer_fits.py"
    bound = str(objective_of(metric).budget)
    files = [bed.path(SCORES, cell, ".npz") for cell in cells]
    command = [python, script, "decide", tool, metric, bound, *files]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with subprocess.Popen(
        command, env=os.environ | threads, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for cell, output in zip(cells, process.stdout, strict=False):
            counts = {side: tuple(by_group) for side, by_group in json.loads(output).items()}
            line = Line(cell, metric, tool, counts)
            write_file(result_path(bed, cell, metric, tool), line.to_json().encode())
    if process.returncode:
        raise RuntimeError(f"{tool} ended with exit code {process.returncode}.")

"""One cell of a study: a method on a split for a metric, and what came out of it as a row.

In the place of a method may stand ``attribution``: which weights carry the gap of the untouched
network.

A row is plain JSON. All of it but ``cost`` and ``host`` follows from the cell, so that a study that
was resumed has the rows of one that was not interrupted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fairfix._utils.version import __version__
from fairfix.bench.attribution import attribute
from fairfix.bench.goal import objective_from_json
from fairfix.bench.task import Task
from fairfix.errors import FairfixError
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import METRICS, Counts, noise_ceiling
from fairfix.stats.evaluation import Evaluation
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias
from fairfix.workflows.outcome import Comparison

ROW_VERSION = 3
ATTRIBUTION = "attribution"
LARGEST = (10, 100, 1000)  # of how many weights the share is said


@dataclass(frozen=True)
class Cell:
    """What is to be run.

    Attributes:
        task, split: which rows and network; ``task_sha256`` is the hash of both, ``source`` of what
            all splits of the task have in common.
        method: its name, or ``ATTRIBUTION``.
        options: of the method.
        goal: of the objective: metric, budget, margin, performance, kind, lambda, k, risk.
    """

    task: str
    split: int
    task_sha256: str
    method: str
    seed: int
    goal: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "split": self.split,
            "task_sha256": self.task_sha256,
            "method": self.method,
            "seed": self.seed,
            "goal": dict(self.goal),
            "options": dict(self.options),
            "source": self.source,
        }

    @property
    def key(self) -> str:
        """A hash of the cell and of the version of fairfix: what a finished row is known by."""
        said = json.dumps([__version__, ROW_VERSION, self.to_json()], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def objective(self) -> Objective:
        """The objective that the goal names."""
        return objective_from_json(self.goal)


def run_cell(cell: Cell, task: Task) -> dict[str, Any]:
    """Run one cell; what fairfix refuses, or what fails, becomes a row that says why."""
    row = _begun(cell) | {"overlap": task.overlap}
    try:
        return row | _measured(cell, *_cases(cell.task_sha256, task))
    except FairfixError as error:
        return row | {"status": "refused", "reason": str(error)}
    except Exception as error:  # one broken cell is no reason to lose the other 99,999
        _last.clear()
        return row | _failure(error)


def _measured(cell: Cell, case: Case, judged: Case) -> dict[str, Any]:
    """The figures of a cell, and what they cost."""
    reset = _reset_peak()
    wall, cpu = time.perf_counter(), time.process_time()
    found = _attributed(cell, case) if cell.method == ATTRIBUTION else _figures(cell, case, judged)
    found["cost"] = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_mib": _peak() if reset else None,
    }
    found["host"] = {"machine": platform.machine(), "torch": torch.__version__}
    return found


def failed(cell: Cell, error: BaseException) -> dict[str, Any]:
    """The row of a cell that ended with an error which is no refusal."""
    return _begun(cell) | _failure(error)


def _begun(cell: Cell) -> dict[str, Any]:
    return {"version": ROW_VERSION, "key": cell.key, "fairfix": __version__} | cell.to_json()


def _failure(error: BaseException) -> dict[str, Any]:
    said = ": ".join(filter(None, [type(error).__name__, str(error).partition("\n")[0]]))
    return {"status": "failed", "reason": said}


_last: dict[str, tuple[Case, Case]] = {}


def _cases(sha256: str, task: Task) -> tuple[Case, Case]:
    """The task's cases; a process works on one task for many cells in a row."""
    if sha256 not in _last:
        _last.clear()
        _last[sha256] = task.cases()
    return _last[sha256]


def _figures(cell: Cell, case: Case, judged: Case) -> dict[str, Any]:
    objective = cell.objective()
    outcome = debias(
        case, cell.method, objective, test=judged, seed=cell.seed, options=dict(cell.options)
    )
    comparison = outcome.test
    return {
        "status": "done",
        "needs_group": outcome.rule.needs_group,
        "changes_weights": outcome.state is not None,
        "judged": _comparison(comparison, objective),
        "fitting": _comparison(outcome.validation, objective),
        "ceiling": ceiling(comparison.debiased, objective),
        "trajectory": [
            [_plain(step.gap), _plain(step.performance)] for step in outcome.result.trajectory
        ],
        "chosen": outcome.result.chosen,
        "warnings": list(outcome.warnings),
    }


def _attributed(cell: Cell, case: Case) -> dict[str, Any]:
    metric = METRICS[cell.goal["metric"]]
    found = attribute(case.problem, metric, seed=cell.seed, **cell.options)
    figures = ("gap", "gap_of_decisions", "spread", "r2", "r2_of_decisions", "r2_of_fit")
    coefficients = found.coefficients.astype("<f4").tobytes()
    return {
        "status": "measured",
        ATTRIBUTION: {
            **{name: _plain(getattr(found, name)) for name in figures},
            "draws": found.draws,
            "sd": found.sd,
            "shares": found.by_parameter(),
            "share_of_largest": {str(n): found.share_of_largest(n) for n in LARGEST},
            "coefficients": base64.b64encode(coefficients).decode(),
        },
    }


def _comparison(comparison: Comparison, objective: Objective) -> dict[str, Any]:
    return {
        name: _evaluation(evaluation, objective)
        for name, evaluation in (
            ("original", comparison.unmodified),
            ("identity", comparison.retuned),
            ("debiased", comparison.debiased),
        )
    }


def _evaluation(e: Evaluation, objective: Objective) -> dict[str, Any]:
    return {
        "rows": e.rows,
        "gap": _plain(e.gaps[objective.metric.key]),
        "performance": _plain(e.performance[objective.performance.key]),
        "objective": _plain(e.objective),
        "met": e.met,
        "trivial": e.trivial,
        "gaps": {key: _plain(value) for key, value in e.gaps.items()},
        "performances": {key: _plain(value) for key, value in e.performance.items()},
    }


def ceiling(e: Evaluation, objective: Objective) -> float | None:
    """P(the budget holds on these rows) of a rule with the same rates but a true gap of 0.

    The noise of the judged rows alone; no method can be sure of more. None where undefined.
    """
    sides = [
        torch.tensor([getattr(g, side) for g in e.groups], dtype=torch.float64)
        for side in ("tp", "fp", "fn", "tn")
    ]
    if math.isnan(e.gaps[objective.metric.key]):
        return None
    return noise_ceiling(objective.metric, objective.budget, Counts(*sides))


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _reset_peak() -> bool:
    """Forget the process's peak memory so far; False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> float | None:
    """Peak resident memory since ``_reset_peak``, in MiB."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None

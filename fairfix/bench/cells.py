"""One cell of a study: run a method on a split for a metric and return the result as a row.

The method ``attribution`` stands for the attribution of the unmodified network's gap to its
weights.

A row is plain JSON. Everything but ``cost`` and ``host`` is determined by the cell, so a resumed
study has the rows of an uninterrupted one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairfix import methods, metrics
from fairfix._utils.text import error_summary
from fairfix._utils.version import __version__
from fairfix.bench.goal import objective_from_json
from fairfix.bench.task import Task
from fairfix.bench.weight_attribution import attribute_gap
from fairfix.data.problem import Problem
from fairfix.data.training_rows import TrainingRows
from fairfix.errors import FairfixError, MethodError
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import noise_ceiling
from fairfix.metrics.objective import Objective
from fairfix.stats.evaluation import Evaluation
from fairfix.thresholds.score_figures import with_score_figures
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias
from fairfix.workflows.evidence import DecidedRows
from fairfix.workflows.goals import with_columns
from fairfix.workflows.outcome import Comparison, Outcome

ROW_VERSION = 4
ATTRIBUTION = "attribution"
LARGEST = (10, 100, 1000)  # numbers of most influential weights whose share is reported


@dataclass(frozen=True)
class Cell:
    """The definition of one cell.

    Attributes:
        task, split: name and split of the task; ``task_sha256`` is its hash, ``source`` the hash of
            what all splits of the task share.
        method: method name, or ``ATTRIBUTION``.
        goal: the objective as plain data (see ``goal_to_json``).
        options: options of the method.
        method_version: version of a method from outside the package; empty for others.
    """

    task: str
    split: int
    task_sha256: str
    method: str
    seed: int
    goal: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    method_version: str = ""

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
        """Hash of the cell and the version of its code, by which a finished row is found."""
        versions = [__version__, *filter(None, [self.method_version])]
        content = json.dumps([*versions, ROW_VERSION, self.to_json()], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def objective(self) -> Objective:
        """Return the objective of the goal."""
        return objective_from_json(self.goal)


def run_cell(cell: Cell, task: Task) -> dict[str, Any]:
    """Run one cell; a refusal or failure becomes a row with the reason."""
    row = _row_header(cell) | {"overlap": task.overlap}
    try:
        return row | _timed_result(cell, task, *_cases(cell.task_sha256, task))
    except MethodError as error:
        return row | _failure(error)
    except FairfixError as error:
        return row | {"status": "refused", "reason": str(error)}
    except Exception as error:  # a failing cell must not stop the study
        _cached_cases.clear()
        return row | _failure(error)


def _timed_result(cell: Cell, task: Task, case: Case, test: Case) -> dict[str, Any]:
    """Return the result of a cell with its cost."""
    can_measure = _reset_peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    if cell.method == ATTRIBUTION:
        result = _attribution_result(cell, case)
    else:
        result = _method_result(cell, task, case, test)
    result["cost"] = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_memory_mib": _peak_memory() if can_measure else None,
    }
    result["host"] = {"machine": platform.machine(), "torch": torch.__version__}
    return result


def failed_row(cell: Cell, error: BaseException) -> dict[str, Any]:
    """Return the row of a cell that failed with an unexpected error."""
    return _row_header(cell) | _failure(error)


def _row_header(cell: Cell) -> dict[str, Any]:
    return {"version": ROW_VERSION, "key": cell.key, "fairfix": __version__} | cell.to_json()


def _failure(error: BaseException) -> dict[str, Any]:
    return {"status": "failed", "reason": error_summary(error)}


_cached_cases: dict[str, tuple[Case, Case]] = {}


def _cases(sha256: str, task: Task) -> tuple[Case, Case]:
    """Return the task's cases, cached: a process runs many cells of one task in a row."""
    if sha256 not in _cached_cases:
        _cached_cases.clear()
        _cached_cases[sha256] = task.cases()
    return _cached_cases[sha256]


def _method_result(cell: Cell, task: Task, case: Case, test: Case) -> dict[str, Any]:
    objective, training = cell.objective(), case.problem.training
    described = methods.describe(cell.method)
    learns = task.learns and described.training_use is not None
    outcome = debias(
        case if learns else replace(case, problem=replace(case.problem, training=None)),
        cell.method,
        objective,
        test=test,
        seed=cell.seed,
        recalibrate=False,  # no figure of a cell depends on it
        options=dict(cell.options),
    )
    return {
        "status": "done",
        "needs_group": outcome.rule.needs_group,
        "changes_weights": outcome.state is not None,
        "test": _comparison(outcome.test, objective, outcome.test_rows),
        "validation": _comparison(outcome.validation, objective, outcome.validation_rows),
        "ceiling": ceiling(outcome.test.debiased, objective),
        "trajectory": [
            [_finite(step.gap), _finite(step.performance)] for step in outcome.result.trajectory
        ],
        "chosen": outcome.result.chosen,
        "warnings": list(outcome.warnings),
        **_elsewhere(outcome, training, task.other_groups),
    }


def _elsewhere(
    outcome: Outcome, training: TrainingRows | None, other_groups: np.ndarray | None
) -> dict[str, Any]:
    """Return gaps on training rows, and between other groups of the test rows, as far as known."""
    found = dict[str, Any]()
    if training is not None:
        rows = replace(outcome.case.problem, training=training).learning_rows(outcome.method)
        scores = rows.scores if outcome.state is None else rows.score(outcome.state)
        modeled = outcome.rule.model(scores, rows.inputs, rows.scorer).score
        decided = outcome.rule.decide_modeled(
            modeled, rows.groups, rows.group_names, None, rows.inputs
        )
        found["training_gap"] = _gap(outcome.objective, rows, modeled, decided)
    if other_groups is not None:
        groups = torch.from_numpy(other_groups).to(outcome.test_rows.problem.groups.device)
        others = replace(outcome.test_rows.problem, groups=groups)
        for key, scores, decided in (
            ("other_gap", outcome.test_rows.scores, outcome.test_rows.debiased),
            ("other_gap_retuned", others.scores, outcome.test_rows.retuned),
        ):
            found[key] = _gap(outcome.objective, others, scores, decided)
    return found


def _gap(objective: Objective, rows: Problem, scores: Tensor, decided: Tensor) -> float | None:
    """Return the gap of decisions (N,) on scores (N,); None if it is undefined."""
    counts = with_score_figures(rows.counts(decided), rows, scores, objective)
    return _finite(float(objective.metric(counts).value))


def _attribution_result(cell: Cell, case: Case) -> dict[str, Any]:
    metric = metrics.get(cell.goal["metric"])
    attribution = attribute_gap(case.problem, metric, seed=cell.seed, **cell.options)
    figures = ("gap", "gap_of_decisions", "spread", "r2", "r2_of_decisions", "r2_of_fit")
    coefficients = attribution.coefficients.astype("<f4").tobytes()
    return {
        "status": "measured",
        ATTRIBUTION: {
            **{name: _finite(getattr(attribution, name)) for name in figures},
            "draws": attribution.draws,
            "sd": attribution.sd,
            "shares": attribution.by_parameter(),
            "share_of_largest": {str(n): attribution.share_of_largest(n) for n in LARGEST},
            "coefficients": base64.b64encode(coefficients).decode(),
        },
    }


def _comparison(comparison: Comparison, objective: Objective, rows: DecidedRows) -> dict[str, Any]:
    figures = {
        state: _evaluation(getattr(comparison, state), objective)
        for state in ("unmodified", "retuned", "debiased")
    }
    if objective.limits:
        problem = with_columns(rows.problem, objective.limits, rows.groups)
        for state, found in figures.items():
            auc = torch.tensor(getattr(comparison, state).performance["auc"])
            counts = replace(problem.counts(getattr(rows, state)), auc=auc)
            found["limits_held"] = all(bool(limit.held(counts)) for limit in objective.limits)
    return figures


def _evaluation(evaluation: Evaluation, objective: Objective) -> dict[str, Any]:
    return {
        "rows": evaluation.rows,
        "gap": _finite(evaluation.gaps[objective.metric.key]),
        "performance": _finite(evaluation.performance[objective.performance.key]),
        "objective": _finite(evaluation.objective),
        "met": evaluation.met,
        "trivial": evaluation.trivial,
        "gaps": {key: _finite(value) for key, value in evaluation.gaps.items()},
        "performances": {key: _finite(value) for key, value in evaluation.performance.items()},
    }


def ceiling(
    test: Evaluation, objective: Objective, validation: Evaluation | None = None
) -> float | None:
    """Return P(the budget holds on the test rows) for a rule of the same rates and a true gap of 0.

    Only the sampling noise of the test rows counts, plus that of the validation rows if given: no
    method can be surer of the budget. None if the gap is undefined, or is one of scores.
    """
    if objective.metric.of_scores or math.isnan(test.gaps[objective.metric.key]):
        return None
    counts = [_counts(each) for each in (test, validation) if each is not None]
    return noise_ceiling(objective.metric, objective.budget, *counts)


def _counts(evaluation: Evaluation) -> Counts:
    return Counts(
        *(
            torch.tensor([getattr(g, side) for g in evaluation.groups], dtype=torch.float64)
            for side in ("tp", "fp", "fn", "tn")
        )
    )


def _finite(value: float) -> float | None:
    """Return the value, None if it is undefined."""
    return float(value) if math.isfinite(value) else None


def _reset_peak_memory() -> bool:
    """Reset the peak memory of this process; return False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_memory() -> float | None:
    """Return the peak resident memory since ``_reset_peak_memory``, in MiB."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None

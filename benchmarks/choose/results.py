"""Results of methods on test rows, as counts by group, from which every figure follows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.choose.bed import Bed, Cell, write_file
from benchmarks.fairlearn_thresholds import fairlearn_rule
from fairfix.bench.method_choice import parse_method
from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, noise_ceiling
from fairfix.metrics.objective import Objective
from fairfix.workflows.case import Case
from fairfix.workflows.debias import debias

METRIC_KEYS = ("spd", "eod")
RESULTS = "results"
SETTINGS = "settings"
SIDES = ("tp", "fp", "fn", "tn")


@dataclass(frozen=True)
class Line:
    """The test counts of one method on one cell for one metric.

    Attributes:
        counts: rows by side of the confusion matrix ("tp", "fp", "fn", "tn") and group.
    """

    cell: Cell
    metric: str
    method: str
    counts: Mapping[str, tuple[int, ...]]

    def figures(self) -> dict[str, Any]:
        """Return the figures of a report.

        ``objective`` is balanced accuracy if the budget held, else 0; ``above_chance`` the same
        with balanced accuracy above 0.5; ``ceiling`` the probability that a rule with these rates
        and a true gap of 0 holds the budget on these test rows.
        """
        objective = objective_of(self.metric)
        counts = Counts(*(torch.tensor(self.counts[s], dtype=torch.float64) for s in SIDES))
        held = bool(objective.met(counts))
        balanced_accuracy = float(objective.performance(counts))
        return {
            "data_set": self.cell.data_set,
            "family": self.cell.family,
            "seed": self.cell.seed,
            "metric": self.metric,
            "method": self.method,
            "objective": balanced_accuracy if held else 0.0,
            "above_chance": balanced_accuracy - 0.5 if held else 0.0,
            "held": held,
            "ceiling": noise_ceiling(objective.metric, objective.budget, counts),
            "balanced_accuracy": balanced_accuracy,
            "gap": float(objective.metric(counts).value),
        }

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(
            {
                "data_set": self.cell.data_set,
                "seed": self.cell.seed,
                "metric": self.metric,
                "method": self.method,
                "counts": self.counts,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Line:
        """Read what ``to_json`` returned."""
        row = json.loads(text)
        counts = {side: tuple(by_group) for side, by_group in row["counts"].items()}
        return cls(Cell(row["data_set"], row["seed"]), row["metric"], row["method"], counts)


def objective_of(metric: str) -> Objective:
    """Return the objective of every choice: best balanced accuracy within a budget of 0.05."""
    return Objective(METRICS[metric])


def line_of(cell: Cell, metric: str, method: str, problem: Problem, decisions: Tensor) -> Line:
    """Count the decisions (N,) on the test rows."""
    counts = problem.counts(decisions)
    by_side = {
        side: tuple(int(n) for n in getattr(counts, side).round().tolist()) for side in SIDES
    }
    return Line(cell, metric, method, by_side)


def decisions_of(method: str, validation: Case, test: Case, metric: str, seed: int) -> Tensor:
    """Tune a method, or fairlearn, on the validation rows; return its decisions on the test rows.

    Args:
        method: ``NAME`` or ``NAME:OPTION=VALUE,...``, or "fairlearn".
        validation, test: the rows.
        metric: key of the metric.
        seed: of the method.
    """
    if method == "fairlearn":
        return fairlearn_rule(validation.problem, metric)(test.problem)
    choice = parse_method(method)
    outcome = debias(
        validation,
        choice.name,
        objective_of(metric),
        test=test,
        seed=seed,
        subgroups=False,
        options=choice.options,
    )
    return outcome.test_rows.debiased


def result_path(bed: Bed, cell: Cell, metric: str, method: str) -> Path:
    """Return the file of one line."""
    return bed.path(RESULTS, cell, f"-{metric}-{method}.json")


def results(bed: Bed, cell: Cell, names: Sequence[str]) -> Iterator[Line]:
    """Yield the line of every method and metric; what is missing is computed and kept."""
    cases: tuple[Case, Case] | None = None
    for method, metric in product(names, METRIC_KEYS):
        path = result_path(bed, cell, metric, method)
        if not path.is_file():
            cases = cases or bed.cases(cell)
            decisions = decisions_of(method, *cases, metric, cell.seed)
            line = line_of(cell, metric, method, cases[1].problem, decisions)
            write_file(path, line.to_json().encode())
        yield Line.from_json(path.read_text())


def setting_lines(
    bed: Bed,
    cell: Cell,
    metric: str,
    family: str,
    compute: Callable[[Bed, Cell, str], list[Line]] | None = None,
) -> list[Line]:
    """Return the lines of every setting of a family of methods, from one file.

    Args:
        bed: where the file is kept.
        cell: data set and seed.
        metric: key of the metric.
        family: name of the file.
        compute: makes the lines if the file is missing; without it there are none.
    """
    path = bed.path(SETTINGS, cell, f"-{metric}-{family}.jsonl")
    if compute is not None and not path.is_file():
        lines = compute(bed, cell, metric)
        write_file(path, "".join(line.to_json() + "\n" for line in lines).encode())
    if not path.is_file():
        return []
    return [Line.from_json(text) for text in path.read_text().splitlines()]


def kept_results(bed: Bed, cells: Iterable[Cell], names: Sequence[str]) -> list[Line]:
    """Return the lines that are there already."""
    paths = (
        result_path(bed, cell, metric, method)
        for cell, method, metric in product(cells, names, METRIC_KEYS)
    )
    return [Line.from_json(path.read_text()) for path in paths if path.is_file()]

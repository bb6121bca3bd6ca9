"""Cells against debias, simulation and their own definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fairfix.bench.cell_table import cell_table
from fairfix.bench.cells import Cell, ceiling, run_cell
from fairfix.bench.plan import plan_study
from fairfix.bench.study import Study
from fairfix.bench.task import Task
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE, METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import AUC
from fairfix.workflows.debias import debias
from tests.helpers.studies import LOH, loh_case


def test_a_cell_agrees_with_debias(tasks: list[Task], expected: dict[str, Any]) -> None:
    """The library gives the same figures from the files."""
    first = loh_case()
    outcome = debias(
        first, "prune", Objective(METRICS["eod"]), test=first.companion(LOH / "test.csv"), seed=0
    )
    (row,) = (
        row
        for row in expected.values()
        if (row["method"], row["goal"]["metric"], row["split"]) == ("prune", "eod", 0)
    )
    after = outcome.test.debiased
    assert row["test"]["debiased"]["gap"] == after.gaps["eod"]
    assert row["test"]["debiased"]["performance"] == after.performance["balanced_accuracy"]
    assert row["test"]["unmodified"]["gaps"]["spd"] == outcome.test.unmodified.gaps["spd"]
    assert len(row["trajectory"]) == len(outcome.result.trajectory)


def test_a_refusal_is_a_row(tasks: list[Task]) -> None:
    study = plan_study(tasks[:1], [Objective(METRICS["ad"])], ["thresholds"])
    cell = next(cell for cell in study.cells if cell.method == "thresholds")
    row = run_cell(cell, tasks[0])
    assert row["status"] == "refused"
    assert "fnrd, not ad" in row["reason"]
    (line,) = [x for x in cell_table([row]).itertuples() if x.method == "thresholds"]
    assert line.status == "refused"


def test_a_cell_keeps_every_part_of_its_goal(tasks: list[Task]) -> None:
    objective = Objective(METRICS["spd"], budget=0.04, risk=0.1, k=1.2)
    (cell, *_) = plan_study(tasks[:1], [objective], ["identity"]).cells
    assert cell.objective() == objective


def test_a_cell_is_rated_by_scores_alone(tasks: list[Task]) -> None:
    objective = Objective(AUC_DIFFERENCE, budget=0.1, performance=AUC)
    study = plan_study(tasks[:1], [objective], ["identity", "thresholds"])
    cells = {cell.method: cell for cell in study.cells}
    assert cells["identity"].objective() == objective
    rows = [run_cell(cells[name], tasks[0]) for name in ("identity", "thresholds")]
    test = rows[0]["test"]["debiased"]
    assert test["gap"] == test["gaps"]["aucd"]
    assert test["performance"] == test["performances"]["auc"]
    assert rows[0]["ceiling"] is None
    assert "method that changes weights" in rows[1]["reason"]
    (line,) = [x for x in cell_table(rows).itertuples() if x.method == "identity"]
    assert line.performance == test["performance"]


def test_the_ceiling_is_the_probability_for_a_rule_without_a_gap(tasks: list[Task]) -> None:
    """Simulate how often the gap of new rows meets the budget if both groups are decided alike."""
    validation, test = tasks[0].cases()
    objective = Objective(METRICS["spd"], budget=0.03)
    found = debias(validation, "thresholds", objective, test=test).test.debiased
    share = sum(g.tp + g.fp for g in found.groups) / found.rows
    generator = np.random.default_rng(0)
    rates = [generator.binomial(g.rows, share, 200_000) / g.rows for g in found.groups]
    simulated = float((np.abs(rates[0] - rates[1]) < objective.budget).mean())
    value = ceiling(found, objective)
    assert value is not None
    assert value == pytest.approx(simulated, abs=0.02)


def test_a_cell_key_depends_on_its_definition(small: Study) -> None:
    assert len({cell.key for cell in small.cells}) == len(small.cells)
    first = small.cells[0]
    assert Cell(**first.to_json()).key == first.key
    assert Cell(**{**first.to_json(), "seed": 99}).key != first.key

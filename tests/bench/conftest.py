"""A small study of the sample model loh, and its rows."""

from __future__ import annotations

from typing import Any

import pytest

from fairfix.bench.journal import Journal
from fairfix.bench.plan import model_tasks, plan_study
from fairfix.bench.study import Study, serial_backend
from fairfix.bench.task import Task
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from tests.helpers.studies import FAST, LOH, loh_case, without_cost


@pytest.fixture(scope="session")
def tasks() -> list[Task]:
    first = loh_case()
    return model_tasks([(first, first.companion(LOH / "test.csv"))], 2, 0.3)


@pytest.fixture
def small(tasks: list[Task]) -> Study:
    return plan_study(tasks, [Objective(METRICS["spd"]), Objective(METRICS["eod"])], FAST)


@pytest.fixture(scope="session")
def expected(tasks: list[Task], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    study = plan_study(tasks, [Objective(METRICS["spd"]), Objective(METRICS["eod"])], FAST)
    journal = Journal(tmp_path_factory.mktemp("study") / "rows.jsonl")
    rows = list(study.run(journal, serial_backend))
    assert without_cost(rows) == without_cost(journal.rows())
    assert len(rows) == 2 * 2 * 4
    return without_cost(rows)

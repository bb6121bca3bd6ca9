"""Planning of tasks and methods."""

from __future__ import annotations

import numpy as np
import pytest

from fairfix.bench.plan import array_part, chosen_methods, model_tasks, plan_tasks
from fairfix.bench.protocols import protocol
from fairfix.errors import UsageError
from tests.helpers.studies import LOH, loh_case


def test_parts_of_an_array_are_the_whole() -> None:
    whole = plan_tasks(protocol("m22"), [], 3, [])
    assert len(whole) == 9
    assert [unit for i in range(1, 5) for unit in array_part(whole, i, 4)] == whole
    assert len({unit.seed for unit in whole}) == 3
    with pytest.raises(UsageError, match="1 <= i <= n"):
        array_part(whole, 5, 4)


def test_baseline_and_group_thresholds_are_always_included() -> None:
    chosen = chosen_methods(["gda:epochs=2", "gda", "thresholds"], ["roc"])
    assert [(c.name, dict(c.options)) for c in chosen] == [
        ("identity", {}),
        ("thresholds", {}),
        ("gda", {"epochs": 2}),
        ("gda", {}),
    ]
    assert [c.name for c in chosen_methods([], ["roc"])] == ["identity", "thresholds", "roc"]
    with pytest.raises(UsageError, match="Unknown method 'prun'"):
        chosen_methods(["prun"], [])


def test_a_seed_draws_other_splits() -> None:
    whole = loh_case()
    first, later = (model_tasks([(whole, None)], 2, 0.3, seed) for seed in (0, 1))
    assert [each.split for each in later] == [1, 2]
    assert first[1].sha256 == later[0].sha256
    assert len({each.source for each in (*first, *later)}) == 1
    assert model_tasks([(whole, None)], 1, 0.5)[0].source != first[0].source


def test_splits_of_one_table_share_its_rows() -> None:
    whole = loh_case()
    for test in (None, whole.companion(LOH / "test.csv")):
        tasks = model_tasks([(whole, test)], 50, 0.3)
        assert len({id(task.rows) for task in tasks}) == 1
        for task in tasks:
            both = np.concatenate([task.validation_index, task.test_index])
            assert np.array_equal(np.sort(both), np.arange(len(task.rows)))
        assert len({task.sha256 for task in tasks}) == 50

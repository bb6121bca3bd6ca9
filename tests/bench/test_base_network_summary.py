"""The summary of unmodified base networks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fairfix.bench.base_network_summary import summarize_base_networks
from fairfix.bench.split_statistics import mean_sd


def network_row(task: str, sha256: str, metric: str, spd: float | None, accuracy: float) -> Any:
    """Return the part of a row that the base network summary reads."""
    unmodified = {"gaps": {"spd": spd}, "performances": {"accuracy": accuracy}}
    return {
        "status": "done",
        "task": task,
        "task_sha256": sha256,
        "goal": {"metric": metric},
        "test": {"unmodified": unmodified},
    }


def test_each_split_counts_once() -> None:
    rows = [
        network_row("a", "0", "spd", 0.1, 0.7),
        network_row("a", "0", "eod", 0.1, 0.7),
        network_row("a", "1", "spd", -0.3, 0.9),
        network_row("b", "2", "spd", None, 0.5),
        {"status": "refused", "task": "a"},
        {"status": "measured", "task": "c"},
    ]
    one, other = summarize_base_networks(rows)
    assert (one.task, one.splits, one.metrics) == ("a", 2, ("spd", "eod"))
    assert one.gaps["spd"].tolist() == [0.1, -0.3]
    flat = one.flat()
    assert flat["spd"] == pytest.approx(-0.1)
    assert flat["spd_sd"] == pytest.approx(0.4 / math.sqrt(2))
    assert flat["accuracy"] == pytest.approx(0.8)
    assert math.isnan(other.flat()["spd"])
    assert math.isnan(other.flat()["accuracy_sd"])
    assert mean_sd([2.0]).mean == 2

"""The papers' protocols and their base networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairfix.bench.plan import chosen_methods, plan_tasks
from fairfix.bench.protocol_task import encoded_split, protocol_task
from fairfix.bench.protocols import PROTOCOLS, chosen_datasets, protocol
from fairfix.bench.training import Recipe
from fairfix.errors import UsageError


def test_protocols_name_what_exists() -> None:
    for each in PROTOCOLS.values():
        assert chosen_datasets(each, []) == each.datasets
        assert {c.name for c in chosen_methods([], each.methods)} == set(each.methods)
    assert chosen_datasets(protocol("m22"), ["bank"]) == ("bank/age",)
    assert chosen_datasets(protocol("s20"), ["compas"]) == ("compas/sex", "compas/race")
    assert chosen_datasets(protocol("m22"), ["loh/alpha=0.50"]) == ("loh/alpha=0.5",)
    for wrong in ("iris", "loh/beta=1", "adult/age", "zafar/theta=x"):
        with pytest.raises(UsageError):
            chosen_datasets(protocol("m22"), [wrong])


def test_other_classifiers_are_variants_of_a_protocol() -> None:
    found = plan_tasks(protocol("s20"), ["adult"], 1, ["logistic", "width-64"])
    assert [unit.variant for unit in found] == ["", "logistic", "width-64"]
    assert [unit.base for unit in found][1] == "logistic"


def test_a_network_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path))
    recipe = Recipe(depth=1, width=4, epochs=1)
    first = protocol_task("loh/alpha=1", 0, recipe)
    (kept,) = (tmp_path / "networks").iterdir()
    written = kept.stat().st_mtime_ns
    assert protocol_task("loh/alpha=1", 0, recipe).sha256 == first.sha256
    assert kept.stat().st_mtime_ns == written
    protocol_task("loh/alpha=1", 1, recipe)
    assert len(list((tmp_path / "networks").iterdir())) == 2


def test_fresh_test_rows_leave_the_other_rows_alone() -> None:
    split = encoded_split("loh/alpha=1", 3)
    fresh = encoded_split("loh/alpha=1", 3, fresh_test_rows=5_000)
    assert fresh.sha256() == split.sha256()
    assert len(fresh.labels["test"]) == len(fresh.groups["test"]) == 5_000
    shared = min(len(split.features["test"]), 100)
    assert (fresh.features["test"][:shared] != split.features["test"][:shared]).any()
    assert abs(fresh.features["test"].mean(0)[:4]).max() < 0.1  # standardized by training rows
    other = encoded_split("loh/alpha=1", 4, fresh_test_rows=5_000)
    assert (fresh.features["test"] != other.features["test"]).any()

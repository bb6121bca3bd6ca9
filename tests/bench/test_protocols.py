"""The papers' protocols and their base networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fairfix._utils.text import format_number
from fairfix.bench.cell_table import cell_table
from fairfix.bench.cells import run_cell
from fairfix.bench.method_choice import parse_method
from fairfix.bench.page import page
from fairfix.bench.page_elsewhere import elsewhere_view
from fairfix.bench.plan import chosen_methods, plan_study, plan_tasks
from fairfix.bench.protocol_task import encoded_split, protocol_task
from fairfix.bench.protocols import PROTOCOLS, chosen_datasets, protocol
from fairfix.bench.training import Recipe
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective


def test_protocols_name_what_exists() -> None:
    for each in PROTOCOLS.values():
        assert chosen_datasets(each, []) == each.datasets
        assert chosen_methods([], each.methods)[2:] == [
            parse_method(name) for name in each.methods if name not in ("identity", "thresholds")
        ]
    assert chosen_datasets(protocol("m22"), ["bank"]) == ("bank/age",)
    assert chosen_datasets(protocol("s20"), ["compas"]) == ("compas/sex", "compas/race")
    assert chosen_datasets(protocol("m22"), ["loh/alpha=0.50"]) == ("loh/alpha=0.5",)
    for wrong in ("iris", "loh/beta=1", "adult/age", "zafar/theta=x"):
        with pytest.raises(UsageError):
            chosen_datasets(protocol("m22"), [wrong])


def test_m22_with_its_own_settings_differs_in_goal_methods_and_rows_only() -> None:
    plain, paper = protocol("m22"), protocol("m22-paper")
    changed = {"name": paper.name, "methods": paper.methods, "objectives": paper.objectives}
    assert replace(plain, learns=True, **changed) == paper
    assert {each.margin for each in paper.objectives} == {0.01}
    gda = [choice for choice in map(parse_method, paper.methods) if choice.name == "gda"]
    assert {choice.options.get("optimizer", "adam") for choice in gda} == {"sgd", "adam"}


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


def test_training_rows_are_measured_and_learned_from_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path))
    recipe, name = Recipe(depth=1, width=4, epochs=1), "loh/alpha=1"
    plain = protocol_task(name, 0, recipe)
    measured = protocol_task(name, 0, recipe, other=name)
    learned = protocol_task(name, 0, recipe, learns=True, other=name)
    assert len({task.sha256 for task in (plain, measured, learned)}) == 3
    choices = [parse_method(name) for name in ("identity", "thresholds", "gda:epochs=1")]
    rows = {}
    for task in (plain, measured, learned):
        study = plan_study([task], [Objective()], choices)
        for cell in study.cells:
            rows[task.sha256, cell.method] = run_cell(cell, task)
    assert {row["status"] for row in rows.values()} == {"done"}
    for method in ("identity", "thresholds"):
        parts = [rows[task.sha256, method]["test"] for task in (plain, measured, learned)]
        assert parts[0] == parts[1] == parts[2]
    before, after = rows[measured.sha256, "gda"], rows[learned.sha256, "gda"]
    assert before["test"] == rows[plain.sha256, "gda"]["test"]
    assert before["trajectory"] != after["trajectory"]
    split = encoded_split(name, 0)
    case, _ = learned.cases()
    assert case.problem.training is not None
    assert len(case.problem.training) == len(split.labels["train"])
    for row in (before, after):
        assert row["other_gap"] == row["test"]["debiased"]["gap"]
        assert row["other_gap_retuned"] == row["test"]["retuned"]["gap"]
        assert row["training_gap"] == pytest.approx(row["validation"]["debiased"]["gap"], abs=0.05)
    assert "training_gap" not in rows[plain.sha256, "gda"]
    table = cell_table([before, after])
    assert table["training_gap"].tolist() == [before["training_gap"], after["training_gap"]]
    (view,) = elsewhere_view(table.head(1))
    assert view["figures"][0] == format_number(abs(before["training_gap"]))
    assert '<section id="elsewhere">' in page([before])
    assert '<section id="elsewhere">' not in page([rows[plain.sha256, "gda"]])


def test_the_other_attribute_has_the_same_rows() -> None:
    chosen = protocol("c21")
    found = plan_tasks(replace(chosen, learns=True), [], 1, [])
    assert [(unit.dataset, unit.other, unit.learns) for unit in found] == [
        ("adult/sex", "adult/race", True),
        ("compas/race", "compas/sex", True),
    ]


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

"""Base networks as deployed, other classifiers beside them, and choices that protocols leave."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from fairfix.bench.base_networks import networks
from fairfix.bench.cells import run_cell
from fairfix.bench.other_classifiers import RIVALS, scores
from fairfix.bench.plan import planned, units
from fairfix.bench.protocols import PROTOCOLS, Protocol, protocol, split, task
from fairfix.bench.split_statistics import mean_sd
from fairfix.bench.training import Recipe
from fairfix.cli.app import app
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import METRICS

SMALL = Recipe(depth=1, width=4, epochs=1)


def deployed(task: str, sha256: str, metric: str, spd: float | None, accuracy: float) -> Any:
    """A row, as far as networks are told by it."""
    original = {"gaps": {"spd": spd}, "performances": {"accuracy": accuracy}}
    return {
        "status": "done",
        "task": task,
        "task_sha256": sha256,
        "goal": {"metric": metric},
        "judged": {"original": original},
    }


def test_each_split_counts_once() -> None:
    rows = [
        deployed("a", "0", "spd", 0.1, 0.7),
        deployed("a", "0", "eod", 0.1, 0.7),
        deployed("a", "1", "spd", -0.3, 0.9),
        deployed("b", "2", "spd", None, 0.5),
        {"status": "refused", "task": "a"},
        {"status": "measured", "task": "c"},
    ]
    one, other = networks(rows)
    assert (one.task, one.splits, one.goals) == ("a", 2, ("spd", "eod"))
    assert one.gaps["spd"].tolist() == [0.1, -0.3]
    flat = one.flat()
    assert flat["spd"] == pytest.approx(-0.1)
    assert flat["spd_sd"] == pytest.approx(0.4 / math.sqrt(2))
    assert flat["accuracy"] == pytest.approx(0.8)
    assert math.isnan(other.flat()["spd"])
    assert math.isnan(other.flat()["accuracy_sd"])
    assert mean_sd([2.0]).mean == 2


def test_rivals_are_those_of_scikit_learn() -> None:
    data = split("loh/alpha=1", 0)
    learned = data.features["train"], data.labels["train"]
    found = {
        rival: scores(rival, learned, {"test": data.features["test"]}, seed=3) for rival in RIVALS
    }
    expected = LogisticRegression(max_iter=1000).fit(*learned)
    np.testing.assert_allclose(
        found["logistic"]["test"], expected.predict_proba(data.features["test"])[:, 1], atol=1e-6
    )
    right = {
        rival: ((rows["test"] > 0.5) == data.labels["test"]).mean() for rival, rows in found.items()
    }
    assert min(right.values()) > 0.6
    again = scores("forest", learned, {"test": data.features["test"]}, seed=3)
    assert np.array_equal(again["test"], found["forest"]["test"])


def test_a_rival_is_a_task_of_scores() -> None:
    made = task("loh/alpha=1", 0, "logistic", "logistic")
    assert made.name == "loh/alpha=1 logistic"
    study = planned([made], [Objective(METRICS["spd"])], ["identity", "eqodds", "prune"])
    rows = {cell.method: run_cell(cell, made) for cell in study.cells}
    assert rows["identity"]["status"] == rows["eqodds"]["status"] == "done"
    assert rows["prune"]["status"] == "refused"
    assert "needs a model" in rows["prune"]["reason"]
    assert rows["identity"]["judged"]["original"]["performances"]["auc"] > 0.6


def test_the_rivals_of_a_protocol_are_variants() -> None:
    found = units(protocol("s20"), ["adult"], 1, ["logistic", "width-64"])
    assert [unit.variant for unit in found] == ["", "logistic", "width-64"]
    assert [unit.base for unit in found][1] == "logistic"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A protocol that is done at once."""
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(
        PROTOCOLS,
        "m22",
        Protocol("m22", "a paper", (), 1, SMALL, (Objective(METRICS["spd"]),), ("identity",)),
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {"k": math.sqrt(2), "margin": None, "risk": None}),
        (["--k", "1"], {"k": 1.0, "margin": None, "risk": None}),
        (["--risk", "0.2"], {"k": math.sqrt(2), "margin": None, "risk": 0.2}),
        (["--margin", "0.01"], {"margin": 0.01, "risk": None}),
    ],
)
@pytest.mark.usefixtures("small")
def test_a_protocol_takes_another_choice_of_cuts(
    options: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    asked = ["bench", "--protocol", "m22", "--datasets", "loh", "--seeds", "2", "--jobs", "1"]
    ended = CliRunner().invoke(app, [*asked, *options, "-o", str(tmp_path)])
    assert ended.exit_code == 0, ended.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["goal"] | expected == row["goal"]
    page = (tmp_path / "report.html").read_text()
    assert "Networks as they are deployed" in page


def test_a_trade_off_has_no_chance_to_choose_by(tmp_path: Path) -> None:
    asked = ["bench", "--protocol", "s20", "--k", "1", "--risk", "0.1", "-o", str(tmp_path)]
    ended = CliRunner().invoke(app, asked)
    assert ended.exit_code == 2
    assert "knows no chance; leave out --k" in ended.stderr

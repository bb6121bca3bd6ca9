"""The command ``fairfix bench``: studies of own models and by protocol."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from fairfix.bench.goal import goal_to_json, objective_from_json
from fairfix.bench.protocols import PROTOCOLS, Protocol
from fairfix.bench.training import Recipe
from fairfix.cli.app import app
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from tests.helpers.runs import Place, Run
from tests.helpers.studies import LOH

SMALL = Recipe(depth=1, width=4, epochs=1)
WRITTEN = (
    *("rows.jsonl", "report.html", "summary.csv"),
    *("cells.csv", "cells.parquet", "networks.csv"),
)


def test_the_command_runs_resumes_and_summarizes(tmp_path: Path) -> None:
    arguments = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "roc"]
    arguments += ["--seeds", "2", "--jobs", "1", "-o", str(tmp_path / "out")]
    runner = CliRunner()
    first = runner.invoke(app, arguments)
    assert first.exit_code == 0, first.stderr
    for name in ("identity", "unmodified", "thresholds", "roc"):
        assert name in first.stdout
    again = runner.invoke(app, [*arguments, "--json"])
    assert "6 of 6 cells are done already" in again.stderr
    document = json.loads(again.stdout)
    assert document["cells"] == 6
    assert max(map(len, first.stdout.splitlines())) <= 100
    out = tmp_path / "out"
    assert [line for line in first.stdout.splitlines() if line.startswith("wrote")] == [
        f"wrote {out / name}" for name in WRITTEN
    ]
    assert len((out / "cells.csv").read_text().splitlines()) == 9
    read = pd.read_csv(out / "cells.csv")
    kept = pd.read_parquet(out / "cells.parquet")
    assert {"lambda", "k", "risk"} <= {*read} & {*kept}
    assert not {"weight", "lambda_"} & ({*read} | {*kept})
    assert list(kept) == list(read)
    assert kept["objective"].tolist() == pytest.approx(read["objective"].tolist())
    listed = pd.read_csv(out / "summary.csv").to_dict("records")
    assert [line["method"] for line in listed] == [line["method"] for line in document["summary"]]
    for one, two in zip(listed, document["summary"], strict=True):
        assert one.keys() == two.keys()
        assert one["mean_objective"] == pytest.approx(two["mean_objective"])
    rows = str(out / "rows.jsonl")
    summed = runner.invoke(
        app, ["bench", "--rows", rows, "--rows", rows, "--json", "-o", str(tmp_path / "other")]
    )
    assert json.loads(summed.stdout) == document
    for name in WRITTEN[1:]:
        assert (tmp_path / "other" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give models and a table"),
        (["model.pt"], "Give models and a table"),
        (["a.pt", "b.csv", "--protocol", "m22"], "remove 'a.pt'"),
        (["a.pt", "b.csv", "--datasets", "compas"], "need --protocol"),
        (["a.pt", "b.csv", "--training-rows"], "need --protocol"),
        (["--protocol", "m23"], "The protocols are m22, m22-paper, s20, c21, not 'm23'"),
        (["--protocol", "m22", "--array", "x"], "--array must be i/n"),
        (["--protocol", "m22", "--array", "\u00b2/4"], "--array must be i/n"),
        (["--protocol", "m22", "--metrics", ","], "is empty; add names or remove the option"),
        (["--protocol", "m22", "--methods", ""], "is empty; add names or remove the option"),
        (["--protocol", "m22", "--metrics", "sdp"], "Unknown metric 'sdp'; use spd"),
        (["--protocol", "s20", "--variants", "wide"], "variants of s20 are dropout-0.5"),
        (["--protocol", "m22", "--seeds", "0"], "at least one seed"),
        (["--protocol", "m22", "--budget", "0.1"], "its own goal, networks and rows"),
        (["--backend", "dask"], "needs --scheduler with the address"),
        (["--scheduler", "tcp://a:1"], "--scheduler needs --backend dask"),
        (["--jobs", "0"], "processes must be at least 1, not 0"),
        (["--rows", "nothing.jsonl"], "nothing.jsonl does not exist"),
        (["--rows", "nothing.jsonl", "--methods", "roc"], "remove every option but -o"),
        (["a.pt", "b.csv", "--rows", "nothing.jsonl"], "remove every option but -o"),
        (["--rows", "nothing.jsonl", "--budget", "0.1"], "remove every option but -o"),
    ],
)
def test_usage_errors_are_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not [*tmp_path.iterdir()]  # no folder is left behind


def test_files_of_other_origin_are_never_replaced(tmp_path: Path) -> None:
    arguments = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--methods", "identity"]
    arguments += ["--seeds", "1", "--jobs", "1"]
    mine, study = tmp_path / "mine", tmp_path / "study"
    mine.mkdir()
    (mine / "summary.csv").write_text("my own")
    result = CliRunner().invoke(app, [*arguments, "-o", str(mine)])
    assert result.exit_code == 2
    assert "summary.csv exists and does not belong to a study there" in result.stderr
    assert (mine / "summary.csv").read_text() == "my own"
    assert CliRunner().invoke(app, [*arguments, "-o", str(study)]).exit_code == 0
    other = tmp_path / "rows.jsonl"
    other.write_bytes((study / "rows.jsonl").read_bytes())
    result = CliRunner().invoke(app, ["bench", "--rows", str(other), "-o", str(study)])
    assert result.exit_code == 2
    assert "holds another study" in result.stderr
    own = str(study / "rows.jsonl")
    assert CliRunner().invoke(app, ["bench", "--rows", own, "-o", str(study)]).exit_code == 0
    other.write_text("")
    result = CliRunner().invoke(app, ["bench", "--rows", str(other)])
    assert result.exit_code == 2
    assert "there are no rows to summarize" in result.stderr


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999999"])
def test_a_seed_out_of_range_is_refused(seed: str, tmp_path: Path) -> None:
    arguments = ["bench", str(LOH / "model.pt"), str(LOH / "val.csv"), "--seed", seed]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert f"The seed must be a whole number from 0 to 2**63 - 1, not {seed}" in result.stderr


def test_a_table_too_small_to_split_is_refused_with_a_remedy(tmp_path: Path) -> None:
    table = pd.read_csv(LOH / "val.csv")
    lone = pd.concat([table[table["group"] == 1].head(200), table[table["group"] == 0].head(1)])
    lone.to_csv(tmp_path / "lone.csv", index=False)
    arguments = [
        "bench",
        str(LOH / "model.pt"),
        str(tmp_path / "lone.csv"),
        "--methods",
        "identity",
    ]
    arguments += ["--privileged", "1", "--arch", "mlp:relu-bn", "--jobs", "1"]
    result = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "too few rows to hold some out for testing" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def small_protocol(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A protocol that runs in a moment."""
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
@pytest.mark.usefixtures("small_protocol")
def test_a_protocol_takes_margin_k_and_risk(
    options: list[str], expected: dict[str, Any], tmp_path: Path
) -> None:
    arguments = ["bench", "--protocol", "m22", "--datasets", "loh", "--seeds", "2", "--jobs", "1"]
    result = CliRunner().invoke(app, [*arguments, *options, "-o", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["goal"] | expected == row["goal"]
    page = (tmp_path / "report.html").read_text()
    assert "Base networks" in page


def test_a_trade_off_refuses_k_and_risk(tmp_path: Path) -> None:
    arguments = ["bench", "--protocol", "s20", "--k", "1", "--risk", "0.1", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "has no budget; remove --k" in result.stderr


def test_methods_with_options_are_rows_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "fairfix.toml").write_text('[bench]\nmethod = ["roc", "perturb:trials=3"]\n')
    for name in ("model.pt", "val.csv"):
        (tmp_path / name).write_bytes((LOH / name).read_bytes())
    start = ["bench", str(tmp_path / "model.pt"), str(tmp_path / "val.csv"), "--seeds", "2"]
    start += ["--jobs", "1", "--arch", "mlp:relu-bn", "--privileged", "1"]
    from_file = CliRunner().invoke(app, [*start, "-o", str(tmp_path / "a")])
    assert from_file.exit_code == 0, from_file.stderr
    assert "2 splits: no interval" in from_file.stdout
    assert "±0" not in from_file.stdout
    assert set(pd.read_csv(tmp_path / "a/summary.csv")["method"]) == {
        *("unmodified", "identity", "thresholds", "roc", "perturb trials=3"),
    }
    given = ["--method", "perturb:trials=4,sd=0.1", "--method", "perturb:trials=4"]
    other = CliRunner().invoke(app, [*start, *given, "-o", str(tmp_path / "b"), "--json"])
    assert other.exit_code == 0, other.stderr
    assert {line["method"] for line in json.loads(other.stdout)["summary"]} == {
        *("unmodified", "identity", "thresholds", "perturb sd=0.1 trials=4", "perturb trials=4"),
    }
    both = CliRunner().invoke(app, [*start, *given, "--methods", "roc", "-o", str(tmp_path / "c")])
    assert both.exit_code == 2
    assert "by --methods or by --method" in both.stderr


def test_a_study_keeps_further_goals(fairfix: Run, place: Place) -> None:
    for table in (place.val, place.test):
        pd.read_csv(table).head(200).to_csv(table, index=False)
    words = ("--methods", "identity", "--seeds", "2", "--test", place.test, "--trust-checkpoint")
    goals = ("--also", "eod=0.1", "--ceiling", "selection_rate=0.001", "--floor", "auc=0.5")
    change = ("--selection-rate-change", "0.5", "--floor", "tpr.min=0.1", "--jobs", "1")
    study = place.folder / "study"
    ended = fairfix("bench", place.model, place.val, *words, *goals, *change, "-o", study)
    assert ended.code == 0, ended.err
    rows = [json.loads(line) for line in (study / "rows.jsonl").read_text().splitlines()]
    kinds = [limit["kind"] for limit in rows[0]["goal"]["limits"]]
    assert kinds == ["gap", "range", "smallest", "range", "change"]
    assert goal_to_json(objective_from_json(rows[0]["goal"])) == rows[0]["goal"]
    assert not any(row["test"]["unmodified"]["limits_held"] for row in rows)
    summary = pd.read_csv(study / "summary.csv")
    unmodified = summary[summary["method"] == "unmodified"].iloc[0]
    assert unmodified["objective"] == 0
    page = (study / "report.html").read_text()
    assert "relative change of selection rate &lt;= 0.5 hold, else 0" in page


def test_a_study_refuses_goals_by_another_column(fairfix: Run, place: Place) -> None:
    ended = fairfix("bench", place.model, place.val, "--also", "spd@race=0.1")
    assert ended.code == 2
    assert "a study keeps the first group column, 'group'" in ended.sentence

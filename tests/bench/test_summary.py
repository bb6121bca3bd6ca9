"""Summaries of studies, computed by hand."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from fairfix.bench.cell_table import latest_rows
from fairfix.bench.summary import MethodSummary, summarize
from tests.helpers.paths import ROOT
from tests.helpers.studies import study_row


@pytest.fixture
def made_up() -> list[dict[str, Any]]:
    generator = np.random.default_rng(0)
    rows = []
    for split in range(12):
        rows.append(study_row("identity", split, 0.03, 0.6 + 0.01 * generator.random()))
        rows.append(study_row("prune", split, 0.01, 0.65 + 0.01 * generator.random()))
        rows.append(study_row("gda", split, 0.06 if split % 2 else 0.04, 0.7))
        rows.append(study_row("thresholds", split, -0.02, 0.75))
    return rows


def method_summaries(rows: list[dict[str, Any]]) -> list[MethodSummary]:
    return [method for table in summarize(rows) for method in table.methods]


def by_method(rows: list[dict[str, Any]]) -> dict[str, MethodSummary]:
    return {line.method: line for line in method_summaries(rows)}


def test_the_summary_by_hand(made_up: list[dict[str, Any]]) -> None:
    lines = by_method(made_up)
    objectives = {
        method: np.array([r["test"]["debiased"]["objective"] for r in made_up
                          if r["method"] == method])
        for method in ("identity", "prune", "gda", "thresholds")
    }  # fmt: skip
    gda, prune = lines["gda"], lines["prune"]
    assert gda.held == 0.5
    assert gda.objective == tuple(np.quantile(objectives["gda"], [0.5, 0.25, 0.75]))
    assert gda.gap.median == pytest.approx(0.05)
    assert gda.mean_gap == pytest.approx(0.05)
    paired = objectives["prune"] - objectives["identity"]
    low, high = stats.t.interval(
        0.95, 11, loc=paired.mean(), scale=paired.std(ddof=1) / math.sqrt(12)
    )
    assert prune.gain == pytest.approx((paired.mean(), low, high))
    raw = {
        method: stats.ttest_rel(objectives[method], objectives["identity"]).pvalue
        for method in ("prune", "gda", "thresholds")
    }
    assert raw["thresholds"] < raw["prune"] < raw["gda"]
    assert lines["thresholds"].p == pytest.approx(3 * raw["thresholds"])
    assert prune.p == pytest.approx(2 * raw["prune"])
    assert gda.p == pytest.approx(raw["gda"])
    assert prune.gain_shown
    assert not gda.gain_shown
    assert math.isnan(lines["unmodified"].p)
    assert lines["thresholds"].needs_group
    assert [line.needs_group for line in method_summaries(made_up)] == [False] * 4 + [True]
    assert prune.pareto
    assert not lines["identity"].pareto
    assert gda.pareto
    assert lines["thresholds"].pareto


def test_splits_that_share_rows_have_wider_intervals(made_up: list[dict[str, Any]]) -> None:
    apart = by_method(made_up)["prune"]
    shared = by_method([{**each, "overlap": 0.25} for each in made_up])["prune"]
    widths = [line.gain.high - line.gain.value for line in (shared, apart)]
    assert widths[0] / widths[1] == pytest.approx(math.sqrt((1 / 12 + 0.25) / (1 / 12)))
    assert shared.gain.value == apart.gain.value
    assert shared.p > apart.p


def test_a_trade_off_is_evaluated_as_one(made_up: list[dict[str, Any]]) -> None:
    for each in made_up:
        each["goal"] |= {"kind": "tradeoff", "lambda": 0.6}
    lines = method_summaries(made_up)
    found = {line.method: line for line in lines}
    assert {line.objective_name for line in lines} == {"trade-off"}
    assert all(line.smaller_is_better for line in lines)
    trade_offs = [0.6 * g + 0.4 * (1 - 0.7) for g in (0.04, 0.06)]
    assert found["gda"].mean_objective.value == pytest.approx(np.mean(trade_offs))
    assert [line.method for line in lines][:3] == ["prune", "gda", "identity"]
    baseline = np.mean(
        [0.6 * 0.03 + 0.4 * (1 - r["test"]["debiased"]["performance"])
         for r in made_up if r["method"] == "identity"]
    )  # fmt: skip
    assert found["gda"].gain.value == pytest.approx(baseline - np.mean(trade_offs))
    assert found["gda"].gain_shown


def test_a_constant_difference_is_no_evidence_of_a_gain() -> None:
    rows = [study_row("identity", s, 0.0, 0.5) for s in range(4)]
    rows += [study_row("prune", s, 0.0, 0.5) for s in range(4)]
    rows += [study_row("gda", s, 0.0, 0.6) for s in range(4)]
    lines = by_method(rows)
    assert lines["prune"].gain == (0.0, 0.0, 0.0)
    assert lines["prune"].p == 1.0
    assert math.isnan(lines["gda"].p)
    assert not lines["gda"].gain_shown


def test_goals_and_options_are_not_mixed(made_up: list[dict[str, Any]]) -> None:
    other = [{**each, "goal": {**each["goal"], "budget": 0.1}} for each in made_up]
    tuned = [{**each, "options": {"steps": 3}} for each in made_up if each["method"] == "prune"]
    found = summarize([*made_up, *tuned, *other])
    assert [table.goal.budget for table in found] == [0.05, 0.1]
    assert "prune steps=3" in {line.method for line in found[0].methods}
    assert {line.splits for table in found for line in table.methods} == {12}


def test_the_size_of_a_ratio_is_its_distance_from_one() -> None:
    rows = [study_row("identity", s, 0.8, 0.7) for s in range(2)]
    for each in rows:
        each["goal"] |= {"metric": "di", "budget": 0.3}
        for state in each["test"].values():
            state["met"] = True
    (line,) = [line for line in method_summaries(rows) if line.method == "identity"]
    assert line.gap.median == pytest.approx(0.2)
    assert line.mean_objective.value == 0.7


def test_the_last_row_of_a_repeated_cell_counts(
    made_up: list[dict[str, Any]],
) -> None:
    first = {**made_up[0], "status": "failed", "reason": "boom", "fairfix": "1.0.0"}
    assert repr(method_summaries([first, *made_up])) == repr(method_summaries(made_up))
    missing = [*made_up[1:], first]
    line = by_method(missing)["identity"]
    assert (line.splits, line.missing) == (11, 1)


def test_what_has_another_source_is_another_task(made_up: list[dict[str, Any]]) -> None:
    """A network that was trained again has the same name and different figures."""
    other = [
        {**each, "source": "b", "task_sha256": f"b{each['split']}", "seed": each["seed"]}
        for each in made_up
    ]
    found = summarize([*({**each, "source": "a"} for each in made_up), *other])
    assert [table.task for table in found] == ["t", "t (2)"]
    assert {line.splits for table in found for line in table.methods} == {12}
    again = latest_rows(latest_rows([*made_up, *other]))
    assert {each["task"] for each in again} == {"t", "t (2)"}


def test_a_constant_difference_has_a_value_and_no_interval() -> None:
    rows = [study_row("identity", s, 0.0, 0.5) for s in range(3)]
    rows += [study_row("roc", s, 0.0, 0.6) for s in range(3)]
    gain = by_method(rows)["roc"].gain
    assert gain.value == pytest.approx(0.1)
    assert math.isnan(gain.low)
    assert not by_method(rows)["roc"].gain_shown


def test_undefined_figures_are_not_a_success(made_up: list[dict[str, Any]]) -> None:
    for each in made_up:
        if each["method"] == "gda":
            each["test"]["debiased"] |= {"gap": None, "objective": 0.0, "met": False}
    gda = by_method(made_up)["gda"]
    assert math.isnan(gda.gap.median)
    assert gda.held == 0
    assert gda.mean_objective.value == 0
    assert not gda.pareto
    for each in made_up:
        each["goal"]["kind"] = "tradeoff"
    assert by_method(made_up)["gda"].mean_objective.value == 1


def test_the_columns_are_documented(made_up: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    _, _, text = page.partition("## What the columns mean\n")
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name for cell in first for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(method_summaries(made_up)[0].flat())

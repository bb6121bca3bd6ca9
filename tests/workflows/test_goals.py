"""Goals beside the budget: what the search does with them, and what reports say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

import fairfix as library
from fairfix.errors import TableError, UsageError
from fairfix.methods import names
from fairfix.metrics.limits import AucLimit, GapLimit, RangeLimit, SelectionChangeLimit
from fairfix.stats.rate_estimates import selection_rate_change
from fairfix.workflows.documents import report_document
from fairfix.workflows.gate.demands import Demand, Kind, demands, selection_change
from fairfix.workflows.goals import limits_of, searched
from tests.helpers.runs import Place, Run

FAVORED = {"sex": "m", "race": "v"}


def rows(n: int, seed: int) -> pd.DataFrame:
    """Scores that favor sex m, and race v within each sex."""
    rng = np.random.default_rng(seed)
    sex, race = rng.integers(0, 2, n), rng.integers(0, 2, n)
    label = rng.integers(0, 2, n)
    z = 1.5 * label + 0.8 * sex + 0.8 * race - 1.6 + rng.normal(size=n)
    return pd.DataFrame(
        {
            "label": label,
            "sex": np.where(sex, "m", "f"),
            "race": np.where(race, "v", "u"),
            "p": 1 / (1 + np.exp(-z)),
            "nr": np.arange(n) + 1000 * seed,
        }
    )


@pytest.fixture
def case(place: Place) -> library.Case:
    table = place.table(rows(300, 1), "rows.csv")
    return library.load(
        None, table, group=["sex", "race"], privileged="m", score="p", id="nr", threshold=0.6
    )


@pytest.fixture
def test_rows(case: library.Case, place: Place) -> library.Case:
    return case.companion(place.table(rows(300, 2), "test_rows.csv"))


def test_demands_become_limits() -> None:
    asked = [
        *demands(Kind.BUDGET, ["spd@race=0.1", "eod@sex=0.2"]),
        *demands(Kind.FLOOR, ["auc=0.7", "di@sex=0.8", "accuracy=0.6:warn"]),
        *selection_change(0.1),
    ]
    race, eod, auc, ratio, change = limits_of(searched(asked), "sex")
    assert isinstance(race, GapLimit)
    assert (race.column, race.budget, race.name) == ("race", 0.1, "gap of spd < 0.1 by race")
    assert isinstance(eod, GapLimit)
    assert (eod.column, eod.name) == (None, "gap of eod < 0.2")
    assert auc == AucLimit(low=0.7)
    assert isinstance(ratio, GapLimit)
    assert ratio.budget == 0.2
    assert change == SelectionChangeLimit(0.1)
    (ceiling,) = limits_of(demands(Kind.CEILING, ["selection_rate=0.4"]), "sex")
    assert isinstance(ceiling, RangeLimit)
    assert (ceiling.low, ceiling.high) == (-np.inf, 0.4)


def test_a_floor_above_its_ceiling_is_refused() -> None:
    asked = demands(Kind.FLOOR, ["tpr=0.8"]) + demands(Kind.CEILING, ["tpr=0.7"])
    with pytest.raises(UsageError, match=r"floor of tpr \(0\.8\) is above its ceiling \(0\.7\)"):
        limits_of(asked, "sex")


@pytest.mark.parametrize("method", ["identity", "thresholds", "roc", "eqodds", "caleqodds"])
def test_every_method_on_scores_takes_all_goals(
    method: str, case: library.Case, test_rows: library.Case, schema: dict[str, Any]
) -> None:
    outcome = library.debias(
        case,
        method,
        metric="spd",
        budget=0.1,
        test=test_rows,
        also={"spd@race": 0.15, "eod": 0.2},
        floors={"accuracy": 0.6, "tpr.min@race": 0.3, "di": 0.55, "auc": 0.6},
        ceilings={"selection_rate": 0.7},
        selection_rate_change=0.5,
        subgroups=False,
    )
    report = report_document(outcome)
    jsonschema.validate(report, schema)
    goals = report["goals"]["goals"]
    assert [(goal["goal"], goal["column"]) for goal in goals] == [
        ("gap of spd < 0.1", "sex"),
        ("gap of spd < 0.15", "race"),
        ("gap of eod < 0.2", "sex"),
        ("accuracy >= 0.6", None),
        ("smallest tpr of a group >= 0.3", "race"),
        ("gap of di < 0.45", "sex"),
        ("auc >= 0.6", None),
        ("selection rate <= 0.7", None),
        ("relative change of selection rate <= 0.5", None),
    ]
    assert report["goals"]["probability"] <= min(goal["probability"] for goal in goals) + 1e-12
    by_kind = {check["kind"] for check in report["evidence"]["promises"]}
    assert by_kind == {"budget", "floor", "ceiling", "selection-rate-change"}


@pytest.mark.parametrize("method", ["identity", "thresholds"])
def test_the_search_keeps_what_was_only_tested_before(method: str, place: Place) -> None:
    table = rows(800, 1)
    case = library.load(None, place.table(table), group=["sex", "race"], privileged="m", score="p")
    test = place.table(rows(400, 2), "test_rows.csv")

    def gaps(**given: Any) -> list[float]:
        outcome = library.debias(case, method, budget=0.2, test=test, subgroups=False, **given)
        decided = outcome.validation_rows.debiased.numpy()
        first = [(table[column] == value).to_numpy() for column, value in FAVORED.items()]
        return [abs(decided[here].mean() - decided[~here].mean()) for here in first]

    assert gaps()[1] > 0.1
    sex, race = gaps(also={"spd@race": 0.08})
    assert sex < 0.2
    assert race < 0.08


def test_a_demand_that_warns_is_only_tested(fairfix: Run, place: Place) -> None:
    written = place.folder / "model.debiased.pt"
    thresholds = []
    for further in ((), ("--ceiling", "selection_rate=0.2:warn")):
        words = ("identity", place.model, place.val, "--force", "--allow-trivial")
        ended = fairfix(*words, *further)
        assert ended.code == 0
        thresholds.append(json.loads(written.with_suffix(".rule.json").read_text())["threshold"])
    assert thresholds[0] == thresholds[1]
    report = json.loads(written.with_suffix(".report.json").read_text())
    assert report["goals"] is None
    assert len(report["evidence"]["promises"]) == 1


def test_goals_that_cannot_hold_name_the_one_that_binds(fairfix: Run, place: Place) -> None:
    further = ("--ceiling", "selection_rate=0.1", "--floor", "tpr=0.9")
    ended = fairfix("identity", place.model, place.val, "--test", place.test, *further)
    assert ended.code == 0
    assert "not all goals hold on the validation rows, and the nearest result is kept" in ended.err
    assert " binds (value " in ended.err
    for suffix in ("html", "md"):
        text = (place.folder / f"model.debiased.report.{suffix}").read_text()
        assert "Goals of the search" in text
        assert "all together" in text
    assert "Goals of the search" in ended.out


def test_goals_come_from_a_settings_file(fairfix: Run, place: Place) -> None:
    (place.folder / "fairfix.toml").write_text(
        'also = ["eod=0.3"]\nselection-rate-change = 0.3\n', encoding="utf-8"
    )
    assert fairfix("identity", place.model, place.val).code == 0
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    assert [goal["goal"] for goal in report["goals"]["goals"]] == [
        "gap of spd < 0.05",
        "gap of eod < 0.3",
        "relative change of selection rate <= 0.3",
    ]


def test_a_change_needs_decisions_to_change(place: Place) -> None:
    case = library.load(place.model, place.val, threshold=1.0, trust=True)
    with pytest.raises(TableError, match="No row has a positive decision today"):
        library.debias(case, "identity", selection_rate_change=0.1)


def test_a_group_without_the_needed_rows_is_named(place: Place) -> None:
    frame = rows(400, 1)
    frame.loc[:4, ["race", "label"]] = "w", 0
    case = library.load(None, place.table(frame), group=["sex", "race"], score="p", privileged="m")
    with pytest.raises(TableError, match=r"gap of eod < 0\.1 by race .*'w' has no rows with a fav"):
        library.debias(case, "identity", also={"eod@race": 0.1})


def test_the_gate_tests_a_change_against_the_baseline(fairfix: Run, place: Place) -> None:
    ended = fairfix("gate", place.model, place.test, "--selection-rate-change", "0.1")
    assert ended.code == 2
    assert "--selection-rate-change need a baseline" in ended.sentence
    asked = ("--selection-rate-change", "0.1", "--budget", "spd=0.9", "--baseline", place.model)
    ended = fairfix("gate", place.model, place.test, *asked, "--json")
    check = json.loads(ended.out)["checks"][1]
    assert (check["kind"], check["verdict"], check["value"]) == (
        "selection-rate-change",
        "certified",
        0.0,
    )


def test_a_gate_says_that_a_change_in_a_file_is_not_tested(fairfix: Run, place: Place) -> None:
    (place.folder / "fairfix.toml").write_text("selection-rate-change = 0.3\n", encoding="utf-8")
    ended = fairfix("gate", place.model, place.test, "--budget", "spd=0.9")
    assert ended.code in (0, 3)
    assert "selection-rate-change in fairfix.toml is not tested without --baseline" in ended.err


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "certified"), (1.1, "inconclusive"), (1.4, "violated")]
)
def test_a_change_is_judged_on_both_sides(
    factor: float, verdict: str, case: library.Case, place: Place
) -> None:
    from fairfix.data.problem import Problem
    from fairfix.stats.confidence import DEFAULT_CONFIDENCE
    from fairfix.workflows.gate.checks import Rows, Scored, run_check

    problem: Problem = case.problem
    ordered = problem.scores.argsort(descending=True)
    before, after = (problem.scores > 2, problem.scores > 2)
    before[ordered[:150]] = True
    after[ordered[: round(150 * factor)]] = True
    demand = Demand(Kind.SELECTION_CHANGE, "selection_rate", 0.1)
    for was, now in ((before, after), (after, before)):
        rows = Rows(problem, now, case.table.groups, Scored(problem.scores, was))
        check = run_check(demand, rows, DEFAULT_CONFIDENCE)
        assert str(check.verdict) == verdict
        assert check.interval.low <= check.value <= check.interval.high


def test_the_interval_of_a_change_covers() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        before = rng.random(300) < 0.4
        after = np.where(rng.random(300) < 0.2, rng.random(300) < 0.5, before)
        interval = selection_rate_change(before, after).interval(0.05)
        inside += interval.low <= (0.4 * 0.8 + 0.2 * 0.5) / 0.4 - 1 <= interval.high
    assert inside / 400 == pytest.approx(0.9, abs=0.04)


def test_precision_is_maximized_with_recall_kept_and_the_gate_tests_both(
    case: library.Case, test_rows: library.Case, schema: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"test": test_rows, "budget": 0.2, "subgroups": False}
    with pytest.raises(UsageError, match=r"precision alone .* floors recall=0\.6"):
        library.debias(case, "identity", performance="precision", **given)
    wanted = {"performance": "precision", "floors": {"recall": 0.2}}
    outcome = library.debias(case, "identity", **wanted, **given)
    report = report_document(outcome)
    jsonschema.validate(report, schema)
    turned = {"performance": "recall", "floors": {"precision": 0.6}}
    other = library.debias(case, "identity", **turned, **given).validation.debiased.performance
    found = outcome.validation.debiased.performance
    assert found["precision"] > other["precision"] >= 0.6
    assert other["recall"] > found["recall"] >= 0.2
    checks = library.gate(
        test_rows, floors={"precision": 0.5, "recall": 0.1}, rule=outcome.rule
    ).checks
    figures = {check.key: check.value for check in checks}
    tested = outcome.test.debiased.performance
    assert [figures["ppv"], figures["tpr"]] == [tested["precision"], tested["recall"]]
    baseline = case.companion(test_rows.table.source)
    drops = library.gate(
        test_rows, max_drops={"precision": 0.2}, baseline=baseline, rule=outcome.rule
    ).checks
    assert "precision" in {check.key for check in drops}


def test_methods_that_change_weights_take_goals(fairfix: Run, place: Place) -> None:
    assert "gda" in names()
    further = ("--also", "eod=0.2", "--floor", "auc=0.5", "--epochs", "2")
    words = ("gda", place.model, place.val, "--trust-checkpoint", "--allow-trivial")
    ended = fairfix(*words, *further)
    assert ended.code == 0
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    assert len(report["goals"]["goals"]) == 3


def test_weights_reduce_the_auc_difference_and_the_gate_tests_it(
    fairfix: Run, place: Place, schema: dict[str, Any]
) -> None:
    words = ("gda", place.model, place.val, "--trust-checkpoint", "--allow-trivial")
    asked = ("--metric", "aucd", "--budget", "0.2", "--floor", "accuracy=0.4", "--epochs", "2")
    ended = fairfix(*words, *asked)
    assert ended.code == 0
    assert "before the run: scores like today's certify" in ended.err + ended.out
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    jsonschema.validate(report, schema)
    assert report["objective"]["metric"] == "aucd"
    assert report["goals"]["goals"][0]["goal"] == "gap of aucd < 0.2"
    tested = report["results"]["test"]["debiased"]["gaps"]["aucd"]
    claim = report["evidence"]["claims"][0]
    assert {end: claim[end] for end in tested} == pytest.approx(tested)
    assert "DeLong" in claim["test"]
    debiased = place.folder / "model.debiased.pt"
    gate = fairfix("gate", debiased, place.test, "--trust-checkpoint", "--json")
    (check,) = json.loads(gate.out)["checks"]
    assert (check["key"], check["limit"]) == ("aucd", 0.2)
    audited = fairfix("audit", debiased, place.test, *asked[:4], "--trust-checkpoint", "--json")
    (claimed,) = next(iter(json.loads(audited.out)["groups"].values()))["evidence"]["claims"]
    assert (claimed["metric"], claimed["value"]) == ("aucd", pytest.approx(check["value"]))
    refused = fairfix(
        "thresholds", place.model, place.val, *asked[:4], "--trust-checkpoint", "--force"
    )
    assert refused.code == 2
    assert "method that changes weights" in refused.err


def test_weights_are_chosen_by_the_auc(fairfix: Run, place: Place, schema: dict[str, Any]) -> None:
    words = ("gda", place.model, place.val, "--trust-checkpoint", "--allow-trivial")
    asked = ("--performance", "auc", "--floor", "auc=0.5", "--epochs", "2", "--risk", "high")
    asked += ("--floor", "accuracy=0.4")
    assert fairfix(*words, *asked).code == 0
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    jsonschema.validate(report, schema)
    assert report["objective"]["performance"] == "auc"
    (point,) = report["tradeoff_curve"]
    measured = report["results"]["validation"]["debiased"]["performance"]["auc"]["value"]
    assert point["performance"] == pytest.approx(measured)
    goal = report["goals"]["goals"][1]
    assert (goal["goal"], goal["value"]) == ("auc >= 0.5", pytest.approx(measured))
    assert any("no threshold changes auc" in note for note in report["notes"])

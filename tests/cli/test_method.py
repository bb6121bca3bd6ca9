"""Every method from the command line to the decisions of the checkpoint it wrote."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from io import StringIO
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from fairfix import methods
from fairfix.methods import Method
from tests.helpers.runs import Draw, Place, Run

QUICK: dict[str, list[object]] = {
    "adversarial": ["--rounds", 2, "--critic-steps", 10, "--network-steps", 10],
    "fairif": ["--epochs", 3, "--learning-rate", 0.01],
    "gda": ["--epochs", 3, "--learning-rate", 0.01],
    "layerwise": ["--calls", 5, "--layers", "4"],
    "perturb": ["--trials", 20],
}
GOAL = ("--budget", 0.1, "--json", "--quiet")


Quick = Callable[[str], Sequence[object]]


@pytest.fixture
def quick(place: Place, draw: Draw) -> Quick:
    """The options with which a method is quick, and those that it needs."""
    train = place.table(draw(600, 4), "train.csv")

    def options(name: str) -> Sequence[object]:
        needed = ("--train", train) if methods.get(name).needs_training else ()
        return (*QUICK.get(name, ()), *needed)

    return options


@pytest.mark.parametrize("name", methods.names())
def test_what_is_reported_is_what_the_written_checkpoint_does(
    fairfix: Run, place: Place, schema: dict[str, Any], name: str, quick: Quick
) -> None:
    ended = fairfix(name, place.model, place.val, "--test", place.test, *GOAL, *quick(name))
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    jsonschema.Draft202012Validator(schema).validate(report)
    reported = report["results"]["test"]["debiased"]
    assert report["method"]["changes_weights"] == (
        report["model"]["weights_sha256_before"] != report["model"]["weights_sha256_after"]
    )
    assert report["rule"]["needs_group"] == ("threshold" not in report["rule"])

    written = place.folder / "model.debiased.pt"
    audit = json.loads(fairfix("audit", written, place.test, "--json").out)
    measured = audit["groups"]["group"]
    shared = measured.keys() & reported.keys()
    assert shared >= {"rows", "gaps", "performance", "groups"}
    assert {key: measured[key] for key in shared} == {key: reported[key] for key in shared}

    decided = pd.read_csv(StringIO(fairfix("predict", written, place.test, "-o", "-").out))
    rows = pd.read_csv(place.test)
    for group in reported["groups"]:
        here = decided["decision"][rows["group"] == int(group["name"])]
        assert here.sum() == group["tp"] + group["fp"]


@pytest.mark.parametrize("name", methods.names())
def test_the_same_again_gives_the_same_bytes(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch, name: str, quick: Quick
) -> None:
    found = []
    for folder in ("one", "two"):
        (place.folder / folder).mkdir()
        monkeypatch.chdir(place.folder / folder)
        words = (name, "../model.pt", "../val.csv", "-o", "made.pt", *quick(name))
        assert fairfix(*words, *GOAL).code == 0
        found.append(Place(place.folder / folder).files())
    assert len(found[0]) == 5 + any(path.endswith(".rule.safetensors") for path in found[0])
    assert found[0] == found[1]


# Rules that draw lots.


@pytest.mark.parametrize("id_column", ["nr", None])
def test_a_random_draw_belongs_to_the_row(
    fairfix: Run, place: Place, id_column: str | None
) -> None:
    """A row's decision is the same in any table and at any place in it."""
    rows = pd.read_csv(place.val)
    table = place.table(rows.assign(nr=[f"row {i}" for i in range(len(rows))]), "ids.csv")
    columns = ("--id", "nr") if id_column else ("--ignore", "nr")
    ended = fairfix("eqodds", place.model, table, *columns, "--metric", "eqodds", *GOAL)
    rule = json.loads(ended.out)["rule"]
    assert rule["id_column"] == id_column
    chances = [chance for steps in rule["lottery"].values() for _, chance in steps]
    assert any(0 < chance < 1 for chance in chances)

    written = place.folder / "model.debiased.pt"

    def decisions(frame: pd.DataFrame) -> pd.Series:
        part = place.table(frame, "part.csv")
        ended = fairfix("predict", written, part, *columns, "-o", "-")
        assert ended.code == 0, ended.err
        return pd.read_csv(StringIO(ended.out))["decision"].set_axis(frame.index)

    everybody = pd.read_csv(table)
    whole = decisions(everybody)
    some = decisions(everybody.sample(frac=0.3, random_state=1))
    assert (whole[some.index] == some).all()
    steps = rule["lottery"]["0"]
    scores = pd.read_csv(StringIO(fairfix("predict", written, table, *columns, "-o", "-").out))
    expected = np.zeros(len(everybody))
    for threshold, chance in reversed(steps):
        expected[scores["score"] > threshold] = chance
    here = everybody["group"] == 0
    spread = np.sqrt((expected * (1 - expected))[here].sum())
    assert abs(whole[here].sum() - expected[here].sum()) < 4 * spread


def test_a_randomized_rule_without_its_id_is_refused(fairfix: Run, place: Place) -> None:
    rows = pd.read_csv(place.val)
    table = place.table(rows.assign(nr=range(len(rows))), "ids.csv")
    fairfix("eqodds", place.model, table, "--id", "nr", "--metric", "eqodds", *GOAL)
    ended = fairfix("predict", place.folder / "model.debiased.pt", place.test)
    assert ended.code == 2
    assert "no column 'nr' (id column)" in ended.sentence


def test_group_thresholds_cannot_be_folded(fairfix: Run, place: Place) -> None:
    before = place.files()
    ended = fairfix("thresholds", place.model, place.val, "--fold-threshold")
    assert (ended.code, place.files()) == (2, before)
    said = "Group thresholds cannot be folded into one bias; remove --fold-threshold."
    assert ended.sentence == said


@pytest.mark.parametrize("method", ["auto", "blind", "repair", "thresholds"])
def test_what_cannot_be_folded_is_refused_before_the_run(
    fairfix: Run, place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Method, "run", lambda *_, **__: pytest.fail("it ran"))
    ended = fairfix(method, place.model, place.val, "--fold-threshold")
    assert ended.code == 2
    assert "cannot be folded into" in ended.sentence


def test_group_thresholds_that_cannot_be_exported_are_refused_before_auto_runs(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Method, "run", lambda *_, **__: pytest.fail("it ran"))
    export = ("--use-group", "--export", place.folder / "made.pt")
    ended = fairfix("auto", place.model, place.val, *export)
    assert ended.code == 2
    assert ended.sentence.startswith("Group thresholds can be exported only if the group is an")


def test_further_demands_are_tested_on_the_test_rows(fairfix: Run, place: Place) -> None:
    further = ("--also", "eod=0.9", "--floor", "accuracy=0.99", "--ceiling", "selection_rate=0.99")
    ended = fairfix("identity", place.model, place.val, "--test", place.test, *further)
    assert ended.code == 0
    assert "Further demands, test rows" in ended.out
    assert "warning: accuracy >= 0.99 is violated" in ended.err
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    found = [(c["demand"], c["verdict"]) for c in report["evidence"]["promises"]]
    assert found == [
        ("gap of eod < 0.9", "certified"),
        ("accuracy >= 0.99", "violated"),
        ("selection rate <= 0.99", "certified"),
    ]
    for suffix in ("html", "md"):
        text = (place.folder / f"model.debiased.report.{suffix}").read_text()
        assert "Further demands" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budget", "eod=0.1", "--metric", "spd"), "--metric is spd and --budget is of eod"),
        (("--budget", "0.1", "--budget", "eod=0.1"), "one --budget; give the others as --also."),
        (("--budget", "spd@race=0.1"), "of the first group column 'group'; write --budget spd=0.1"),
        (("--budget", "spd=0.1:warn"), "write --budget spd=0.1"),
        (("--also", "spd@race=0.1"), "'race', which is not a group column; add --group race."),
        (("--also", "0.1"), "write --also spd=0.1."),
    ],
)
def test_demands_that_a_method_cannot_use(
    fairfix: Run, place: Place, options: tuple[str, ...], said: str
) -> None:
    before = place.files()
    ended = fairfix("identity", place.model, place.val, *options)
    assert (ended.code, place.files()) == (2, before)
    assert said in ended.sentence


def test_a_budget_names_its_metric(fairfix: Run, place: Place) -> None:
    ended = fairfix("identity", place.model, place.val, "--budget", "eod=0.1", "--json")
    found = json.loads(ended.out)["objective"]
    assert (found["metric"], found["budget"]) == ("eod", 0.1)


def test_a_ratio_has_its_gap_beside_it(fairfix: Run, place: Place) -> None:
    ended = fairfix("identity", place.model, place.val, "--budget", "di=0.2")
    assert "gap of di" in ended.out
    assert "ratio di" in ended.out
    audited = " ".join(fairfix("audit", place.model, place.val, "--budget", "di=0.2").out.split())
    assert re.search(r"gap of di 0\.\d{3} \[.*\], ratio di 0\.\d{3} \[", audited)


def test_a_table_whose_name_is_not_utf_8(fairfix: Run, place: Place) -> None:
    table = place.folder / os.fsdecode(b"na\xffme.csv")
    shutil.copy(place.val, table)
    ended = fairfix("thresholds", place.model, table, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["data"]["table"] == "na\N{REPLACEMENT CHARACTER}me.csv"
    assert place.folder.joinpath("model.debiased.report.json").is_file()

"""Every method from the command line to the decisions of the checkpoint it wrote."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from fairfix import methods
from tests.helpers.runs import Place, Run

QUICK: dict[str, list[object]] = {
    "adversarial": ["--rounds", 2, "--critic-steps", 10, "--network-steps", 10],
    "gda": ["--epochs", 3, "--learning-rate", 0.01],
    "layerwise": ["--calls", 5, "--layers", "4"],
    "perturb": ["--trials", 20],
}
GOAL = ("--budget", 0.1, "--json", "--quiet")


@pytest.mark.parametrize("name", methods.names())
def test_what_is_reported_is_what_the_written_checkpoint_does(
    fairfix: Run, place: Place, schema: dict[str, Any], name: str
) -> None:
    ended = fairfix(name, place.model, place.val, "--test", place.test, *GOAL, *QUICK.get(name, ()))
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
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = []
    for folder in ("one", "two"):
        (place.folder / folder).mkdir()
        monkeypatch.chdir(place.folder / folder)
        words = (name, "../model.pt", "../val.csv", "-o", "made.pt", *QUICK.get(name, ()))
        assert fairfix(*words, *GOAL).code == 0
        found.append(Place(place.folder / folder).files())
    assert len(found[0]) == 5
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
    assert ended.sentence == "Group thresholds cannot be folded into one bias."

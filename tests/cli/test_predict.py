"""Predict: which rule decides, which columns it takes, and what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.helpers.runs import Draw, Place, Run


@torch.no_grad()
def probability(network: nn.Module, rows: pd.DataFrame) -> np.ndarray:
    features = torch.tensor(rows.filter(regex="^x").to_numpy(np.float32))
    return network(features)[:, 0].sigmoid().numpy()


@pytest.fixture
def rows(draw: Draw) -> pd.DataFrame:
    return draw(50, 7)


@pytest.fixture
def bare(place: Place, rows: pd.DataFrame) -> Path:
    """A table of features alone."""
    return place.table(rows.filter(regex="^x"), "new.csv")


def rule(**fields: Any) -> str:
    """A decision rule as it stands in a file."""
    return json.dumps({"version": 1, "operator": ">", "output": "logit", **fields})


def write_rule(place: Place, name: str = "model.rule.json", **fields: Any) -> Path:
    path = place.folder / name
    path.write_text(rule(**fields))
    return path


def decided(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"id": str})


# Which rule.


def test_without_a_rule_the_threshold_is_a_half(
    fairfix: Run, place: Place, bare: Path, rows: pd.DataFrame, trained: nn.Module
) -> None:
    ended = fairfix("predict", place.model, bare)
    assert ended.code == 0
    assert "no rule found: decisions by score > 0.5" in ended.err
    found = decided(place.folder / "new.decisions.csv")
    assert list(found) == ["score", "decision"]
    expected = probability(trained, rows)
    assert found["score"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert found["decision"].tolist() == (expected > 0.5).astype(int).tolist()
    positive = int(found["decision"].sum())
    assert ended.out == (
        f"{positive} of 50 decisions are positive; wrote {place.folder / 'new.decisions.csv'}\n"
    )


def test_the_rule_next_to_the_model(
    fairfix: Run, place: Place, bare: Path, rows: pd.DataFrame, trained: nn.Module
) -> None:
    write_rule(place, threshold=0.7)
    ended = fairfix("predict", place.model, bare)
    assert "decisions by the rule in model.rule.json" in ended.err
    found = decided(place.folder / "new.decisions.csv")
    assert found["decision"].sum() == (probability(trained, rows) > 0.7).sum()


def test_a_rule_that_is_given_comes_first(fairfix: Run, place: Place, bare: Path) -> None:
    write_rule(place, threshold=0.7)
    given = write_rule(place, "all.json", threshold=-1.0)
    ended = fairfix("predict", place.model, bare, "--rule", given)
    assert "decisions by the rule in all.json" in ended.err
    assert decided(place.folder / "new.decisions.csv")["decision"].all()


def test_the_rule_in_the_checkpoint_precedes_the_rule_file(
    fairfix: Run, place: Place, bare: Path, trained: nn.Module
) -> None:
    model = place.folder / "net.safetensors"
    save_file(trained.state_dict(), model, {"fairfix": rule(threshold=-1.0)})
    write_rule(place, "net.rule.json", threshold=1.0)
    ended = fairfix("predict", model, bare, "--arch", "mlp:relu")
    assert "decisions by the rule in net.safetensors itself" in ended.err
    assert decided(place.folder / "new.decisions.csv")["decision"].all()


def test_the_rule_determines_how_the_output_is_read(
    fairfix: Run, place: Place, rows: pd.DataFrame, trained: nn.Module
) -> None:
    """One row whose logit lies in [0, 1] looks like a probability."""
    expected = probability(trained, rows)
    rows = rows[(expected > 0.5) & (expected < 0.73)][:1]
    table = place.table(rows, "one.csv")
    write_rule(place, threshold=0.1)
    fairfix("predict", place.model, table)
    (score,) = decided(place.folder / "one.decisions.csv")["score"]
    assert score == pytest.approx(probability(trained, rows)[0], abs=1e-6)


def test_a_rule_for_the_other_label_reverses_the_scores(
    fairfix: Run, place: Place, bare: Path, rows: pd.DataFrame, trained: nn.Module
) -> None:
    fields = {"threshold": 0.6, "positive_label": "0", "output_label": "1"}
    write_rule(place, **fields)
    fairfix("predict", place.model, bare)
    found = decided(place.folder / "new.decisions.csv")
    expected = 1 - probability(trained, rows)
    assert found["score"].to_numpy() == pytest.approx(expected, abs=1e-6)
    assert found["decision"].tolist() == (expected > 0.6).astype(int).tolist()


@pytest.mark.parametrize("labeled", [True, False])
def test_without_a_rule_the_favorable_value_reverses_the_scores(
    fairfix: Run, place: Place, rows: pd.DataFrame, trained: nn.Module, labeled: bool
) -> None:
    table = place.table(rows if labeled else rows.drop(columns="label"), "new.csv")
    ended = fairfix("predict", place.model, table, "--favorable", 0)
    assert "the favorable value is '0', so the score is 1 - output" in ended.err
    found = decided(place.folder / "new.decisions.csv")
    assert found["score"].to_numpy() == pytest.approx(1 - probability(trained, rows), abs=1e-6)


# Which columns.


@pytest.mark.parametrize("drop", [[], ["label"], ["group"], ["label", "group"]])
def test_a_rule_for_everybody_needs_neither_label_nor_group(
    fairfix: Run, place: Place, rows: pd.DataFrame, drop: list[str]
) -> None:
    table = place.table(rows.drop(columns=drop), "new.csv")
    ended = fairfix("predict", place.model, table)
    assert ended.code == 0
    assert len(decided(place.folder / "new.decisions.csv")) == 50


def test_one_group_and_unknown_values_do_not_matter(
    fairfix: Run, place: Place, rows: pd.DataFrame
) -> None:
    table = place.table(rows.assign(group="new", label="unknown"), "new.csv")
    options = ("--privileged", 1, "--favorable", 1)
    assert fairfix("predict", place.model, table, *options).code == 0


@pytest.fixture
def by_group(place: Place) -> Path:
    cuts = {"a": 0.3, "b": 0.8}
    return write_rule(place, thresholds=cuts, group_column="sex")


def test_a_rule_by_group_takes_each_rows_group(
    fairfix: Run, place: Place, by_group: Path, rows: pd.DataFrame, trained: nn.Module
) -> None:
    rows = rows.drop(columns="label").rename(columns={"group": "sex"})
    rows["sex"] = rows["sex"].map({0: "a", 1: "b"})
    fairfix("predict", place.model, place.table(rows, "new.csv"))
    found = decided(place.folder / "new.decisions.csv")
    cuts = rows["sex"].map({"a": 0.3, "b": 0.8}).to_numpy(float)
    assert found["decision"].tolist() == (probability(trained, rows) > cuts).astype(int).tolist()


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("color", "a", "new.csv has no column 'sex'"),
        ("sex", "c", "The rule has no threshold for group 'c'; its groups are 'a', 'b'."),
        ("sex", "", "value"),
    ],
)
def test_a_rule_by_group_without_the_group(
    fairfix: Run,
    place: Place,
    by_group: Path,
    rows: pd.DataFrame,
    column: str,
    value: str,
    said: str,
) -> None:
    rows = rows.filter(regex="^x").assign(**{column: ["a", value] * 25})
    table = place.table(rows, "new.csv")
    before = place.files()
    ended = fairfix("predict", place.model, table, "--ignore", "color" if column != "sex" else "")
    assert (ended.code, place.files()) == (2, before)
    assert said in ended.sentence


# What is written.


def test_ids_are_written_and_never_formulas(fairfix: Run, place: Place, rows: pd.DataFrame) -> None:
    ids = ["=1+1", "+5", "-3.5e2", "@x", "-2+3", "+a", "a,b", 'say "x"', "007", "-"]
    table = place.table(rows[:10].assign(id=ids), "new.csv")
    fairfix("predict", place.model, table, "--id", "id")
    with (place.folder / "new.decisions.csv").open(newline="") as file:
        header, *written = csv.reader(file)
    assert header == ["id", "score", "decision"]
    expected = ["'=1+1", "+5", "-3.5e2", "'@x", "'-2+3", "'+a", "a,b", 'say "x"', "007", "'-"]
    assert [row[0] for row in written] == expected


def test_decisions_as_label_values(fairfix: Run, place: Place, draw: Draw) -> None:
    values = {0: "no", 1: "=yes"}
    frame = draw(600, 2)
    table = place.table(frame.assign(label=frame["label"].map(values)), "val.csv")
    fair = place.folder / "fair.pt"
    words = ("identity", place.model, table, "--favorable", "=yes", "-o", fair, "--allow-trivial")
    assert fairfix(*words).code == 0
    numbers = fairfix("predict", fair, table, "-o", "-").out
    ended = fairfix("predict", fair, table, "--label-values", "-o", "-")
    assert ended.out == numbers.replace(",1\n", ",'=yes\n").replace(",0\n", ",no\n")


def test_label_values_need_a_rule_that_knows_two(fairfix: Run, place: Place, bare: Path) -> None:
    ended = fairfix("predict", place.model, bare, "--label-values")
    assert ended.code == 2
    assert "--label-values needs a rule that knows two label values" in ended.sentence


EDGES = ["0.29999999999999", "0.3", "0.30000000000000004", "0.3000000000001", "0", "1", "1e-12"]


def test_a_written_score_gives_the_decision_in_double_precision(fairfix: Run, place: Place) -> None:
    """0.3 in float32 is above 0.3, and equals every one of the first four in float32."""
    frame = pd.DataFrame({"p": EDGES, "group": [0, 1] * 3 + [1], "label": [1, 0, 0, 1, 1, 0, 1]})
    rule = write_rule(place, "p.rule.json", threshold=0.3)
    table = place.table(frame, "scores.csv")
    written = fairfix("predict", "-", table, "--score", "p", "--rule", rule, "-o", "-").out
    rows = [line.split(",") for line in written.splitlines()[1:]]
    assert [float(score) for score, _ in rows] == [float(each) for each in EDGES]
    assert [int(decision) for _, decision in rows] == [float(each) > 0.3 for each in EDGES]
    ended = fairfix("audit", "-", table, "--score", "p", "--rule", rule, "--json")
    groups = json.loads(ended.out)["groups"]["group"]["groups"]
    assert sum(group["tp"] + group["fp"] for group in groups) == 3


def test_a_written_score_of_a_network_gives_the_decision(
    fairfix: Run, place: Place, bare: Path
) -> None:
    """The threshold is the double next to a score."""
    first = fairfix("predict", place.model, bare, "-o", "-").out.splitlines()[1:]
    scores = [float(line.partition(",")[0]) for line in first]
    for threshold in (scores[0], float(np.nextafter(scores[0], 0)), round(scores[0], 9)):
        write_rule(place, threshold=threshold)
        lines = fairfix("predict", place.model, bare, "-o", "-").out.splitlines()[1:]
        for score, decision in (line.split(",") for line in lines):
            assert int(decision) == (float(score) > threshold)


def test_only_decisions_are_on_stdout(fairfix: Run, place: Place, bare: Path) -> None:
    before = place.files()
    ended = fairfix("predict", place.model, bare, "-o", "-")
    assert (ended.code, place.files()) == (0, before)
    lines = ended.out.splitlines()
    assert (lines[0], len(lines)) == ("score,decision", 51)


def test_json_counts_what_was_written(fairfix: Run, place: Place, bare: Path) -> None:
    ended = fairfix("predict", place.model, bare, "--json", "--quiet")
    found = decided(place.folder / "new.decisions.csv")
    positive = int(found["decision"].sum())
    written = str(place.folder / "new.decisions.csv")
    counts = {"rows": 50, "positive": positive, "written": written}
    assert json.loads(ended.out) == {"schema_version": 1, **counts}
    ended = fairfix("predict", place.model, bare, "--json", "-o", "-")
    assert (ended.code, ended.sentence) == (
        2,
        "--json and -o - both write to stdout; give one of them.",
    )


def test_the_name_keeps_all_but_the_kind(fairfix: Run, place: Place, bare: Path) -> None:
    table = bare.rename(place.folder / "may.2024.csv")
    fairfix("predict", place.model, table)
    assert "may.2024.decisions.csv" in place.files()
    (place.folder / "out").mkdir()
    fairfix("predict", place.model, table, "-o", place.folder / "out")
    assert "out/may.2024.decisions.csv" in place.files()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("new.csv", "is an input and is never overwritten"),
        ("model.pt", "is an input and is never overwritten"),
        ("cuts.json", "is an input and is never overwritten"),
        ("no/where.csv", "no does not exist; create it first"),
        ("test.csv/here.csv", "test.csv is not a folder"),
    ],
)
def test_never_over_an_input(
    fairfix: Run, place: Place, bare: Path, output: str, said: str
) -> None:
    write_rule(place, "cuts.json", threshold=0.5)
    before = place.files()
    options = ("--rule", place.folder / "cuts.json", "-o", place.folder / output, "--force")
    ended = fairfix("predict", place.model, bare, *options)
    assert (ended.code, place.files()) == (2, before)
    assert said in ended.sentence


def test_an_existing_file_takes_force(fairfix: Run, place: Place, bare: Path) -> None:
    there = place.folder / "new.decisions.csv"
    there.write_text("mine")
    ended = fairfix("predict", place.model, bare)
    assert ended.sentence == (f"{there} exists; choose another path (-o) or replace it (--force).")
    assert there.read_text() == "mine"
    assert fairfix("predict", place.model, bare, "--force").code == 0
    assert len(decided(there)) == 50


# Rules that are none.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "rule.json is not valid JSON at line 1, column 2"),
        ("[]", "rule.json: the top level must be an object, not a list."),
        ("{}", "reads rules of version 1 and 2 with operator '>'"),
        ('{"version": 1, "operator": ">"}', "not a decision rule: A rule has exactly one of"),
        ('{"version": 1, "operator": ">", "threshold": 3}',
         "rule.json: threshold must be at most 1, not 3."),
        ('{"version": 1, "operator": ">", "threshold": "0.5"}', "threshold must be a number"),
        ('{"version": 1, "operator": ">", "thresholds": {}}', "thresholds must not be empty"),
        ('{"version": 1, "operator": ">", "threshold": 0.5, "threshold": 0.6}',
         "rule.json: the top level has the key 'threshold' twice; remove one."),
        ('{"version": 1, "operator": ">", "threshold": NaN}', "must be a finite number, not NaN"),
        ('{"version": 1, "operator": ">", "threshold": 0.5, "output": "two logits"}',
         "The rule is for a network that gives 'two logits', but this one gives 'logit'"),
        ('{"version": 1, "operator": ">", "threshold": 0.5, "output": "odds"}',
         "The rule is for a network that gives 'odds'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["predict", "audit"])
def test_a_broken_rule(fairfix: Run, place: Place, command: str, text: str, said: str) -> None:
    path = place.folder / "rule.json"
    path.write_text(text)
    before = place.files()
    ended = fairfix(command, place.model, place.val, "--rule", path)
    assert (ended.code, place.files()) == (2, before)
    assert said in ended.sentence


@pytest.mark.parametrize("command", ["predict", "audit", "inspect"])
def test_a_rule_for_other_weights(fairfix: Run, place: Place, command: str) -> None:
    write_rule(place, threshold=0.5, weights_sha256="0" * 64)
    tables = [] if command == "inspect" else [place.val]
    ended = fairfix(command, place.model, *tables)
    assert ended.code == 2
    assert "was made for other weights than those in model.pt" in ended.sentence


def test_no_rule_file(fairfix: Run, place: Place, bare: Path) -> None:
    ended = fairfix("predict", place.model, bare, "--rule", place.folder / "no.json")
    assert ended.code == 2
    assert "no.json" in ended.sentence


def test_a_table_that_is_not_there(fairfix: Run, place: Place) -> None:
    (place.folder / "new.decisions.csv").write_text("mine")
    ended = fairfix("predict", place.model, place.folder / "new.csv", "--force")
    assert ended.code == 2
    assert ended.sentence == f"{place.folder / 'new.csv'} does not exist."


def test_a_rule_for_a_reference_group_applies_to_the_values_of_the_table(
    fairfix: Run, place: Place, draw: Draw
) -> None:
    def races(n: int, seed: int) -> pd.DataFrame:
        rows = draw(n, seed)
        names = rows["x3"].gt(0).map({True: "Black", False: "Asian"})
        return rows.assign(group=names.where(rows["group"] == 0, "White"))

    val, test = place.table(races(900, 5), "val3.csv"), races(600, 6)
    options = ("--reference", "White", "--test", place.table(test, "t3.csv"))
    ended = fairfix("thresholds", place.model, val, *options, "--seed", 1)
    assert ended.code == 0, ended.err
    debiased = place.folder / "model.debiased.pt"
    decided = {}
    for name, rows in (
        ("all", test),
        ("others", test[test["group"] != "White"].replace("Asian", "Inuit")),
        ("two", test[test["group"] != "Asian"]),
    ):
        out = place.folder / f"{name}.csv"
        ended = fairfix("predict", debiased, place.table(rows, f"{name}.in.csv"), "-o", out)
        assert ended.code == 0, ended.err
        decided[name] = pd.read_csv(out)["decision"].to_numpy()
    assert (decided["others"] == decided["all"][test["group"] != "White"]).all()
    assert (decided["two"] == decided["all"][test["group"] != "Asian"]).all()
    table = place.table(test)
    audited = json.loads(fairfix("audit", debiased, table, "--json").out)["groups"]["group"]
    assert [g["name"] for g in audited["groups"]] == ["not White", "White"]
    pairs = audited["to_reference"]
    assert (pairs["reference"], [g["name"] for g in pairs["gaps"]]) == ("White", ["Asian", "Black"])
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    assert report["results"]["test"]["debiased"]["to_reference"] == pairs
    assert report["results"]["validation"]["debiased"]["to_reference"] is None
    pages = [(place.folder / f"model.debiased.report.{end}").read_text() for end in ("md", "html")]
    shown = (fairfix("audit", debiased, table).out, *pages)
    assert ["each other group minus White" in page for page in shown] == [True] * 3
    assert [page.count("Asian") > 0 for page in shown] == [True] * 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--output-label", "0"), "--output-label is '0', but the rule in fair.rule.json was made"),
        (("--favorable", "0"), "--favorable is '0', but the rule in fair.rule.json was made"),
        (("--privileged", "0"), "--privileged is '0', but the rule in fair.rule.json was made"),
        (("--privileged", "x"), "made with '1'; leave out --privileged"),
        (("--group", "x1"), "--group is 'x1', but the rule in fair.rule.json was made for 'group'"),
    ],
)
def test_values_that_contradict_the_rule_are_refused(
    fairfix: Run, place: Place, options: tuple[str, ...], said: str
) -> None:
    fair = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", fair).code == 0
    assert said in fairfix("predict", fair, place.test, *options).sentence
    if options[0] in ("--output-label", "--favorable"):
        assert said in fairfix("gate", fair, place.test, *options, "--budget", "spd=0.9").sentence


def test_equal_values_are_accepted_and_one_row_needs_no_label(fairfix: Run, place: Place) -> None:
    fair = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", fair).code == 0
    one = place.table(pd.read_csv(place.test).head(1), "one.csv")
    same = ("--favorable", "1.0", "--output-label", 1, "--group", "group", "--privileged", 1)
    ended = fairfix("predict", fair, one, *same, "-o", "-")
    assert ended.code == 0, ended.err
    assert "labels are left out" not in ended.err
    assert "privileged" not in ended.err


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".jsonl"])
def test_the_suffix_decides_the_format(fairfix: Run, place: Place, suffix: str) -> None:
    rows = pd.read_csv(place.test)
    rows["nr"] = [f"0{number}" for number in range(len(rows))]
    table = place.table(rows)
    output = place.folder / f"decisions{suffix}"
    command = ("predict", place.model, table, "--trust-checkpoint", "--id", "nr")
    assert fairfix(*command, "-o", output).code == 0
    if suffix == ".parquet":
        found = pd.read_parquet(output)
    elif suffix == ".jsonl":
        found = pd.read_json(output, lines=True, dtype={"nr": str}, precise_float=True)
    else:
        found = pd.read_csv(output, dtype={"nr": str})
    assert list(found["nr"]) == list(rows["nr"])
    assert list(found["decision"]) == list((found["score"] > 0.5).astype(int))
    plain = fairfix(*command, "-o", "-").out.splitlines()
    assert [float(line.split(",")[1]) for line in plain[1:]] == pytest.approx(
        list(found["score"]), abs=1e-14
    )

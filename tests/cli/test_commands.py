"""The commands on a small network: what goes where, and that it is the same everywhere."""

from __future__ import annotations

import json

import jsonschema
import pandas as pd
import pytest
import torch

from tests.helpers.runs import Draw, Place, Run

WRITTEN = [
    "model.debiased.pt",
    "model.debiased.report.html",
    "model.debiased.report.json",
    "model.debiased.report.md",
]
WRITTEN += ["model.debiased.rule.json"]
GOAL = ("--budget", 0.1)


def new_files(place: Place) -> list[str]:
    return sorted(place.files().keys() - {"model.pt", "val.csv", "test.csv"})


# A debiasing command.


def test_prune_shows_before_and_after_and_writes_its_files(fairfix: Run, place: Place) -> None:
    ended = fairfix("prune", place.model, place.val, "--test", place.test, *GOAL)
    assert ended.code == 0
    assert new_files(place) == WRITTEN
    lines = ended.out.splitlines()
    assert (
        lines[0]
        == "prune for statistical parity difference; group-blind: no input holds the group."
    )
    assert "Test rows (held out): 800" in lines
    assert "Validation rows: 1200" in lines
    states = [line.split()[0] for line in lines if line.endswith((" yes", " no"))]
    assert states == ["unmodified", "retuned", "debiased"] * 2
    assert lines[-2:] == [
        f"wrote {place.folder / 'model.debiased.pt'}",
        "wrote its .rule.json, .report.json, .report.md and .report.html",
    ]
    assert max(map(len, lines[:-2])) <= 80


def test_notes_and_warnings_go_to_stderr(fairfix: Run, place: Place) -> None:
    words = ("identity", place.model, place.val, "--test", place.test, "--budget", 0.001)
    ended = fairfix(*words, "--allow-trivial", "--verbose")
    assert ended.code == 0
    *notes, last = ended.err.splitlines()
    read, power, *warnings = notes
    assert read == "fairfix: the network's output is read as the logit of '1' (detected)"
    assert power.startswith("fairfix: before the run: the test rows are too few for decisions like")
    assert all(note.startswith("fairfix: warning: ") for note in warnings)
    assert last.startswith("fairfix: Try ")
    assert "warning:" not in ended.out


def test_json_is_one_valid_document_and_equals_the_report(
    fairfix: Run, place: Place, schema: dict
) -> None:
    ended = fairfix("prune", place.model, place.val, "--test", place.test, "--json", *GOAL)
    assert ended.code == 0
    printed = json.loads(ended.out)
    jsonschema.Draft202012Validator(schema).validate(printed)
    assert printed == json.loads((place.folder / "model.debiased.report.json").read_text())
    rule = json.loads((place.folder / "model.debiased.rule.json").read_text())
    assert printed["rule"] == rule | {"report_sha256": None}
    assert printed["method"]["name"] == "prune"
    assert printed["data"]["test_table"] == "test.csv"
    assert printed["data"]["holdout"] is None
    command = printed["made_by"]["command"]
    assert command.startswith(f"fairfix prune {place.model} {place.val} --test ")


def test_quiet_prints_nothing(fairfix: Run, place: Place) -> None:
    ended = fairfix("prune", place.model, place.val, "--quiet", *GOAL)
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert new_files(place) == WRITTEN


def test_quiet_json_is_the_document_alone(fairfix: Run, place: Place) -> None:
    ended = fairfix("identity", place.model, place.val, "--quiet", "--json", "--budget", 0.3)
    assert ended.err == ""
    assert json.loads(ended.out)["method"]["name"] == "identity"


def test_a_holdout_is_reported(fairfix: Run, place: Place) -> None:
    ended = fairfix("prune", place.model, place.val, "--holdout", 0.25, "--json", *GOAL)
    data = json.loads(ended.out)["data"]
    assert (data["validation_rows"], data["test_rows"]) == (900, 300)
    assert (data["holdout"], data["test_table"], data["test_table_sha256"]) == (0.25, None, None)


def test_the_markdown_names_both_row_sets_and_the_rule(fairfix: Run, place: Place) -> None:
    fairfix("prune", place.model, place.val, "--test", place.test, *GOAL)
    text = (place.folder / "model.debiased.report.md").read_text()
    rule = json.loads((place.folder / "model.debiased.rule.json").read_text())
    assert text.startswith(
        "# fairfix prune: statistical parity difference (spd)\n\nCertified. On 800"
    )
    assert f"score > {rule['threshold']!r}" in text
    assert "group-blind: no input holds the group" in text
    assert "| test rows (held out) | debiased |" in text
    assert "| validation rows | debiased |" in text
    assert rule["weights_sha256"] in text


def test_before_is_at_the_threshold_in_use_today(fairfix: Run, place: Place) -> None:
    ended = fairfix("identity", place.model, place.val, "--threshold", 0, "--json")
    original = json.loads(ended.out)["results"]["test"]["unmodified"]
    assert [group["threshold"] for group in original["groups"]] == [0.0, 0.0]
    assert original["trivial"]
    assert original["performance"]["balanced_accuracy"]["value"] == 0.5


def test_a_seed_of_zero_beats_the_one_in_the_file(fairfix: Run, place: Place) -> None:
    (place.folder / "fairfix.toml").write_text("seed = 5\n")
    with_file = fairfix("identity", place.model, place.val, "--json", "--force")
    assert json.loads(with_file.out)["made_by"]["seed"] == 5
    with_option = fairfix("identity", place.model, place.val, "--seed", 0, "--json", "--force")
    assert json.loads(with_option.out)["made_by"]["seed"] == 0


def test_more_than_two_groups(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(900, 4)
    rows["group"] += rows["x3"].gt(0.5)
    table = place.table(rows.replace({"group": {0: "[red]", 1: "b\x1b[31m", 2: "c|d`"}}))
    ended = fairfix(
        "identity", place.model, table, "-o", place.folder / "three.pt", "--allow-trivial"
    )
    assert ended.code == 0
    assert "[red]" in ended.out
    assert "\x1b" not in ended.out + ended.err
    report = json.loads((place.folder / "three.report.json").read_text())
    assert report["data"]["privileged"] is None
    assert sorted(report["data"]["groups"]) == ["[red]", "b\x1b[31m", "c|d`"]
    gaps = report["results"]["test"]["debiased"]["gaps"].values()
    assert all(gap["value"] is None or gap["value"] >= 0 for gap in gaps)
    text = (place.folder / "three.report.md").read_text()
    assert r"| c\|d\` |" in text
    assert r"| \[red\] |" in text


def test_names_are_shown_as_they_are_written(fairfix: Run, place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 4).replace({"group": {0: "ü", 1: "é"}}), "[bold]val.csv")
    output = place.folder / "[red]out.pt"
    words = ("identity", place.model, table, "-o", output, "--allow-trivial")
    ended = fairfix(*words, "--privileged", "é")
    assert f"wrote {output}" in ended.out.splitlines()
    ended = fairfix(*words, "--force", "--json")
    assert ended.out.isascii()  # whatever the locale, the document can be printed
    assert set(json.loads(ended.out)["data"]["groups"]) == {"ü", "é"}
    assert "ü" in (place.folder / "[red]out.report.json").read_text(encoding="utf-8")


def test_notes_of_both_tables_are_printed(fairfix: Run, place: Place, draw: Draw) -> None:
    for name, seed in (("val.csv", 2), ("test.csv", 3)):
        draw(300, seed).to_csv(place.folder / name)  # with the row index
    ended = fairfix("identity", place.model, place.val, "--test", place.test)
    said = [line for line in ended.err.splitlines() if line.endswith("as a saved row index")]
    assert [line.startswith("fairfix: test.csv: ") for line in said] == [False, True]


def test_a_row_of_weight_w_counts_as_w_rows(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(300, 6).assign(times=lambda t: 1 + t.index % 3)
    weighted = place.table(rows, "weighted.csv")
    repeated = place.table(rows.loc[rows.index.repeat(rows["times"])], "repeated.csv")
    one = json.loads(fairfix("audit", place.model, weighted, "--weight", "times", "--json").out)
    other = json.loads(fairfix("audit", place.model, repeated, "--ignore", "times", "--json").out)
    for key in ("gaps", "performance"):
        for name, figure in one["groups"]["group"][key].items():
            alike = other["groups"]["group"][key][name]
            assert figure["value"] == pytest.approx(alike["value"])
            # Copies of a row tell no more than the row with a weight.
            width = alike["high"] - alike["low"]
            assert figure["high"] - figure["low"] == pytest.approx(width, rel=0.15)


def test_rows_without_a_group_can_be_a_group(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(600, 6)
    table = place.table(rows.assign(group=rows["group"].where(rows.index % 5 > 0)))
    ended = fairfix("identity", place.model, table, "--missing-group", "keep", "--json")
    assert json.loads(ended.out)["data"]["groups"] == ["0", "1", "(missing)"]
    assert "120 rows without a value form the group '(missing)'" in ended.err


def test_scores_alone_need_no_model(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(600, 5)
    table = place.table(rows.assign(p=(rows["x0"] * 0.2 + 0.4).clip(0, 1)), "scores.csv")
    ended = fairfix("identity", "-", table, "--score", "p", "--budget", 0.2)
    assert ended.code == 0
    names = [f"scores.debiased.report.{end}" for end in ("html", "json", "md")]
    assert new_files(place) == ["scores.csv", *names, "scores.debiased.rule.json"]
    report = json.loads((place.folder / names[1]).read_text())
    assert report["model"] is None
    assert report["rule"]["weights_sha256"] is None
    cut = report["rule"]["threshold"]
    rule = place.folder / "scores.debiased.rule.json"
    fairfix("predict", "-", table, "--score", "p", "--rule", rule)
    decided = pd.read_csv(place.folder / "scores.decisions.csv")["decision"]
    assert decided.tolist() == (pd.read_csv(table)["p"] > cut).astype(int).tolist()


def test_the_threshold_is_folded_into_the_weights(fairfix: Run, place: Place) -> None:
    options = ("--test", place.test, "--budget", 0.2, "--json", "--force")
    plain = json.loads(fairfix("prune", place.model, place.val, *options).out)
    folded = json.loads(fairfix("prune", place.model, place.val, "--fold-threshold", *options).out)
    assert plain["rule"]["threshold"] != 0.5
    assert folded["rule"]["threshold"] == 0.5
    counts = [
        [
            [g[c] for c in ("tp", "fp", "fn", "tn")]
            for g in report["results"][rows]["debiased"]["groups"]
        ]
        for report in (plain, folded)
        for rows in ("test", "validation")
    ]
    assert counts[:2] == counts[2:]


# Looking.

TWO_INPUTS = """
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.codes, self.last = torch.nn.Embedding(3, 2), torch.nn.Linear(3, 1)

    def forward(self, x, c):
        h = torch.cat([x, self.codes(c).flatten(1)], 1)
        return {"p": self.last(h), "h": h}
"""


@pytest.mark.parametrize("way", [["--json"], []])
def test_inspect_describes_a_checkpoint(fairfix: Run, place: Place, way: list[str]) -> None:
    ended = fairfix("inspect", place.model, *way)
    assert ended.code == 0
    facts = ["model.pt", "12", "4.weight", "logit"]
    assert [fact for fact in facts if fact not in ended.out] == []
    if way:
        found = json.loads(ended.out)
        assert found["prunable_units"] == {"0": 12, "2": 8}
        assert found["parameters"] == 4 * 12 + 12 + 12 * 8 + 8 + 8 + 1
        assert (found["inputs"], found["architecture_known"], found["rule"]) == (4, True, None)
        assert found["tensors"][0] == {"name": "0.weight", "shape": [12, 4], "dtype": "float32"}


def test_inspect_on_a_table_shows_what_the_network_takes_and_gives(
    fairfix: Run, place: Place
) -> None:
    rows = place.table(pd.read_csv(place.val).drop(columns=["label", "group"]))
    found = json.loads(fairfix("inspect", place.model, rows, "--json").out)
    assert found["prunable_units"] == {"0": 12, "2": 8}
    assert (found["inputs"], found["unknown"].keys()) == ({"features": [4]}, {"rule"})
    on_rows = found["on_rows"]
    assert on_rows["inputs"] == [{"name": "features", "dtype": "float32", "shape": [64, 4]}]
    modules = {each["name"]: each for each in on_rows["modules"]}
    assert modules["2"] == {
        "name": "2",
        "type": "Linear",
        "shapes": [[64, 8]],
        "parameters": 12 * 8 + 8,
    }
    assert modules["3"]["parameters"] == 0
    (output,) = on_rows["outputs"]
    assert output == {"name": "", "dtype": "float32", "shape": [64, 1], "scores": True}
    assert on_rows["output"] == "logit"
    shown = fairfix("inspect", place.model, rows).out
    lines = [line.split() for line in shown.splitlines()]
    assert ["2", "Linear", "[64,", "8]", "104", "8"] in lines


def test_inspect_takes_options_of_a_table_only_with_one(fairfix: Run, place: Place) -> None:
    ended = fairfix("inspect", place.model, "--data-spec", "model.data.json")
    assert ended.code == 2
    assert ended.sentence.startswith("--data-spec has an effect only with a table; name the table")
    assert "leave out --score" in fairfix("inspect", place.model, place.val, "--score", "x0").err


def test_inspect_on_a_table_reads_each_input_of_a_data_spec(fairfix: Run, place: Place) -> None:
    (place.folder / "net.py").write_text(TWO_INPUTS)
    torch.save(
        {
            "codes.weight": torch.ones(3, 2),
            "last.weight": torch.ones(1, 3),
            "last.bias": torch.ones(1),
        },
        place.folder / "two.pt",
    )
    spec = {
        "version": 2,
        "inputs": {
            "x": {"kind": "numbers", "entries": [{"column": "x0"}]},
            "c": {"kind": "codes", "columns": [{"column": "group", "categories": ["0", "1"]}]},
        },
    }
    (place.folder / "two.data.json").write_text(json.dumps(spec))
    arch = ["--arch", f"{place.folder / 'net.py'}:Network"]
    ended = fairfix("inspect", place.folder / "two.pt", place.val, *arch, "--json")
    on_rows = json.loads(ended.out)["on_rows"]
    assert [(each["name"], each["dtype"], each["shape"]) for each in on_rows["inputs"]] == [
        ("x", "float32", [64, 1]),
        ("c", "int64", [64, 1]),
    ]
    assert [(each["name"], each["shapes"]) for each in on_rows["modules"]] == [
        ("codes", [[64, 1, 2]]),
        ("last", [[64, 1]]),
    ]
    assert [(o["name"], o["scores"]) for o in on_rows["outputs"]] == [("p", True), ("h", False)]


def test_inspect_shows_the_rule_next_to_the_model(fairfix: Run, place: Place) -> None:
    fairfix("prune", place.model, place.val, *GOAL)
    ended = fairfix("inspect", place.folder / "model.debiased.pt", "--json")
    rule = json.loads((place.folder / "model.debiased.rule.json").read_text())
    assert json.loads(ended.out)["rule"] == rule


def test_an_audit_of_the_result_gives_the_figures_reported(fairfix: Run, place: Place) -> None:
    made = fairfix("prune", place.model, place.val, "--test", place.test, "--json", *GOAL)
    reported = json.loads(made.out)["results"]["test"]["debiased"]
    ended = fairfix("audit", place.folder / "model.debiased.pt", place.test, "--json", *GOAL)
    audited = json.loads(ended.out)["groups"]["group"]
    shared = audited.keys() & reported.keys()
    assert shared >= {"rows", "gaps", "performance", "groups"}
    assert {key: audited[key] for key in shared} == {key: reported[key] for key in shared}
    assert audited["evidence"]["claims"] == json.loads(made.out)["evidence"]["claims"]
    assert "decisions by the rule in model.debiased.rule.json" in ended.err
    before = json.loads(made.out)["results"]["test"]["unmodified"]
    audit = json.loads(fairfix("audit", place.model, place.test, "--json").out)
    found = audit["groups"]["group"]
    assert {key: found[key] for key in shared} == {key: before[key] for key in shared}

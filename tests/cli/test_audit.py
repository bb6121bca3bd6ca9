"""Audit: figures counted by hand, several group columns, and the cuts it goes by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.helpers.runs import Place, Run

# label, sex, town, score; at a cut of 0.5 the decisions are 1 1 0 0 1 1 1 0 0 1
TABLE = """label,sex,town,p
1,f,a,0.9
0,f,a,0.6
1,f,b,0.3
0,f,b,0.5
1,m,a,0.8
1,m,a,0.7
0,m,b,0.6
1,m,b,0.4
0,m,c,0.1
1,m,c,0.55
"""
SCORES = ("--score", "p", "--group", "sex", "--privileged", "m")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(TABLE)
    return path


def write_rule(path: Path, **fields: Any) -> Path:
    path.write_text(json.dumps({"version": 1, "operator": ">", **fields}))
    return path


def audited(fairfix: Run, *arguments: object) -> dict[str, Any]:
    ended = fairfix("audit", *arguments, "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def values(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: figure["value"] for key, figure in figures.items()}


def test_every_figure_of_a_tiny_table(fairfix: Run, table: Path) -> None:
    sex = audited(fairfix, "-", table, *SCORES)["groups"]["sex"]
    women, men = sex["groups"]
    counts = ("name", "rows", "tp", "fp", "fn", "tn")
    assert [women[c] for c in counts] == ["f", 4, 1, 1, 1, 1]
    assert [men[c] for c in counts] == ["m", 6, 3, 1, 1, 1]
    assert {name: (rate["value"], rate["n"]) for name, rate in women["rates"].items()} == {
        "selection_rate": (0.5, 4),
        "tpr": (0.5, 2),
        "fpr": (0.5, 2),
        "accuracy": (0.5, 4),
        "ppv": (0.5, 2),
        "fdr": (0.5, 2),
        "for": (0.5, 2),
        "fnr": (0.5, 2),
    }
    of_men = {name: (rate["value"], rate["n"]) for name, rate in men["rates"].items()}
    assert of_men["selection_rate"] == (pytest.approx(4 / 6), 6)
    assert of_men["tpr"] == (0.75, 4)
    assert of_men["fpr"] == (0.5, 2)
    # Exact limits of 2 of 4 at 90 % (Clopper-Pearson): beta quantiles.
    exact = women["rates"]["selection_rate"]
    assert exact["low"] == pytest.approx(stats.beta.ppf(0.05, 2, 3))
    assert exact["high"] == pytest.approx(stats.beta.ppf(0.95, 3, 2))
    assert sex["evidence"]["claims"][0]["verdict"] == "too few rows"
    assert values(sex["gaps"]) == pytest.approx(
        {
            "spd": 0.5 - 4 / 6,
            "eod": -0.25,
            "fprd": 0.0,
            "aod": -0.125,
            "aaod": 0.125,
            "eqodds": 0.25,
            "ad": 0.5 - 4 / 6,
            "di": 0.5 / (4 / 6),
            "ppvd": 1 / 2 - 3 / 4,
            "fdrd": 1 / 2 - 1 / 4,
            "ford": 0.0,
            "fnrd": 1 / 2 - 1 / 4,
            # Pairs of a favorable and an unfavorable row in the right order: 2 of 4, 6 of 8.
            "aucd": 2 / 4 - 6 / 8,
        }
    )
    assert women["auc"]["value"] == 0.5
    # Over all: 6 favorable, 4 positive of them; 4 unfavorable, 2 positive of them.
    assert values(sex["performance"]) == pytest.approx(
        {
            "balanced_accuracy": (4 / 6 + 2 / 4) / 2,
            "accuracy": 0.6,
            "f1": 2 * 4 / (2 * 4 + 2 + 2),
            "precision": 4 / 6,
            "recall": 4 / 6,
            # 0.9 0.8 0.7 before all of 0.6 0.6 0.5 0.1; 0.55 before two; 0.4 and 0.3 before one.
            "auc": (3 * 4 + 2 + 1 + 1) / 24,
        }
    )


def test_rows_at_the_threshold_are_negative(fairfix: Run, table: Path) -> None:
    sex = audited(fairfix, "-", table, *SCORES, "--threshold", 0.8)["groups"]["sex"]
    assert [group["tp"] + group["fp"] for group in sex["groups"]] == [1, 0]
    everybody = audited(fairfix, "-", table, *SCORES, "--threshold", 0)["groups"]["sex"]
    assert everybody["trivial"]
    assert [group["tp"] + group["fp"] for group in everybody["groups"]] == [4, 6]


def test_every_group_column_is_audited(fairfix: Run, table: Path, schema: dict[str, Any]) -> None:
    found = audited(fairfix, "-", table, *SCORES, "--group", "town")
    jsonschema.Draft202012Validator({"$ref": "#/$defs/audit", "$defs": schema["$defs"]}).validate(
        found
    )
    assert list(found["groups"]) == ["sex", "town"]
    town = found["groups"]["town"]
    assert [group["name"] for group in town["groups"]] == ["a", "b", "c"]
    assert [group["tp"] + group["fp"] for group in town["groups"]] == [4, 1, 1]
    assert town["gaps"]["spd"]["value"] == 1 - 1 / 4
    assert town["gaps"]["fprd"]["value"] == 1.0
    (crossed,) = found["intersections"]
    assert crossed["columns"] == ["sex", "town"]
    assert {g["name"]: g["rows"] for g in crossed["groups"]} == {
        "sex=f & town=a": 2,
        "sex=f & town=b": 2,
        "sex=m & town=a": 2,
        "sex=m & town=b": 2,
        "sex=m & town=c": 2,
    }
    assert len(crossed["too_small"]) == 5
    assert found["rows"] == 10


def test_the_terminal_shows_every_figure_and_column(fairfix: Run, table: Path) -> None:
    ended = fairfix("audit", "-", table, *SCORES, "--group", "town")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert "By sex" in lines
    assert "sex: f minus m" in lines
    assert "town: largest minus smallest" in lines
    (shown,) = (line.split() for line in lines[: lines.index("By town")] if " eod " in line)
    assert shown[:5] == ["equal", "opportunity", "difference", "eod", "-0.250"]
    assert "too few rows" in ended.out
    assert ended.err == "fairfix: decisions by score > 0.5 (no rule found)\n"
    assert fairfix("audit", "-", table, *SCORES, "--quiet").out == ""


@pytest.mark.parametrize("columns", [80, 100])
def test_figures_stay_whole_on_a_narrow_terminal(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    found = audited(fairfix, place.model, place.val)["groups"]["group"]
    out = fairfix("audit", place.model, place.val).out
    lines = out.splitlines()
    assert max(map(len, lines)) <= columns
    table = [line.split() for line in lines[lines.index("By group") :]]
    for group in found["groups"]:
        for name, words in (("tpr", "true positive rate"), ("selection_rate", "positive")):
            rate = group["rates"][name]
            figures = [f"{rate[end]:.3f}" for end in ("value", "low", "high")]
            assert [group["name"], *words.split(), *figures, str(rate["n"])] in table
    for part in found["calibration"]:
        base = part["base_rate"]
        assert f"[{base['low']:.3f}, {base['high']:.3f}]" in out


def test_a_trivial_rule_is_never_plainly_certified(fairfix: Run, place: Place) -> None:
    lines = fairfix("audit", place.model, place.val, "--threshold", 0).out.splitlines()
    assert lines[0] == "group: certified, by a trivial rule"


def test_thresholds_that_differ_are_shown(fairfix: Run, table: Path) -> None:
    cuts = {"f": 0.2, "m": 0.65}
    path = write_rule(table.with_name("rule.json"), thresholds=cuts, group_column="sex")
    lines = fairfix("audit", "-", table, *SCORES, "--rule", path).out.splitlines()
    assert [line.split() for line in lines if " threshold " in line] == [
        ["f", "threshold", "0.2", "4"],
        ["m", "threshold", "0.65", "6"],
    ]
    assert " threshold " not in fairfix("audit", "-", table, *SCORES).out


def test_a_metric_without_rows_is_null(fairfix: Run, table: Path) -> None:
    table.write_text("\n".join(line for line in TABLE.splitlines() if line[:3] != "1,f"))
    sex = audited(fairfix, "-", table, *SCORES)["groups"]["sex"]
    nothing = dict.fromkeys(("value", "low", "high"))
    assert sex["groups"][0]["rates"]["tpr"] == {**nothing, "n": 0}
    assert [sex["gaps"][key] for key in ("eod", "aod", "eqodds", "aucd")] == [nothing] * 4
    assert sex["gaps"]["fprd"]["value"] == 0.0


def test_a_trivial_rule_gives_a_warning(fairfix: Run, table: Path) -> None:
    ended = fairfix("audit", "-", table, *SCORES, "--threshold", 1)
    assert (
        "fairfix: warning: the rule is trivial: nearly all rows get the same decision" in ended.err
    )


# Rules.


def test_thresholds_by_group(fairfix: Run, table: Path) -> None:
    cuts = {"f": 0.2, "m": 0.65}
    path = write_rule(table.with_name("rule.json"), thresholds=cuts, group_column="sex")
    found = audited(fairfix, "-", table, *SCORES, "--group", "town", "--rule", path)
    assert [group["threshold"] for group in found["groups"]["sex"]["groups"]] == [0.2, 0.65]
    assert [g["tp"] + g["fp"] for g in found["groups"]["sex"]["groups"]] == [4, 2]
    assert [group["threshold"] for group in found["groups"]["town"]["groups"]] == [None] * 3
    assert [g["tp"] + g["fp"] for g in found["groups"]["town"]["groups"]] == [4, 2, 0]
    ended = fairfix("audit", "-", table, "--score", "p", "--group", "town", "--rule", path)
    assert (ended.code, ended.sentence) == (
        2,
        "The rule has thresholds by 'sex'; name it with --group.",
    )


def test_a_rule_for_the_other_label_is_refused(fairfix: Run, table: Path) -> None:
    labels = {"positive_label": "0", "output_label": "0"}
    path = write_rule(table.with_name("rule.json"), threshold=0.5, **labels)
    ended = fairfix("audit", "-", table, *SCORES, "--rule", path)
    assert (ended.code, ended.sentence) == (
        2,
        "The favorable value of the rule is '0', but here it is '1'; give --favorable 0.",
    )


def test_a_threshold_on_the_command_line_replaces_the_rule(fairfix: Run, place: Place) -> None:
    path = write_rule(place.folder / "model.rule.json", threshold=0.9, output="logit")
    assert audited(fairfix, place.model, place.val)["rule"]["threshold"] == 0.9
    given = audited(fairfix, place.model, place.val, "--threshold", 0)
    assert given["rule"]["threshold"] == 0.0
    ended = fairfix("audit", place.model, place.val, "--threshold", 0.5, "--rule", path)
    assert (ended.code, ended.sentence) == (
        2,
        "--rule and --threshold exclude each other; give one.",
    )


def test_the_rule_determines_how_the_output_is_read(fairfix: Run, place: Place) -> None:
    """Also where the network's last operation tells otherwise."""
    network = torch.load(place.model, weights_only=False)
    rows = pd.read_csv(place.val)
    logit = network(torch.tensor(rows.filter(like="x").to_numpy(np.float32)))[:, 0].numpy()
    table = place.table(rows[(logit > 0) & (logit < 1)])
    write_rule(place.folder / "model.rule.json", threshold=0.6, output="prob")
    ended = fairfix("audit", place.model, table, "--json")
    positive = sum(g["tp"] + g["fp"] for g in json.loads(ended.out)["groups"]["group"]["groups"])
    inside = logit[(logit > 0) & (logit < 1)]
    assert positive == int((inside > 0.6).sum())
    assert "the rule reads the network's output as prob of '1'" in ended.err


def test_the_output_is_read_alike_on_every_slice_of_a_table(fairfix: Run, place: Place) -> None:
    """Also where all logits of a slice lie in [0, 1]."""
    network = torch.load(place.model, weights_only=False)
    rows = pd.read_csv(place.val)
    logit = network(torch.tensor(rows.filter(like="x").to_numpy(np.float32)))[:, 0].numpy()
    inside = (logit > 0) & (logit < 1)
    ended = fairfix("audit", place.model, place.table(rows[inside]), "--json", "-v")
    groups = json.loads(ended.out)["groups"]["group"]["groups"]
    assert sum(g["tp"] + g["fp"] for g in groups) == inside.sum()
    assert "the network's output is read as the logit of '1' (detected)" in ended.err


def test_without_labels_only_figures_of_decisions_are_defined(
    fairfix: Run, tmp_path: Path, schema: dict[str, Any]
) -> None:
    labeled = pd.DataFrame({"sex": list("ffmmm") * 24, "town": list("01") * 60})
    labeled["p"] = np.random.default_rng(0).uniform(size=120).round(3)
    labeled["label"] = labeled["p"].gt(0.4).astype(int)
    labeled.to_csv(tmp_path / "labeled.csv", index=False)
    labeled.drop(columns="label").to_csv(tmp_path / "rows.csv", index=False)
    options = (*SCORES, "--group", "town")
    expected = audited(fairfix, "-", tmp_path / "labeled.csv", *options)
    page = tmp_path / "page.html"
    ended = fairfix("audit", "-", tmp_path / "rows.csv", *options, "--json", "--html", page)
    assert "without a column 'label', figures that need labels are undefined" in ended.err
    labeled.assign(label="").to_csv(tmp_path / "empty.csv", index=False)
    empty = fairfix("audit", "-", tmp_path / "empty.csv", *options, "--json")
    assert "without values in 'label', figures that need labels are undefined" in empty.err
    assert json.loads(empty.out)["groups"] == json.loads(ended.out)["groups"]
    document = json.loads(ended.out)
    jsonschema.Draft202012Validator({"$ref": "#/$defs/audit", "$defs": schema["$defs"]}).validate(
        document
    )
    for column, found in document["groups"].items():
        known = expected["groups"][column]
        defined = {key for key, figure in found["gaps"].items() if figure["value"] is not None}
        assert defined == {"spd", "di"}
        assert all(found["gaps"][key] == known["gaps"][key] for key in defined)
        assert set(values(found["performance"]).values()) == {None}
        assert (found["calibration"], found["evidence"]) == ([], known["evidence"])
        for group, same in zip(found["groups"], known["groups"], strict=True):
            assert group["rates"].pop("selection_rate") == same["rates"]["selection_rate"]
            assert set(values(group["rates"]).values()) == {None}
            assert {group[key] for key in ("tp", "fp", "fn", "tn")} == {None}
    assert document["intersections"][0]["gaps"]["spd"] is not None
    assert document["threshold_sweep"] is None
    assert "Calibration" not in page.read_text()


@pytest.mark.parametrize(
    ("command", "options", "needs"),
    [
        ("audit", ("--metric", "eod"), "eod"),
        ("gate", ("--budget", "eod=0.1"), "eod"),
        ("gate", ("--budget", "spd=0.9", "--floor", "accuracy=0.5"), "accuracy"),
    ],
)
def test_what_needs_labels_is_refused_without(
    fairfix: Run, tmp_path: Path, command: str, options: tuple[str, ...], needs: str
) -> None:
    (tmp_path / "rows.csv").write_text("sex,p\n" + "f,0.2\nm,0.7\n" * 50)
    ended = fairfix(command, "-", tmp_path / "rows.csv", *SCORES, *options)
    assert ended.code == 2
    assert ended.sentence == (
        f"rows.csv has no labels, which {needs} needs; name the label column with --label, or use "
        "a metric of decisions alone: spd, di."
    )


@pytest.mark.parametrize("table", ["y,sex,p\n1,f,.2\n0,m,.7\n", "Label,sex,p\n1,f,.2\n0,m,.7\n"])
def test_a_label_column_that_is_named_or_nearly_so_must_exist(
    fairfix: Run, tmp_path: Path, table: str
) -> None:
    (tmp_path / "rows.csv").write_text(table)
    named = ("--label", "outcome") if table.startswith("y") else ()
    ended = fairfix("audit", "-", tmp_path / "rows.csv", *SCORES, *named)
    assert ended.code == 2
    assert "(label column)" in ended.sentence
    ended = fairfix("thresholds", "-", tmp_path / "rows.csv", *SCORES)
    assert "has no column 'label' (label column)" in ended.sentence


def test_subgroups_are_not_searched_on_request(
    fairfix: Run, table: Path, schema: dict[str, Any]
) -> None:
    document = audited(fairfix, "-", table, *SCORES, "--no-subgroups")
    jsonschema.Draft202012Validator({"$ref": "#/$defs/audit", "$defs": schema["$defs"]}).validate(
        document
    )
    assert document["subgroups"] is None
    assert fairfix("audit", "-", table, *SCORES, "--no-subgroups").code == 0


def test_one_row_of_a_label_gives_undefined_figures_and_no_python_warning(
    fairfix: Run, tmp_path: Path
) -> None:
    rows = [f"{int(i == 0)},{'fm'[i % 2]},{i / 100}" for i in range(80)]
    (tmp_path / "rows.csv").write_text("\n".join(["label,sex,p", *rows]))
    ended = fairfix("audit", "-", tmp_path / "rows.csv", *SCORES, "--metric", "eod", "--json")
    assert json.loads(ended.out)["groups"]["sex"]["gaps"]["eod"]["value"] is None
    assert "Warning" not in ended.err


def test_other_models_decide_by_their_own_rules(fairfix: Run, place: Place) -> None:
    old = place.folder / "old.pt"
    old.write_bytes(place.model.read_bytes())
    write_rule(place.folder / "old.rule.json", threshold=0.7, output="logit")
    document = audited(fairfix, place.model, place.val, "--compare", old, "--no-subgroups")
    alone = audited(fairfix, old, place.val, "--no-subgroups")
    (found,) = document["compared"]
    assert found["model"] == "old.pt"
    ((column, measured),) = found["groups"].items()
    assert measured["gaps"] == alone["groups"][column]["gaps"]
    assert measured["gaps"] != document["groups"][column]["gaps"]
    shown = fairfix("audit", place.model, place.val, "--compare", old, "--no-subgroups").out
    assert "old.pt" in shown.partition("Models on the same rows")[2]
    assert document["compared"] != alone["compared"] == []

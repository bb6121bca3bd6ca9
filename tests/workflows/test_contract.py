"""The contract of a rule: columns are found by name, and its files belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fairfix as library
from fairfix.errors import UsageError
from tests.helpers.runs import Draw, Place, Run

SHUFFLED = ["x2", "group", "x0", "x3", "label", "x1"]


@pytest.fixture
def debiased(fairfix: Run, place: Place) -> Path:
    """A debiased network with its rule and report."""
    path = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", path).code == 0
    return path


def rule_of(model: Path) -> dict[str, Any]:
    rule: dict[str, Any] = json.loads(model.with_suffix(".rule.json").read_text())
    return rule


def shuffled(place: Place) -> Path:
    return place.table(pd.read_csv(place.test)[SHUFFLED], "shuffled.csv")


def test_the_contract_of_a_rule(debiased: Path) -> None:
    rule = rule_of(debiased)
    assert rule["version"] == 2
    assert rule["contract"] == {
        "features": [{"name": f"x{i}", "dtype": "number"} for i in range(4)],
        "roles": {
            "label": "label",
            "groups": ["group"],
            "id": None,
            "weight": None,
            "score": None,
            "cluster": None,
            "ignored": [],
        },
        "label_values": ["0", "1"],
        "group_values": {"group": ["0", "1"]},
        "missing_group": "error",
        "output_name": None,
        "data_spec": None,
        "arch": None,
        "arch_args": None,
        "checkpoint_key": None,
    }


def test_the_rule_keeps_which_network_of_a_checkpoint_it_decides_with(
    fairfix: Run, place: Place
) -> None:
    weights = torch.tensor([[0.6, 1.0, 1.0, 0.5]])
    networks = {"student": -weights, "teacher": weights}
    state = {key: {"weight": w, "bias": torch.tensor([-0.45])} for key, w in networks.items()}
    torch.save(state, place.folder / "two.pt")
    arch, fair = ("--arch", "mlp:relu"), place.folder / "two.fair.pt"
    words = ("thresholds", place.folder / "two.pt", place.val, *arch, "-o", fair)
    assert fairfix(*words, "--checkpoint-key", "teacher").code == 0
    assert rule_of(fair)["contract"]["checkpoint_key"] == "teacher"
    given = fairfix("predict", fair, place.test, *arch, "--checkpoint-key", "teacher", "-o", "-")
    again = fairfix("predict", fair, place.test, *arch, "-o", "-")
    assert (again.code, again.out) == (0, given.out), again.err
    assert fairfix("audit", fair, place.test, *arch).code == 0
    compared = ("--baseline", fair, "--max-drop", 0.5)
    assert fairfix("gate", fair, place.test, *arch, *compared).code != 2


def test_predict_finds_columns_by_name(fairfix: Run, place: Place, debiased: Path) -> None:
    one = fairfix("predict", debiased, place.test, "-o", "-").out
    assert fairfix("predict", debiased, shuffled(place), "-o", "-").out == one


def test_audit_and_gate_find_columns_by_name(fairfix: Run, place: Place, debiased: Path) -> None:
    for words in (["audit", "--json"], ["gate", "--json", "--budget", "spd=0.9"]):
        command, *options = words
        one, other = (
            json.loads(fairfix(command, debiased, table, *options).out)
            for table in (place.test, shuffled(place))
        )
        different = {key for key in one if one[key] != other[key]}
        assert different == {"table", "table_sha256"}


def test_tuned_rows_are_found_in_a_shuffled_table(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    table = place.table(pd.read_csv(place.val)[SHUFFLED])
    ended = fairfix("gate", debiased, table)
    assert ended.code == 2
    assert "equal a row that the rule was tuned on" in ended.sentence


def test_a_test_table_in_another_order(fairfix: Run, place: Place) -> None:
    results = []
    for table in (place.test, shuffled(place)):
        words = ("thresholds", place.model, place.val, "--test", table, "--json", "--force")
        results.append(json.loads(fairfix(*words).out)["results"])
    assert results[0] == results[1]


def test_debiasing_again_takes_the_names_of_the_rule(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    words = ("identity", debiased, "--json", "-o", place.folder / "again.pt", "--force")
    table = place.table(pd.read_csv(place.val)[SHUFFLED])
    one, other = (json.loads(fairfix(*words, each).out) for each in (place.val, table))
    assert one["results"] == other["results"]


@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
@pytest.mark.parametrize("change", [{"x2": "X2"}, None])
def test_a_renamed_or_missing_column_is_named(
    fairfix: Run, place: Place, debiased: Path, command: str, change: dict[str, str] | None
) -> None:
    frame = pd.read_csv(place.test)
    frame = frame.drop(columns="x2") if change is None else frame.rename(columns=change)
    ended = fairfix(command, debiased, place.table(frame))
    assert ended.code == 2
    assert "has no column 'x2' (feature)" in ended.sentence


@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
def test_a_new_column_is_noted_and_not_read(
    fairfix: Run, place: Place, debiased: Path, command: str
) -> None:
    frame = pd.read_csv(place.test)
    frame.insert(0, "fresh", "text")
    ended = fairfix(command, debiased, place.table(frame), "--json")
    assert ended.code != 2
    assert "1 column is new and not read: 'fresh'" in ended.err


def test_features_that_contradict_the_rule(fairfix: Run, place: Place, debiased: Path) -> None:
    ended = fairfix("audit", debiased, place.test, "--features", "x1,x0,x2,x3")
    assert ended.code == 2
    assert "--features names other features, or another order, than the rule" in ended.sentence
    assert fairfix("audit", debiased, place.test, "--features", "x0,x1,x2,x3").code == 0


def test_a_case_that_was_read_in_another_order_is_refused(place: Place, debiased: Path) -> None:
    bare = place.folder / "bare"
    bare.mkdir()
    shutil.copy(debiased, bare / "fair.pt")
    rule = debiased.with_suffix(".rule.json")
    table = shuffled(place)
    case = library.load(bare / "fair.pt", table)
    with pytest.raises(UsageError, match="read with other features or another order"):
        library.gate(case, {"spd": 0.9}, rule=rule)
    by_name = library.load(bare / "fair.pt", table, rule=rule)
    first = library.load(debiased, place.test)
    assert torch.equal(by_name.problem.scores, first.problem.scores)


def test_the_rule_inside_a_checkpoint_has_the_contract(
    fairfix: Run, place: Place, trained: nn.Module
) -> None:
    model, fair = place.folder / "net.safetensors", place.folder / "fair.safetensors"
    save_file(trained.state_dict(), model)
    arch = ("--arch", "mlp:relu")
    assert fairfix("thresholds", model, place.val, *arch, "-o", fair).code == 0
    one = fairfix("predict", fair, place.test, "-o", "-", *arch).out
    fair.with_suffix(".rule.json").unlink()
    assert fairfix("predict", fair, shuffled(place), "-o", "-", *arch).out == one


@pytest.mark.parametrize("command", ["predict", "audit", "gate", "inspect"])
def test_names_in_the_metadata_of_a_checkpoint(
    fairfix: Run, place: Place, trained: nn.Module, command: str
) -> None:
    model = place.folder / "net.safetensors"
    save_file(trained.state_dict(), model, {"feature_names": json.dumps(["x0", "x1", "x2", "x3"])})
    if command == "inspect":
        return
    words = {"predict": ["-o", "-"], "audit": ["--json"], "gate": ["--json", "--budget", "spd=0.5"]}
    results = []
    for table in (place.test, shuffled(place)):
        ended = fairfix(command, model, table, "--arch", "mlp:relu", *words[command])
        assert "features are the 4 whose names net.safetensors has" in ended.err
        results.append(ended.out.replace(table.name, ""))
    if command == "predict":
        assert results[0] == results[1]
    else:
        key = "groups" if command == "audit" else "checks"
        assert json.loads(results[0])[key] == json.loads(results[1])[key]


# What need not be repeated.


@pytest.fixture
def table_with_roles(place: Place, draw: Draw) -> Path:
    def with_roles(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.rename(columns={"label": "hired", "group": "sex"})
        frame["hired"] = frame["hired"].map({0: "no", 1: "yes"})
        frame["sex"] = frame["sex"].map({0: "f", 1: "m"})
        return frame.assign(w=1.5, nr=[f"r{i}" for i in range(len(frame))], note="text").assign(
            team=range(len(frame))
        )

    place.table(with_roles(draw(800, 2)), "val_roles.csv")
    return place.table(with_roles(draw(800, 3)), "test_roles.csv")


@pytest.fixture
def with_roles(fairfix: Run, place: Place, table_with_roles: Path) -> Path:
    model = place.folder / "roles.pt"
    words = (
        "identity",
        place.model,
        place.folder / "val_roles.csv",
        "-o",
        model,
        "--allow-trivial",
    )
    roles = (
        *("--label", "hired", "--favorable", "yes", "--group", "sex", "--privileged", "m"),
        *("--weight", "w", "--id", "nr", "--ignore", "note", "--cluster", "team"),
    )
    assert fairfix(*words, *roles).code == 0
    return model


@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
def test_roles_need_not_be_repeated(
    fairfix: Run, with_roles: Path, table_with_roles: Path, command: str
) -> None:
    ended = fairfix(command, with_roles, table_with_roles, "--json")
    assert ended.code in (0, 1, 3), ended.err
    assert "new" not in ended.err


def test_predict_needs_only_what_decides(
    fairfix: Run, place: Place, with_roles: Path, table_with_roles: Path
) -> None:
    full = fairfix("predict", with_roles, table_with_roles, "-o", "-").out
    bare = place.table(pd.read_csv(table_with_roles).filter(regex="^x"), "bare.csv")
    ended = fairfix("predict", with_roles, bare, "-o", "-")
    assert ended.code == 0
    assert full.startswith("nr,score,decision\n")
    assert [line.partition(",")[2] for line in full.splitlines()[1:]] == ended.out.splitlines()[1:]


def test_the_architecture_is_a_hint_and_never_run(
    fairfix: Run, place: Place, trained: nn.Module
) -> None:
    model, fair = place.folder / "bare.pt", place.folder / "fair.pt"
    torch.save(trained.state_dict(), model)
    words = ("thresholds", model, place.val, "--arch", "mlp:relu", "-o", fair)
    assert fairfix(*words).code == 0
    ended = fairfix("predict", fair, place.test)
    assert ended.code == 2
    assert "Its rule was made with --arch mlp:relu" in ended.sentence


def test_the_data_spec_is_part_of_the_contract(
    fairfix: Run, place: Place, trained: nn.Module
) -> None:
    features = [{"column": f"x{i}", "mean": 0.1 * i, "scale": 2.0} for i in range(4)]
    spec = place.folder / "model.data.json"
    spec.write_text(json.dumps({"version": 1, "features": features}))
    fair = place.folder / "fair.pt"
    assert fairfix("thresholds", place.model, place.val, "-o", fair).code == 0
    one = fairfix("predict", fair, place.test, "-o", "-").out
    for path in place.folder.glob("*.data.json"):
        path.unlink()
    assert fairfix("predict", fair, shuffled(place), "-o", "-").out == one
    features[0]["scale"] = 3.0
    other = place.folder / "fair.data.json"
    other.write_text(json.dumps({"version": 1, "features": features}))
    ended = fairfix("predict", fair, place.test, "-o", "-")
    assert ended.code == 2
    assert "The data spec is not the one that the rule was made with" in ended.sentence


def test_the_privileged_group_of_the_rule(
    fairfix: Run, with_roles: Path, table_with_roles: Path
) -> None:
    """Unknown groups are named, and the sign of gaps stays."""
    frame = pd.read_csv(table_with_roles)
    frame["sex"] = frame["sex"].map({"f": "m", "m": "f"})
    frame["hired"] = frame["hired"].map({"no": "yes", "yes": "no"})
    frame.to_csv(table_with_roles.with_name("swapped.csv"), index=False)
    ended = fairfix("audit", with_roles, table_with_roles.with_name("swapped.csv"), "--json")
    names = [g["name"] for g in json.loads(ended.out)["groups"]["sex"]["groups"]]
    assert names == ["f", "m"]
    frame.loc[0, "sex"] = "x"
    frame.to_csv(table_with_roles.with_name("third.csv"), index=False)
    ended = fairfix("audit", with_roles, table_with_roles.with_name("third.csv"))
    assert ended.code == 2
    assert "unknown value 'x'; the known ones are 'f', 'm'" in ended.sentence


# Version 1.


def test_a_rule_of_version_1_takes_columns_by_position(
    fairfix: Run, place: Place, debiased: Path
) -> None:
    rule = {"version": 1, "operator": ">", "threshold": 0.5, "output": "logit"}
    debiased.with_suffix(".rule.json").write_text(json.dumps(rule))
    for command in ("predict", "audit"):
        ended = fairfix(command, debiased, place.test)
        assert ended.code == 0
        assert "warning: columns by position" in ended.err
    ended = fairfix("gate", debiased, place.test, "--budget", "spd=0.5")
    assert ended.code == 2
    assert "takes columns by position (version 1)" in ended.sentence


# Files that belong together.


@pytest.fixture
def other(fairfix: Run, place: Place) -> Path:
    """The same network with another rule."""
    path = place.folder / "other.pt"
    words = ("thresholds", place.model, place.val, "--budget", "0.1", "-o", path)
    assert fairfix(*words).code == 0
    return path


@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
@pytest.mark.parametrize("kind", ["rule", "report"])
def test_a_mixed_set_of_files_is_refused(
    fairfix: Run, place: Place, debiased: Path, other: Path, kind: str, command: str
) -> None:
    shutil.copy(other.with_suffix(f".{kind}.json"), debiased.with_suffix(f".{kind}.json"))
    ended = fairfix(command, debiased, place.test)
    assert ended.code == 2
    assert (
        "fair.report.json is not the report of the rule in fair.rule.json: the files are not of "
        "one run"
    ) in ended.sentence


@pytest.mark.parametrize("command", ["predict", "audit", "gate"])
def test_a_rule_that_was_changed_is_refused(
    fairfix: Run, place: Place, debiased: Path, command: str
) -> None:
    path = debiased.with_suffix(".rule.json")
    rule = rule_of(debiased)
    rule["budget"] = 0.5
    path.write_text(json.dumps(rule))
    ended = fairfix(command, debiased, place.test)
    assert ended.code == 2
    assert "fair.report.json is not the report of the rule" in ended.sentence


def test_the_rule_beside_a_checkpoint_is_the_one_inside_it(
    fairfix: Run, place: Place, trained: nn.Module
) -> None:
    model = place.folder / "net.safetensors"
    save_file(trained.state_dict(), model)
    for name, budget in (("fair", 0.05), ("other", 0.1)):
        path = place.folder / f"{name}.safetensors"
        words = ("thresholds", model, place.val, "--arch", "mlp:relu", "--budget", budget)
        assert fairfix(*words, "-o", path).code == 0
    for kind in ("rule", "report"):
        shutil.copy(place.folder / f"other.{kind}.json", place.folder / f"fair.{kind}.json")
    fair = place.folder / "fair.safetensors"
    ended = fairfix("predict", fair, place.test, "--arch", "mlp:relu")
    assert ended.code == 2
    assert "fair.rule.json is not the rule inside fair.safetensors" in ended.sentence


@pytest.mark.parametrize(
    ("command", "change", "said"),
    [
        ("predict", {"report_sha256": None}, "has no hash of its report"),
        ("audit", {"contract": None}, "has no contract"),
        ("gate", {"weights_sha256": None}, "does not say which weights it belongs to"),
        ("predict", {"features": []}, "belongs to weights, but has no features"),
        ("predict", {"group_column": "x0"}, "has thresholds by 'x0', which is not among"),
        ("predict", {"group_column": None}, "has thresholds by None, which is not among"),
        ("predict", {"label_values": ["2", "3"]}, "has the favorable label '1', which is not"),
    ],
)
def test_a_rule_without_a_part_is_refused(
    fairfix: Run, place: Place, debiased: Path, command: str, change: dict[str, Any], said: str
) -> None:
    rule = rule_of(debiased)
    whole = change.keys() <= rule.keys()
    changed = rule | (change if whole else {"contract": rule["contract"] | change})
    debiased.with_suffix(".rule.json").write_text(json.dumps(changed))
    debiased.with_suffix(".report.json").unlink()
    ended = fairfix(command, debiased, place.test)
    assert ended.code == 2
    assert f"fair.rule.json {said}" in ended.sentence
    assert "so it was changed after it was written" in ended.sentence


@pytest.mark.parametrize("command", ["predict", "gate"])
def test_what_belongs_to_a_rule_is_not_used_without_it(
    fairfix: Run, place: Place, debiased: Path, command: str
) -> None:
    debiased.with_suffix(".rule.json").unlink()
    ended = fairfix(command, debiased, place.test)
    assert ended.code == 2
    assert "fair.report.json belongs to a rule, but fair.rule.json is missing" in ended.sentence
    debiased.with_suffix(".report.json").rename(place.folder / "away")
    assert "no rule found" in fairfix("predict", debiased, place.test).err


@pytest.mark.parametrize("moved", [False, True])
def test_a_link_to_a_model_has_its_rule(
    fairfix: Run, place: Place, debiased: Path, moved: bool
) -> None:
    link = place.folder / "deployed" / "current.pt" if moved else place.folder / "current.pt"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(debiased)
    ended = fairfix("predict", link, place.test, "--output", "-")
    assert "decisions by the rule in fair.rule.json" in ended.err
    assert ended.out == fairfix("predict", debiased, place.test, "--output", "-").out
    ended = fairfix("gate", link, place.test, "--budget", "spd=0.9", "--json")
    assert json.loads(ended.out)["unchecked"] == []


def test_a_rule_serves_without_its_report(fairfix: Run, place: Place, debiased: Path) -> None:
    debiased.with_suffix(".report.json").unlink()
    assert fairfix("predict", debiased, place.test).code == 0

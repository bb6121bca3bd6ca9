"""Options from a settings file, as the commands take them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.helpers.paths import ROOT
from tests.helpers.runs import Draw, Place, Run

SAMPLES = ROOT / "sample_models"


@pytest.fixture
def settings(place: Place) -> Path:
    return place.folder / "fairfix.toml"


def report(fairfix: Run, place: Place, *options: object, command: str = "prune") -> dict[str, Any]:
    given = (*options, "--json", "--force", "--allow-trivial")
    ended = fairfix(command, place.model, place.val, *given)
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


@pytest.mark.parametrize("model", ["loh/model.pt", "zafar/model.safetensors", "loh_raw/model.pth"])
def test_three_words_suffice_with_a_settings_file(fairfix: Run, tmp_path: Path, model: str) -> None:
    shutil.copytree(SAMPLES, tmp_path, dirs_exist_ok=True)
    path = tmp_path / model
    ended = fairfix("prune", path, path.with_name("val.csv"), "--allow-trivial", "-v")
    assert ended.code == 0
    assert f"fairfix: settings from {path.with_name('fairfix.toml')}" in ended.err.splitlines()
    assert "Test rows (held out): 4000" in ended.out


def test_the_command_line_wins(fairfix: Run, place: Place, settings: Path) -> None:
    settings.write_text('metric = "eod"\nbudget = 0.2\ntest = "test.csv"\n')
    found = report(fairfix, place)
    assert (found["objective"]["metric"], found["objective"]["budget"]) == ("eod", 0.2)
    assert found["data"]["test_table"] == "test.csv"
    found = report(fairfix, place, "--metric", "spd", "--holdout", 0.5)
    assert (found["objective"]["metric"], found["objective"]["budget"]) == ("spd", 0.2)
    assert (found["data"]["test_table"], found["data"]["holdout"]) == (None, 0.5)


def test_a_table_of_a_command_holds_for_it_alone(
    fairfix: Run, place: Place, settings: Path
) -> None:
    settings.write_text(
        'metric = "eod"\n[prune]\nmetric = "spd"\nmax-units = 3\nscore = "gradient"\n'
    )
    found = report(fairfix, place)
    assert found["objective"]["metric"] == "spd"
    assert found["method"]["options"]["max_units"] == 3
    assert found["method"]["options"]["score"] == "gradient"
    assert report(fairfix, place, command="identity")["objective"]["metric"] == "eod"
    found = report(fairfix, place, "--max-units", 2, "--score", "removal")
    assert found["method"]["options"]["max_units"] == 2
    assert found["method"]["options"]["score"] == "removal"


def test_a_score_column_in_the_file_is_not_the_score_option_of_prune(
    fairfix: Run, place: Place, settings: Path
) -> None:
    settings.write_text('score = "p"\n')
    assert report(fairfix, place)["method"]["options"]["score"] == "removal"
    ended = fairfix("audit", place.model, place.val)
    assert ended.code == 2
    assert "come from a model or from a score column" in ended.sentence


@pytest.mark.parametrize(
    ("budget", "options", "expected"),
    [
        ('"spd=0.2"', [], 0.2),
        ('["eod=0.1", "spd=0.3"]', [], 0.3),
        ('["eod=0.1", "spd=0.3"]', ["--metric", "eod"], 0.1),
        ('["eod=0.1"]', ["--budget", "0.4"], 0.4),
    ],
)
def test_a_budget_for_each_metric(
    fairfix: Run, place: Place, settings: Path, budget: str, options: list[str], expected: float
) -> None:
    settings.write_text(f"budget = {budget}\n")
    assert report(fairfix, place, *options)["objective"]["budget"] == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('budget = "eod=0.1"', "No budget for spd is given, only eod=0.1; add --budget."),
        (
            'budget = "spd=little"',
            "A budget must be KEY=NUMBER",
        ),
        ("[pruen]\nseed = 1", "unknown command 'pruen'; did you mean 'prune'?"),
        ("[prune]\nper-stpe = 1", "[prune] has no option 'per_stpe'; did you mean "),
        ('[prune]\nmax-units = "3"', "max_units must be of type int, not '3'."),
        ('[prune]\nscore = "p"', "score must be removal or gradient, not 'p'."),
        ("budgte = 1", "has an unknown key 'budgte'; did you mean 'budget'?"),
        ("trust-checkpoint = true", "trust-checkpoint is allowed only on the command line."),
        ("budget = ", "line 1: not valid TOML"),
    ],
)
def test_an_error_in_the_file(
    fairfix: Run, place: Place, settings: Path, text: str, said: str
) -> None:
    settings.write_text(text + "\n")
    before = place.files()
    ended = fairfix("prune", place.model, place.val)
    assert (ended.code, place.files()) == (2, before)
    assert said in ended.sentence


# What a file may not do.


@pytest.fixture
def code(place: Place, trained: nn.Sequential) -> Path:
    """An architecture in a Python file, for the bare weights that stand in for the model."""
    torch.save(trained.state_dict(), place.model)
    path = place.folder / "net.py"
    path.write_text(
        "from pathlib import Path\n"
        "from torch import nn\n"
        "Path(__file__).with_name('ran').touch()\n"
        "def net(width):\n"
        "    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 8), nn.ReLU(),\n"
        "                         nn.Linear(8, 1))\n"
    )
    return path


def test_code_named_by_a_file_is_refused(
    fairfix: Run, place: Place, settings: Path, code: Path
) -> None:
    settings.write_text('arch = "net.py:net"\narch-args = { width = 12 }\n')
    ended = fairfix("prune", place.model, place.val)
    assert ended.code == 2
    assert "would run code from a file" in ended.sentence
    assert "--trust-checkpoint" in ended.sentence
    assert not code.with_name("ran").exists()
    assert fairfix("prune", place.model, place.val, "--trust-checkpoint").code == 0
    assert code.with_name("ran").exists()


def test_code_named_on_the_command_line_is_run(
    fairfix: Run, place: Place, settings: Path, code: Path
) -> None:
    settings.write_text('arch = "elsewhere.py:net"\n')
    options = ("--arch", f"{code}:net", "--arch-args", '{"width": 12}')
    assert fairfix("prune", place.model, place.val, *options).code == 0


@pytest.mark.parametrize("command", ["inspect", "prune"])
def test_an_inferred_architecture_needs_no_trust(
    fairfix: Run, place: Place, settings: Path, code: Path, command: str
) -> None:
    settings.write_text('arch = "mlp:relu"\n')
    tables = [] if command == "inspect" else [place.val]
    ended = fairfix(command, place.model, *tables)
    assert ended.code == 0
    assert "relu" in ended.err
    assert not code.with_name("ran").exists()


def test_a_privileged_value_in_a_file_belongs_to_the_group_of_that_file(
    fairfix: Run, place: Place, draw: Draw
) -> None:
    rows = draw(400, 2).assign(town=lambda t: t["x0"].gt(0).map({True: "north", False: "south"}))
    table = place.table(rows)
    (place.folder / "fairfix.toml").write_text('group = "group"\nprivileged = 1\nignore = "town"\n')
    ended = fairfix("audit", place.model, table, "--group", "town", "--ignore", "group", "--json")
    assert ended.code == 0, ended.err
    assert list(json.loads(ended.out)["groups"]) == ["town"]


def test_names_with_commas_in_list_options(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(400, 2)
    expected = json.loads(fairfix("audit", place.model, place.table(rows), "--json").out)
    names = {"x0": "age_(18, 25]", "x1": 'say "hi"'}
    table = place.table(rows.assign(note="a").rename(columns={**names, "note": "a, note"}))
    listed = [*(name for name in rows if name not in ("label", "group"))]
    features = ",".join(
        {**names, "x0": '"age_(18, 25]"', "x1": '"say ""hi"""'}.get(n, n) for n in listed
    )
    for options in (("--ignore", '"a, note"'), ("--features", features)):
        ended = fairfix("audit", place.model, table, *options, "--json")
        assert ended.code == 0, ended.err
        assert json.loads(ended.out)["groups"] == expected["groups"]
    ended = fairfix("audit", place.model, table, "--ignore", '"a, note')
    assert "quote a name that contains a comma" in ended.sentence


def test_a_third_label_value_needs_a_decision(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(400, 2)
    expected = json.loads(fairfix("audit", place.model, place.table(rows), "--json").out)
    rows.loc[rows["label"].eq(0) & rows["x0"].gt(0), "label"] = 2
    table = place.table(rows)
    ended = fairfix("audit", place.model, table, "--favorable", 1)
    assert "name the favorable one with --favorable" in ended.sentence
    for value in ("0,2", "others"):
        ended = fairfix(
            "audit", place.model, table, "--favorable", 1, "--unfavorable", value, "--json"
        )
        assert json.loads(ended.out)["groups"] == expected["groups"]


@pytest.mark.parametrize("margin", ["\u0660.01", "0.0_1", "wide"])
def test_a_margin_is_a_plain_number(fairfix: Run, place: Place, margin: str) -> None:
    ended = fairfix("thresholds", place.model, place.val, "--margin", margin)
    assert ended.sentence == f"--margin must be auto or a number, not {margin!r}."


def test_architecture_arguments_may_not_be_too_deep(fairfix: Run, place: Place) -> None:
    ended = fairfix("audit", place.model, place.val, "--arch-args", "[" * 100_000)
    assert (ended.code, "--arch-args is not JSON" in ended.sentence) == (2, True)

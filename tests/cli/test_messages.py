"""What commands say: the table at fault by name, foreign code in a file, why a fact is unknown."""

from __future__ import annotations

import argparse
import datetime
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

import fairfix as library
from fairfix._utils.text import shorten
from fairfix.errors import TableError, UsageError
from tests.helpers.runs import Draw, Place, Run

# Foreign code in a file.


class Payload:
    """Makes a folder when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def in_training(network: nn.Sequential, foreign: dict[str, Any], path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": network.state_dict(), **foreign}, path)


def in_legacy(network: nn.Sequential, foreign: dict[str, Any], path: Path) -> None:
    training = {"state_dict": network.state_dict(), **foreign}
    torch.save(training, path, _use_new_zipfile_serialization=False)


def in_lightning(network: nn.Sequential, foreign: dict[str, Any], path: Path) -> None:
    state = {"pytorch-lightning_version": "2.5.0", "state_dict": network.state_dict()}
    torch.save({**state, "hyper_parameters": foreign}, path)


def in_module(network: nn.Sequential, foreign: dict[str, Any], path: Path) -> None:
    made = nn.Sequential(*network)
    made.remembered = foreign  # type: ignore[assignment]
    torch.save(made, path)


@pytest.mark.parametrize("write", [in_training, in_legacy, in_lightning, in_module])
@pytest.mark.parametrize("command", ["inspect", "audit", "prune", "predict"])
def test_foreign_code_is_named_and_not_run(
    fairfix: Run, place: Place, trained: nn.Sequential, write: Any, command: str
) -> None:
    marker = place.folder / "ran"
    foreign = {"args": argparse.Namespace(a=1), "day": datetime.date(2024, 1, 1), "device":
               torch.device("cpu"), "by": Payload(marker)}  # fmt: skip
    write(trained, foreign, place.model)
    tables = [] if command == "inspect" else [place.val]
    ended = fairfix(command, place.model, *tables, "--arch", "mlp:relu")
    assert (ended.code, marker.exists()) == (0, False), ended.err
    said = (
        "fairfix: The file also has objects of argparse.Namespace, datetime.date, "
        f"{os.mkdir.__module__}.mkdir: not run, and kept unchanged."
    )
    assert ended.err.splitlines().count(said) == 1
    if command == "prune":
        written = (place.folder / "model.debiased.pt").read_bytes()
        assert b"mkdir" in written


def test_files_of_torch_alone_hold_nothing_foreign(
    fairfix: Run, place: Place, trained: nn.Sequential
) -> None:
    optimizer = torch.optim.Adam(trained.parameters()).state_dict()
    in_training(trained, {"optimizer": optimizer, "d": torch.device("cpu")}, place.model)
    assert "also holds" not in fairfix("inspect", place.model).err
    torch.save(nn.DataParallel(trained), place.model)
    assert "also holds" not in fairfix("inspect", place.model).err


# Why a fact is unknown.


def facts(ended: Any) -> str:
    return " ".join(ended.out.split())


def test_a_network_that_runs_on_any_number_of_inputs(fairfix: Run, place: Place) -> None:
    mean = nn.Unflatten(1, (1, -1)), nn.AdaptiveAvgPool1d(1), nn.Flatten()
    torch.save(nn.Sequential(*mean, nn.Linear(1, 1)), place.model)
    why = "the network runs on rows of 1, of 2 and more numbers"
    shown = facts(fairfix("inspect", place.model))
    for what in ("inputs", "output", "prunable units"):
        assert f" {what} unknown: {why} " in shown
    assert " decision rule none in the file or next to it " in shown
    found = json.loads(fairfix("inspect", place.model, "--json").out)
    assert found["inputs"] is None
    assert found["unknown"] == {
        **dict.fromkeys(("inputs", "output", "prunable_units"), why),
        "rule": "none in the file or next to it",
    }


def test_a_network_that_does_not_begin_with_a_linear_layer(fairfix: Run, place: Place) -> None:
    layers = nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 2, 3), nn.Flatten(), nn.Linear(6, 1)
    torch.save(nn.Sequential(*layers), place.model)
    found = json.loads(fairfix("inspect", place.model, "--json").out)
    assert found["inputs"] == 5
    assert found["output"] == "logit (from its last operation)"
    assert found["prunable_units"] == {"1": 2}


def test_weights_alone(fairfix: Run, place: Place, trained: nn.Sequential) -> None:
    torch.save(trained.state_dict(), place.model)
    shown = facts(fairfix("inspect", place.model))
    assert shown.count("unknown: the file holds no architecture; name it with --arch") == 5


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (
            nn.Sequential(nn.Linear(4, 10)),
            "the network returns shape (2, 10) for 2 rows, and it is not known",
        ),
        (
            nn.Sequential(nn.Embedding(4, 5), nn.Flatten(), nn.Linear(5, 1)),
            "the network does not run on rows of numbers; a table shows how it runs",
        ),
    ],
)
def test_networks_of_other_kinds(fairfix: Run, place: Place, network: nn.Module, why: str) -> None:
    torch.save(network, place.model)
    ended = fairfix("inspect", place.model)
    assert ended.code == 0
    assert f" output unknown: {why}" in facts(ended)


# What was inferred.


def test_details_are_one_line_unless_they_are_wanted(
    fairfix: Run, place: Place, trained: nn.Sequential
) -> None:
    torch.save(trained.state_dict(), place.model)
    (place.folder / "fairfix.toml").write_text('arch = "mlp:relu"\n')
    assert fairfix("audit", place.model, place.test).err.splitlines() == [
        "fairfix: fairfix.toml sets arch = mlp:relu; 3 Linear layers with relu; output is the "
        "logit of '1'; decisions by score > 0.5 (no rule found) (-v shows details)"
    ]
    said = fairfix("audit", place.model, place.test, "--verbose").err.splitlines()
    assert [each for each in said if each.startswith("fairfix: Architecture inferred")]
    assert (
        "fairfix: The output of the last layer is read as a logit (mlp: adds no sigmoid)." in said
    )
    assert fairfix("audit", place.model, place.test, "-q").err == ""
    both = fairfix("audit", place.model, place.test, "-q", "-v")
    assert both.sentence == "--quiet and --verbose exclude each other; give one."


def test_notes_on_rows_are_shown_in_full(fairfix: Run, place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 2).rename(columns={"x0": "Unnamed: 0"}).assign(x0=1.0))
    said = fairfix("audit", place.model, table).err.splitlines()
    assert "fairfix: column 'Unnamed: 0' is left out as a saved row index" in said


# Tables.


def test_the_table_without_a_group_is_named(fairfix: Run, place: Place, draw: Draw) -> None:
    names = {0: "a", 1: "b"}
    rows = draw(600, 5)
    val = rows.assign(group=rows["group"].map(names).where(rows.index % 9 > 0, "c"))
    test = draw(300, 6).assign(group=lambda t: t["group"].map(names))
    tables = place.table(val, "three.csv"), place.table(test, "two.csv")
    ended = fairfix("prune", place.model, tables[0], "--test", tables[1])
    assert ended.code == 2
    assert ended.sentence == "two.csv: group 'c' has no rows; every group needs at least one."
    with pytest.raises(TableError, match=r"^two\.csv: group 'c' has no rows"):
        library.load(place.model, tables[0]).companion(tables[1])


def test_a_number_too_large_for_the_network(fairfix: Run, place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 2).assign(x1=lambda t: t["x1"].where(t.index != 5, 1e300)))
    ended = fairfix("audit", place.model, table)
    assert ended.code == 2
    assert "1 value is infinite or too large for float32 (first: line 7)" in ended.sentence


def test_long_names_of_groups_are_shortened_on_the_terminal_alone(
    fairfix: Run, place: Place, draw: Draw
) -> None:
    long = {0: "a" * 2000 + "x", 1: "a" * 2000 + "y"}
    table = place.table(draw(400, 2).assign(group=lambda t: t["group"].map(long)))
    for words in (["audit"], ["identity", "--allow-trivial"]):
        ended = fairfix(*words, place.model, table)
        assert ended.code == 0
        assert "a" * 100 not in "".join(ended.out.split())
        assert "\N{HORIZONTAL ELLIPSIS}" in ended.out
    report = json.loads((place.folder / "model.debiased.report.json").read_text())
    groups = report["results"]["test"]["debiased"]["groups"]
    assert {group["name"] for group in groups} == set(long.values())


def test_short_names_stay_and_long_ones_keep_both_ends() -> None:
    assert shorten("b" * 40, 40) == "b" * 40
    shortened = shorten("<" + "b" * 40 + ">", 40)
    assert (shortened[0], shortened[-1], len(shortened)) == ("<", ">", 40)


# Before anything is read.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--holdout", "2"], "between 0 and 1, not 2.0"),
        (["--seed", "-1"], "from 0 to 2**63 - 1, not -1"),
        (["--lambda", "0.5"], "only with --objective tradeoff"),
        (["--threshold", "3"], "in [-1, 1], not 3.0"),
        (["--batch-size", "0"], "at least 1, not 0"),
        (["--device", "gpu"], "Unknown device 'gpu'"),
        (["--test", "a.csv", "--holdout", "0.2"], "from --test or from --holdout"),
    ],
)
def test_options_are_checked_first(fairfix: Run, options: list[str], said: str) -> None:
    ended = fairfix("prune", "no.pt", "no.csv", *options)
    assert ended.code == 2
    assert said in ended.sentence


def test_the_options_of_a_method_in_a_settings_file_too(
    fairfix: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fairfix.toml").write_text("[prune]\nper-step = 'many'\n")
    ended = fairfix("prune", "no.pt", "no.csv")
    assert ended.sentence == "per_step must be of type int, not 'many'."


def test_a_lambda_that_is_used(fairfix: Run, place: Place) -> None:
    words = ["identity", place.model, place.val, "--objective", "tradeoff", "--lambda", 0.5]
    assert fairfix(*words).code == 0


# The library.


def test_an_unknown_argument_has_a_nearest_name() -> None:
    for wrong, right in (("archh", "arch"), ("lable", "label"), ("outputlabel", "output_label")):
        said = f"^load has no argument '{wrong}'; did you mean '{right}'\\?$"
        with pytest.raises(UsageError, match=said):
            library.load("no.pt", "no.csv", **{wrong: "x"})
    with pytest.raises(UsageError, match=r"^predict has no argument 'privileged'\.$"):
        library.predict("no.pt", "no.csv", privileged=1)


def test_a_lambda_without_its_objective(place: Place) -> None:
    case = library.load(place.model, place.val)
    with pytest.raises(UsageError, match="objective='tradeoff'"):
        library.debias(case, "identity", lambda_=0.5)
    outcome = library.debias(case, "identity", objective="tradeoff", lambda_=0.5)
    assert outcome.objective.lambda_ == 0.5


def test_a_row_index_that_pandas_wrote(fairfix: Run, place: Place, draw: Draw) -> None:
    frame: pd.DataFrame = draw(300, 2)
    frame.to_csv(place.folder / "indexed.csv")
    ended = fairfix("audit", place.model, place.folder / "indexed.csv")
    assert ended.code == 0
    assert "fairfix: column '' is left out as a saved row index" in ended.err

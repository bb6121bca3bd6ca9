"""Wrong input: exit code 2, one or two sentences with fact and remedy, and nothing written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.helpers.runs import Draw, Ended, Place, Run


def refused(fairfix: Run, place: Place, *arguments: object) -> str:
    """The sentence of a refusal that leaves every file as it was."""
    before = place.files()
    ended = fairfix(*arguments)
    assert ended.code == 2, ended
    assert place.files() == before
    return ended.sentence


OPTIONS = {
    "label": (["--label", "lable"], "no column 'lable' (label column); did you mean 'label'?"),
    "group": (["--group", "grup"], "no column 'grup' (group column); did you mean 'group'?"),
    "id": (["--id", "nr"], "no column 'nr' (id column)"),
    "ignore": (["--ignore", "zip"], "no column 'zip' (ignored column)"),
    "features": (
        ["--features", "x0,x1,label"],
        "named as label column and as feature; it cannot be both",
    ),
    "width": (["--features", "x0,x1"], "gives 2 features, but the network takes 4"),
    "favorable": (["--favorable", "yes"], "no value 'yes' (favorable value). Its values: '0', '1'"),
    "privileged": (["--privileged", "9"], "no value '9' (privileged group)"),
    "output label": (["--output-label", "5"], "no value '5' for --output-label; it has '0', '1'"),
    "output kind": (["--output-kind", "prob"], "not a probability; check --output-kind"),
    "data spec": (["--data-spec", "no.json"], "no.json does not exist."),
    "metric": (["--metric", "sdp"], "Unknown metric 'sdp'; did you mean 'spd'? Metrics are spd,"),
    "performance": (["--performance", "area"], "accuracy, f1, precision, recall, auc, not 'area'"),
    "budget 0": (["--budget", "0"], "budget must be in (0, 1), not 0.0"),
    "budget 1": (["--budget", "1"], "budget must be in (0, 1), not 1.0"),
    "budget -1": (["--budget", "-1"], "budget must be in (0, 1), not -1.0"),
    "budget nan": (["--budget", "nan"], "A budget must be KEY=NUMBER"),
    "margin": (
        ["--margin", "0.05"],
        "margin must be at least 0 and below the budget of 0.05, not 0.05",
    ),
    "margin nan": (["--margin", "nan"], "--margin must be auto or a number, not 'nan'."),
    "margin text": (["--margin", "wide"], "--margin must be auto or a number, not 'wide'"),
    "lambda": (["--objective", "tradeoff", "--lambda", "2"], "lambda must be in [0, 1], not 2.0"),
    "lambda alone": (
        ["--lambda", "0.5"],
        "only with --objective tradeoff; add that or remove --lambda",
    ),
    "holdout 0": (["--holdout", "0"], "between 0 and 1, not 0.0"),
    "holdout 1": (["--holdout", "1"], "between 0 and 1, not 1.0"),
    "holdout 2": (["--holdout", "2"], "between 0 and 1, not 2.0"),
    "holdout nan": (["--holdout", "nan"], "'--holdout': 'nan' is not a number"),
    "threshold": (["--threshold", "nan"], "'--threshold': 'nan' is not a number"),
    "threshold 2": (["--threshold", "2"], "in [-1, 1], not 2.0"),
    "seed": (["--seed", "-1"], "from 0 to 2**63 - 1, not -1"),
    "large seed": (["--seed", str(2**63)], f"from 0 to 2**63 - 1, not {2**63}"),
    "batch": (["--batch-size", "0"], "at least 1, not 0"),
    "device": (["--device", "gpu"], "Unknown device 'gpu'; use auto, cpu"),
    "device elsewhere": (["--device", "meta"], "'meta' cannot be used here"),
    "method option": (["--per-step", "-1"], "per_step must be at least 0, not -1."),
}


@pytest.mark.parametrize(("options", "said"), OPTIONS.values(), ids=OPTIONS.keys())
def test_an_option(fairfix: Run, place: Place, options: list[str], said: str) -> None:
    assert said in refused(fairfix, place, "prune", place.model, place.val, *options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--wibble", "1"], "No such option: --wibble"),
        (["--learning-rate", "1"], "No such option: --learning-rate"),
        (["--budgt", "1"], "No such option: --budgt (Possible options: --budget"),
        (["--budget", "small"], "A budget must be KEY=NUMBER"),
        (["--budget"], "Option '--budget' requires an argument."),
        (["more"], "Got unexpected extra argument(s) (more). See fairfix prune --help."),
        (["--objective", "best"], "Invalid value for '--objective': 'best' is not one of "),
        (["--score", "p"], "Invalid value for '--score': "),
        (["--seed", "1_0"], "Invalid value for '--seed': '1_0' is not a whole number"),
        (["--seed", "\u0665"], "Invalid value for '--seed': "),
        (["--max-units", "1_0"], "Invalid value for '--max-units': '1_0' is not a whole number"),
    ],
)
def test_an_unknown_option_or_value(
    fairfix: Run, place: Place, options: list[str], said: str
) -> None:
    sentence = refused(fairfix, place, "prune", place.model, place.val, *options)
    assert sentence.startswith(said)


@pytest.mark.parametrize(
    "number", ["0.0_5", "\u0660.5", "1e-2_0", "nan", "inf", "1e999", "0x1", ""]
)
@pytest.mark.parametrize("option", ["--k", "--holdout", "--learning-rate", "--threshold"])
def test_what_is_not_a_plain_number(fairfix: Run, place: Place, option: str, number: str) -> None:
    said = refused(fairfix, place, "gda", place.model, place.val, option, number)
    assert said.startswith(f"Invalid value for '{option}': {number!r} is not a number; write ")


def test_both_test_and_holdout(fairfix: Run, place: Place) -> None:
    options = ("--test", place.test, "--holdout", 0.3)
    said = refused(fairfix, place, "prune", place.model, place.val, *options)
    assert said == "Test rows come from --test or from --holdout; give one."


TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no column": (lambda t: t.drop(columns="label"), "no column 'label' (label column)"),
    "one group": (lambda t: t.assign(group=1), "has only the value '1'; a fairness gap needs"),
    "one label": (lambda t: t.assign(label=1), "has only the value '1'; rows of both outcomes"),
    "no feature": (
        lambda t: t.assign(x1=t["x1"].where(t.index != 5)),
        "column 'x1': 1 value is missing (first: line 7)",
    ),
    "no label": (
        lambda t: t.assign(label=t["label"].where(t.index != 5)),
        "column 'label': 1 row has no value (first: line 7)",
    ),
    "no group": (
        lambda t: t.assign(group=t["group"].where(t.index != 5)),
        "column 'group': 1 row has no value (first: line 7); remove these rows, or set",
    ),
    "text": (
        lambda t: t.assign(x1=t["x1"].astype(str).where(t.index != 5, "tall")),
        "line 7, column 'x1': 'tall' is not a number; ignore the column or encode it",
    ),
    "no rows": (lambda t: t[:0], "has a header but no rows"),
    "twice": (
        lambda t: pd.concat([t, t[["x1"]]], axis=1),
        "2 columns named 'x1' (columns 4 and 7); rename or remove",
    ),
    "too wide": (
        lambda t: t.assign(x4=1),
        "gives 5 features, but the network takes 4. Ignore the other columns, or list",
    ),
    "too narrow": (
        lambda t: t.drop(columns="x3"),
        "gives 3 features, but the network takes 4. With the group column 'group'",
    ),
    "too short": (
        lambda t: t[t["label"].ne(t["group"])].groupby("label").head(1),
        "too few rows to hold some out for testing",
    ),
}


@pytest.mark.parametrize(("change", "said"), TABLES.values(), ids=TABLES.keys())
def test_a_table(
    fairfix: Run,
    place: Place,
    draw: Draw,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    said: str,
) -> None:
    table = place.table(change(draw(300, 2)))
    assert said in refused(fairfix, place, "prune", place.model, table)


TEST_TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "other columns": (
        lambda t: t.rename(columns={"x2": "z2"}),
        "other.csv has no column 'x2' (feature)",
    ),
    "a column less": (lambda t: t.drop(columns="x3"), "other.csv has no column 'x3' (feature)"),
    "unknown group": (
        lambda t: t.assign(group=t["group"].where(t.index != 5, 7)),
        "has the unknown value '7'; the known ones are '0', '1'.",
    ),
    "unknown label": (
        lambda t: t.assign(label=t["label"].where(t.index != 5, 2)),
        "has the unknown value '2'; the known ones are '0', '1'.",
    ),
    "one group": (lambda t: t.assign(group=1), "a fairness gap needs at least two groups"),
}


@pytest.mark.parametrize(("change", "said"), TEST_TABLES.values(), ids=TEST_TABLES.keys())
def test_a_test_table(
    fairfix: Run,
    place: Place,
    draw: Draw,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    said: str,
) -> None:
    table = place.table(change(draw(300, 3)))
    assert said in refused(fairfix, place, "prune", place.model, place.val, "--test", table)


def test_the_validation_rows_as_test_table(fairfix: Run, place: Place) -> None:
    copy = place.folder / "copy.csv"
    copy.write_bytes(place.val.read_bytes())
    said = refused(fairfix, place, "prune", place.model, place.val, "--test", copy)
    assert said.startswith("copy.csv holds the same rows as val.csv, which the method is tuned on")


@pytest.mark.parametrize(
    ("change", "rows"), [("val.csv", "validation"), ("test.csv", "test")], ids=["val", "test"]
)
@pytest.mark.parametrize("metric", ["eod", "aod", "eqodds"])
def test_a_group_in_which_the_metric_is_undefined(
    fairfix: Run, place: Place, draw: Draw, metric: str, change: str, rows: str
) -> None:
    table = draw(400, 4)
    place.table(table.assign(label=table["label"].where(table["group"] == 1, 0)), change)
    options = ("--test", place.test, "--metric", metric)
    said = refused(fairfix, place, "prune", place.model, place.val, *options)
    assert f"is undefined on the {rows} rows: group '0' has no row with favorable label" in said


@pytest.mark.parametrize(
    ("kept", "metric", "said"),
    [
        ("label == 0 or group == 1", "eod", "group '0' has no row of positive weight with favor"),
        ("group == 1", "spd", "group '0' has no row of positive weight. Add"),
        ("label == 0", "spd", "validation rows have no row of positive weight with favorable"),
    ],
)
def test_rows_without_weight_do_not_define_a_metric(
    fairfix: Run, place: Place, draw: Draw, kept: str, metric: str, said: str
) -> None:
    rows = draw(400, 4)
    place.table(rows.assign(weight=np.where(rows.eval(kept), 1.5, 0)), "val.csv")
    options = ("--weight", "weight", "--metric", metric)
    assert said in refused(fairfix, place, "blind", place.model, place.val, *options)


def test_an_audit_shows_what_is_undefined(fairfix: Run, place: Place, draw: Draw) -> None:
    rows = draw(400, 4)
    table = place.table(rows.assign(label=rows["label"].where(rows["group"] == 1, 0)))
    ended = fairfix("audit", place.model, table)
    assert ended.code == 0
    (line,) = (line for line in ended.out.splitlines() if " eod " in line)
    assert line.split()[-3:] == ["undefined", "-", "-"]


# Files.


def test_no_model(fairfix: Run, place: Place) -> None:
    said = refused(fairfix, place, "prune", place.folder / "modle.pt", place.val)
    assert said == f"{place.folder}/modle.pt does not exist; did you mean 'model.pt'?"


@pytest.mark.parametrize("option", [[], ["--test"]])
def test_no_table(fairfix: Run, place: Place, option: list[str]) -> None:
    tables = [place.val, *option, place.folder / "no.csv"] if option else ["no.csv"]
    assert "does not exist" in refused(fairfix, place, "prune", place.model, *tables)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty (0 bytes). Copy or download it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "is a web page, not a model"),
        (b"PK\x03\x04 cut", "damaged"),
    ],
)
def test_a_file_that_is_not_a_model(fairfix: Run, place: Place, content: bytes, said: str) -> None:
    place.model.write_bytes(content)
    assert said in refused(fairfix, place, "prune", place.model, place.val)


@pytest.mark.parametrize("command", ["inspect", "audit", "prune", "predict"])
def test_a_folder_without_a_model(fairfix: Run, place: Place, command: str) -> None:
    folder = place.folder / "models"
    folder.mkdir()
    tables = [] if command == "inspect" else [place.val]
    said = refused(fairfix, place, command, folder, *tables)
    assert "models has no model" in said


def test_model_and_data_swapped(fairfix: Run, place: Place) -> None:
    said = refused(fairfix, place, "audit", place.val, place.model)
    assert "Are MODEL and DATA swapped?" in said


def test_a_table_of_another_kind(fairfix: Run, place: Place) -> None:
    text = place.val.rename(place.folder / "val.txt")
    said = refused(fairfix, place, "audit", place.model, text)
    assert said == "val.txt has an unsupported extension; use .csv, .csv.gz or .parquet."
    said = refused(fairfix, place, "audit", place.model, place.folder)
    assert said.endswith("is a directory; name a table inside it.")


@pytest.mark.parametrize("command", ["audit", "identity", "predict"])
def test_scores_need_one_source(fairfix: Run, place: Place, command: str) -> None:
    expected = "Scores come from a model or from a score column"
    assert expected in refused(fairfix, place, command, "-", place.val)
    assert expected in refused(fairfix, place, command, place.model, place.val, "--score", "x0")


def test_scores_suffice_for_threshold_methods(fairfix: Run, place: Place, draw: Draw) -> None:
    table = place.table(draw(300, 2).assign(p=0.5))
    said = refused(fairfix, place, "gda", "-", table, "--score", "p")
    assert said == (
        "This method changes the weights of a network and needs a model, not only scores; pass the "
        "model or choose another method."
    )
    assert "missing or outside [0, 1]" in refused(
        fairfix, place, "audit", "-", table, "--score", "x0"
    )


# Architectures.


@pytest.fixture
def bare(place: Place, trained: nn.Sequential) -> Path:
    path = place.folder / "bare.pt"
    torch.save(trained.state_dict(), path)
    return path


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ([], "bare.pt holds weights but no architecture. Name it with --arch"),
        (["--arch", "relu"], "--arch relu is not understood. Write file.py:Class"),
        (["--arch", "mlp:rleu"], "not mlp:rleu; did you mean 'relu'?"),
        (["--arch", "no.py:Net"], "no.py does not exist"),
        (["--arch", "no_such_package.net:Net"], "importing no_such_package.net failed"),
        (["--arch", "torch.nn:Linear", "--arch-args", '{"in_features": 4, "out_features": 1}'],
         "do not fit the architecture"),
        (["--arch", "torch.nn:Identity", "--arch-args", "{width: 3}"], "--arch-args is not JSON ("),
        (["--arch", "torch.nn:Identity", "--arch-args", "[3]"], "--arch-args is not a JSON object"),
    ],
)  # fmt: skip
def test_an_architecture(
    fairfix: Run, place: Place, bare: Path, arch: list[str], said: str
) -> None:
    assert said in refused(fairfix, place, "prune", bare, place.val, *arch)


# Faults of our own.


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    from fairfix.methods import prune

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(prune, "prune", fail)


def test_a_crash_is_one_sentence(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, ZeroDivisionError("no rows\nmore"))
    before = place.files()
    ended = fairfix("prune", place.model, place.val)
    assert (ended.code, place.files()) == (4, before)
    said = "internal error, ZeroDivisionError: no rows (--debug shows where)."
    assert ended.sentence == said


@pytest.mark.parametrize(
    ("label", "code", "kind"), [("label", 4, "ZeroDivisionError"), ("lable", 2, "TableError")]
)
def test_debug_shows_where_and_keeps_the_exit_code(
    fairfix: Run,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    label: str,
    code: int,
    kind: str,
) -> None:
    broken(monkeypatch, ZeroDivisionError())
    ended: Ended = fairfix("prune", place.model, place.val, "--label", label, "--debug")
    assert ended.code == code
    assert "Traceback (most recent call last)" in ended.err
    assert kind in ended.err
    assert ended.err.splitlines()[-1].startswith("fairfix: ")


def test_an_interruption_leaves_nothing(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, KeyboardInterrupt())
    before = place.files()
    ended = fairfix("prune", place.model, place.val)
    assert (ended.code, place.files()) == (130, before)
    assert ended.sentence == "interrupted; no partial files were left."


HOSTILE = "a\n::add-mask::x\n::warning::INJECTED\n\x1b]0;PWNED\x07\x1b[2J##[error]"


@pytest.mark.parametrize("arch", [[], ["--arch", "mlp:relu"], ["--debug"]])
def test_names_in_a_hostile_file_are_not_commands(
    arch: list[str], fairfix: Run, place: Place
) -> None:
    torch.save({HOSTILE: {HOSTILE: torch.ones(2)}, "b": {"w": torch.ones(2)}}, place.model)
    ended = fairfix("inspect", place.model, *arch)
    assert ended.code == 2
    assert "INJECTED" in ended.err
    assert not re.search(r"::(add-mask|warning)|##\[|[\x00-\x09\x0b-\x1f\x7f]", ended.err)


def test_names_in_a_table_of_the_terminal_are_not_commands(fairfix: Run, place: Place) -> None:
    torch.save({"::add-mask::x": torch.ones(2)}, place.model)
    ended = fairfix("inspect", place.model)
    assert ended.code == 0
    assert "::add-mask" not in ended.out

"""A second table of training rows: read, refused, reported, and known to the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fairfix as library
from fairfix.errors import TableError, UsageError
from fairfix.workflows.documents import report_document
from tests.helpers.runs import Draw, Place, Run

QUICK = ("--epochs", "4", "--learning-rate", "0.003", "--no-subgroups", "--force")


@pytest.fixture
def rows(place: Place, draw: Draw) -> Path:
    return place.table(draw(900, 11), "train.csv")


def test_the_report_says_what_the_training_rows_were_for(
    place: Place, rows: Path, fairfix: Run, schema: dict[str, Any]
) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    ended = fairfix(
        "gda", place.model, place.val, "--test", place.test, "--train", rows, "--json", *QUICK
    )
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    jsonschema.validate(report, schema)
    training = report["training"]
    assert training["table"] == "train.csv"
    assert (training["rows"], training["has_groups"]) == (900, True)
    assert training["used_for"] == "gradients"
    assert training["tuned_rows"]["rows"] == 900
    assert report["objective"]["standard_errors"] == pytest.approx(2**0.5)
    assert (
        "900 training rows of train.csv" in (place.folder / "model.debiased.report.md").read_text()
    )
    gate = fairfix("gate", place.folder / "model.debiased.pt", rows, "--budget", "spd=0.05")
    assert gate.code == 2
    assert "the network was trained on its rows" in gate.sentence
    shuffled = place.table(pd.read_csv(rows).sample(frac=1, random_state=0), "again.csv")
    gate = fairfix("gate", place.folder / "model.debiased.pt", shuffled, "--budget", "spd=0.05")
    assert gate.code == 2
    assert "100.0% of 900 compared rows equal a row" in gate.sentence


def test_the_report_shows_how_training_rows_were_reweighted(
    place: Place, draw: Draw, fairfix: Run, schema: dict[str, Any]
) -> None:
    """Shares of group and label, but for cells of fewer than 10 rows, and rows on request."""
    jsonschema = pytest.importorskip("jsonschema")
    table = draw(400, 11)
    small = table[(table.group == table.group[0]) & (table.label == table.label[0])]
    rows = place.table(table.drop(small.index[8:]), "train.csv")
    options = ("--test", place.test, "--train", rows, *QUICK, "--allow-trivial")
    ended = fairfix("fairif", place.model, place.val, "--json", *options)
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    jsonschema.validate(report, schema)
    found = report["training"]["reweighting"]
    assert [gap["metric"] for gap in found["gaps"]] == ["spd"]
    assert len(found["cells"]) == 4
    hidden = [cell for cell in found["cells"] if cell["rows"] is None]
    assert [cell["share_after"] for cell in hidden] == [None]
    kept = [cell for cell in found["cells"] if cell["rows"] is not None]
    assert all(cell["rows"] >= 10 for cell in kept)
    assert sum(cell["share_after"] for cell in kept) == pytest.approx(1, abs=0.1)
    assert found["listed_rows"] is None
    page = (place.folder / "model.debiased.report.md").read_text()
    assert "## Weights of training rows" in page
    assert "weighted up and down most" not in page
    ended = fairfix("fairif", place.model, place.val, "--json", *options, "--show-rows")
    listed = json.loads(ended.out)["training"]["reweighting"]["listed_rows"]
    assert len(listed) == 20
    factors = [row["factor"] for row in listed]
    assert factors == sorted(factors, reverse=True)
    written = pd.read_csv(rows, dtype=str)
    assert all(row["values"] == dict(written.iloc[row["row"]]) for row in listed)
    assert "weighted up and down most" in (place.folder / "model.debiased.report.md").read_text()
    page = (place.folder / "model.debiased.report.html").read_text()
    assert "Weights of training rows" in page


def test_without_training_rows_the_report_has_none(place: Place) -> None:
    outcome = library.debias(library.load(place.model, place.val), "identity", test=place.test)
    assert report_document(outcome)["training"] is None


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("thresholds", "thresholds does not learn from training rows; remove --train"),
        ("perturb", "perturb does not learn from training rows"),
    ],
)
def test_methods_that_do_not_learn_refuse_them_before_reading(
    place: Place, fairfix: Run, method: str, message: str
) -> None:
    ended = fairfix(method, place.model, place.val, "--train", place.folder / "absent.csv")
    assert ended.code == 2
    assert message in ended.sentence
    case = library.load(place.model, place.val, train=place.table(pd.read_csv(place.test)))
    with pytest.raises(UsageError, match="does not learn from training rows; remove train"):
        library.debias(case, method)


def test_rows_without_the_group_column_are_read(place: Place, draw: Draw, fairfix: Run) -> None:
    table = place.table(draw(300, 5).drop(columns="group"))
    case = library.load(place.model, place.val, train=table)
    assert case.problem.training is not None
    assert case.problem.training.groups is None
    assert len(case.problem.training) == 300
    ended = fairfix("prune", place.model, place.val, "--train", table)
    assert ended.code == 2
    assert "prune needs the group of every training row" in ended.sentence


def test_values_that_the_validation_table_lacks_are_refused(place: Place, draw: Draw) -> None:
    for column in ("group", "label"):
        table = place.table(draw(300, 5).replace({column: {1: 7}}))
        with pytest.raises(TableError, match="7"):
            library.load(place.model, place.val, train=table)


def shuffled(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).sample(frac=1, random_state=1)


def test_tables_that_are_the_same_are_refused(place: Place, rows: Path) -> None:
    with pytest.raises(UsageError, match=r"val\.csv.*give a table of other rows"):
        library.load(place.model, place.val, train=place.val)
    for source, name in ((place.val, "val.csv"), (place.test, "test.csv")):
        case = library.load(place.model, place.val, train=place.table(shuffled(source)))
        with pytest.raises(UsageError, match=rf"holds the rows of {name} \(100\.0% of its rows\)"):
            library.debias(case, "gda", test=place.test)


def test_columns_are_found_by_name_and_arrays_by_the_stem(place: Place, draw: Draw) -> None:
    table = draw(300, 5)
    turned = place.table(table[table.columns[::-1]])
    case = library.load(place.model, place.val, train=turned)
    assert case.problem.training is not None
    features = case.problem.training.features
    assert features is not None
    expected = table.filter(like="x").to_numpy(np.float32)
    assert np.array_equal(features.numpy(), expected)


def test_every_table_has_its_own_array(place: Place, draw: Draw, fairfix: Run) -> None:
    for seed, name in ((2, "val"), (3, "test"), (5, "train")):
        drawn = draw(400, seed)
        place.table(drawn[["label", "group"]], f"{name}.csv")
        np.save(place.folder / f"{name}.npy", drawn.filter(like="x").to_numpy(np.float32))
    ended = fairfix(
        *("gda", place.model, place.val, "--test", place.test),
        *("--train", place.folder / "train.csv", "--array", f"{place.folder}/{{table}}.npy"),
        *(*QUICK, "--allow-trivial"),
    )
    assert ended.code == 0, ended.err

"""Numbers and codes as inputs: shapes, types, and the versions of the data spec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.data.spec import DataSpec, InputsSpec, load_spec, spec_from_json
from fairfix.data.table import Columns, read_table
from fairfix.errors import FairfixError, TableError, UsageError
from tests.data.inputs.conftest import Read

AGE = {"column": "age", "mean": 38.0, "scale": 12.5}
WORK = {"column": "work", "categories": ["Private", "State"]}
NUMBERS = {"kind": "numbers", "entries": [AGE, WORK]}
JOB = {"column": "job", "categories": ["a", "b"], "first": 1, "unknown": 0}
CODES = {"kind": "codes", "columns": [JOB, {"column": "zip", "categories": ["01", 1]}]}
CELLS = {
    "age": [38, 50.5, 13, 25.5],
    "work": ["State", "Private", "State", "State"],
    "job": ["b", "a", "z", ""],
    "zip": ["01", "1", "1.0", "01"],
}


def spec_of(**inputs: Any) -> dict[str, Any]:
    return {"version": 2, "call": "position", "inputs": inputs}


def test_numbers_and_codes_go_by_name_with_their_types(read: Read) -> None:
    table = read({"x_num": NUMBERS, "x_cat": CODES}, CELLS)
    assert table.features is None
    assert table.inputs is not None
    got = table.inputs.batch().kwargs
    assert got["x_num"].tolist() == [[0, 0, 1], [1, 1, 0], [-2, 0, 1], [-1, 0, 1]]
    assert got["x_num"].dtype == torch.float32
    assert got["x_cat"].tolist() == [[2, 0], [1, 1], [0, 1], [0, 0]]
    assert got["x_cat"].dtype == torch.int64


def test_a_code_beyond_the_integers_of_float32_is_exact(read: Read) -> None:
    column = {"column": "job", "categories": ["a", "b"], "first": 2**24 + 1}
    table = read({"x": {"kind": "codes", "columns": [column]}}, {"job": ["a", "b", "a", "b"]})
    assert table.inputs is not None
    assert table.inputs.batch().kwargs["x"][:2, 0].tolist() == [2**24 + 1, 2**24 + 2]


def test_a_shape_is_given_to_each_row(read: Read) -> None:
    entries = [{"column": f"p{i}"} for i in range(6)]
    cells = {f"p{i}": [10 * row + i for row in range(4)] for i in range(6)}
    code = {"kind": "codes", "columns": [JOB], "shape": []}
    inputs = {"x": {"kind": "numbers", "entries": entries, "shape": [1, 2, 3]}, "code": code}
    table = read(inputs, cells | {"job": CELLS["job"]}, call="position")
    assert table.inputs is not None
    image, codes = table.inputs.batch().args
    assert image[3].tolist() == [[[30, 31, 32], [33, 34, 35]]]
    assert codes.tolist() == [2, 1, 0, 0]


def test_an_unknown_category_is_named_with_its_line(read: Read) -> None:
    codes = {"kind": "codes", "columns": [{"column": "job", "categories": ["a", "b"]}]}
    with pytest.raises(TableError, match=r"val.csv, line 4, column 'job': 'z' is not one of"):
        read({"x": codes}, CELLS)


def test_rows_can_be_taken(read: Read) -> None:
    table = read({"x_num": NUMBERS, "x_cat": CODES}, CELLS).take(np.array([2, 0]))
    assert table.inputs is not None
    assert table.inputs.batch().kwargs["x_cat"].tolist() == [[0, 1], [2, 0]]


def test_version_1_and_one_matrix_of_version_2_are_the_same() -> None:
    first = spec_from_json({"version": 1, "features": [AGE, WORK]})
    assert spec_from_json(spec_of(features=NUMBERS)) == first
    assert isinstance(first, DataSpec)
    assert isinstance(spec_from_json(spec_of(x=NUMBERS | {"shape": [3, 1]})), InputsSpec)
    assert isinstance(spec_from_json(spec_of(x=NUMBERS) | {"call": "name"}), InputsSpec)


def test_json_comes_back_as_the_same_spec(tmp_path: Path) -> None:
    array = {"kind": "array", "file": "{table}.npz", "key": "x", "align": "id", "shape": [768]}
    path = tmp_path / "m.data.json"
    path.write_text(json.dumps(spec_of(x=NUMBERS | {"shape": [1, 3]}, c=CODES, emb=array)))
    spec = load_spec(path)
    again = json.loads(json.dumps(spec.to_json()))
    assert spec_from_json(again) == spec
    assert spec.to_json() == spec_from_json(again).to_json()
    assert spec.columns == ("age", "work", "job", "zip")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (spec_of(), "m: inputs must not be empty."),
        (
            spec_of(x=NUMBERS) | {"call": "order"},
            "m: call must be 'name', 'position' or 'mapping', not",
        ),
        (spec_of(x={"entries": [AGE]}), "m: inputs.x"),
        (spec_of(x={"kind": "sound"}), "m: inputs.x"),
        (spec_of(**{"x-y": NUMBERS}), "m: inputs has the name 'x-y', which no argument"),
        (spec_of(x=NUMBERS | {"size": 3}), "m: inputs.x has an unknown key 'size'"),
        (spec_of(x=NUMBERS | {"shape": [0]}), "m: inputs.x.shape[0] must be at least 1, not 0."),
        (spec_of(c={"kind": "codes", "columns": [WORK | {"first": -1}]}), "m: inputs.c.columns[0]"),
        (
            spec_of(c={"kind": "codes", "columns": [WORK | {"categories": ["1", 1.0]}]}),
            "m: inputs.c.columns[0].categories has '1' twice",
        ),
        (spec_of(e={"kind": "array", "file": "x.pkl"}), "m: inputs.e.file must end in .npy, .npz"),
    ],
)
def test_an_invalid_spec_is_refused_at_its_place(value: Any, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        spec_from_json(value, file="m")
    assert str(raised.value).startswith(message)


def test_a_shape_must_have_as_many_values(read: Read) -> None:
    with pytest.raises(FairfixError, match=r"'x' has 3 values a row, which cannot get .* \[2\]"):
        read({"x": NUMBERS | {"shape": [2]}}, CELLS)


def test_a_column_of_the_label_cannot_be_an_input(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("label,group\n0,0\n1,1\n")
    codes = {"kind": "codes", "columns": [{"column": "label", "categories": [0, 1]}]}
    with pytest.raises(UsageError, match="'label' is named as label column and as input of the"):
        read_table(tmp_path / "t.csv", Columns(), spec=InputsSpec.from_json(spec_of(x=codes)))


def test_rows_that_repeat_a_measurement_are_copies(read: Read) -> None:
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, 60).round(6).tolist()
    table = read(
        {"x_num": NUMBERS, "x_cat": CODES},
        {
            "age": age * 2,
            "work": ["State"] * 120,
            "job": ["a", "b"] * 60,
            "zip": ["1"] * 120,
        },
    )
    assert table.clusters is not None
    assert len(np.unique(table.clusters)) == 60

"""Data specs: raw columns to network inputs, against pandas, scikit-learn and plain arithmetic."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fairfix.data.spec import DataSpec, find_spec, load_spec
from fairfix.data.table import Columns, Table, read_table
from fairfix.errors import FairfixError, TableError, TrustError, UsageError

AGE = {"column": "age", "mean": 38.0, "scale": 12.5}
WORK = {"column": "work", "categories": ["Private", "State", "Never"]}
SEX = {"column": "sex", "map": {"Male": 1, "Female": 0}, "mean": 0.5, "scale": 0.25}


def spec_of(*features: dict[str, Any]) -> DataSpec:
    return DataSpec.from_json({"version": 1, "features": list(features)}, file="m.data.json")


def csv_of(folder: Path, columns: dict[str, list[Any]]) -> Path:
    """A table of these columns beside a label and a group."""
    rows = len(next(iter(columns.values())))
    frame = pd.DataFrame(columns)
    frame["label"] = [0, 1] * (rows // 2) + [1] * (rows % 2)
    frame["group"] = [0, 0, 1, 1] * (rows // 4) + [0, 1, 1][: rows % 4]
    path = folder / "raw.csv"
    frame.to_csv(path, index=False)
    return path


def encoded(folder: Path, spec: DataSpec, columns: dict[str, list[Any]]) -> Table:
    return read_table(csv_of(folder, columns), Columns(), spec=spec)


def error_message(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(FairfixError) as caught:
        call(*args, **options)
    assert not isinstance(caught.value, TrustError)
    return str(caught.value)


def test_a_number_is_standardized(tmp_path: Path) -> None:
    table = encoded(tmp_path, spec_of(AGE), {"age": [38, 50.5, 13, 25.5]})
    assert table.features is not None
    assert table.features.dtype == np.float32
    np.testing.assert_array_equal(table.features[:, 0], [0, 1, -2, -1])
    assert table.feature_names == ("age",)


def test_a_map_is_standardized(tmp_path: Path) -> None:
    table = encoded(tmp_path, spec_of(SEX), {"sex": ["Male", " Female ", "Male", "Male"]})
    assert table.features is not None
    np.testing.assert_array_equal(table.features[:, 0], [2, -2, 2, 2])


def test_one_hot_equals_get_dummies_and_a_standardization_by_hand(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "work": rng.choice(["Private", "State", "Never"], 200).tolist(),
        "age": rng.normal(40, 12, 200).round(3).tolist(),
        "sex": rng.choice(["Male", "Female"], 200).tolist(),
    }
    raw = pd.DataFrame(columns)
    dummies = pd.get_dummies(raw["work"])[WORK["categories"]].to_numpy(float)
    expected = np.column_stack([dummies, raw["age"], raw["sex"] == "Male"]).astype(float)
    mean, scale = expected.mean(axis=0), expected.std(axis=0)
    spec = spec_of(
        WORK | {"mean": mean[:3].tolist(), "scale": scale[:3].tolist()},
        {"column": "age", "mean": mean[3], "scale": scale[3]},
        SEX | {"mean": mean[4], "scale": scale[4]},
    )
    table = encoded(tmp_path, spec, columns)
    np.testing.assert_array_equal(table.features, ((expected - mean) / scale).astype(np.float32))
    assert table.feature_names == ("work=Private", "work=State", "work=Never", "age", "sex")


def test_drop_first_equals_get_dummies_drop_first(tmp_path: Path) -> None:
    columns = {"work": ["a", "c", "b", "a", "c"]}
    spec = spec_of({"column": "work", "categories": ["a", "b", "c"], "drop_first": True})
    table = encoded(tmp_path, spec, columns)
    expected = pd.get_dummies(pd.DataFrame(columns)["work"], drop_first=True)
    np.testing.assert_array_equal(table.features, expected.to_numpy(np.float32))
    assert table.feature_names == ("work=b", "work=c")


def test_numeric_categories_match_as_integers_and_as_decimals(tmp_path: Path) -> None:
    spec = spec_of({"column": "level", "categories": [1, 2.0, "3"]})
    table = encoded(tmp_path, spec, {"level": ["3.0", "1.0", "2.0", "1.0"]})
    np.testing.assert_array_equal(table.features, np.eye(3)[[2, 0, 1, 0]])


def test_codes_are_not_merged_as_numbers(tmp_path: Path) -> None:
    codes = ["01", "1", "1e2", "100"]
    spec = spec_of({"column": "code", "categories": codes})
    np.testing.assert_array_equal(encoded(tmp_path, spec, {"code": codes}).features, np.eye(4))
    spec = spec_of({"column": "code", "categories": ["1", "100"]})
    with pytest.raises(TableError, match="'01' is not one of"):
        encoded(tmp_path, spec, {"code": ["1", "01", "100", "1"]})


def test_one_column_can_be_two_inputs_and_the_group(tmp_path: Path) -> None:
    path = csv_of(tmp_path, {"sex": [1, 0, 1, 0]})
    spec = spec_of(
        {"column": "sex", "categories": [0, 1]}, {"column": "sex", "mean": 0.5, "scale": 0.5}
    )
    table = read_table(path, Columns(groups=("sex",)), spec=spec)
    np.testing.assert_array_equal(table.features, [[0, 1, 1], [1, 0, -1]] * 2)
    np.testing.assert_array_equal(table.groups[0].ids, [1, 0, 1, 0])


def test_an_unknown_category_is_named_with_its_line(tmp_path: Path) -> None:
    columns = {"work": ["Private", "State", "Privat", "State"]}
    assert error_message(encoded, tmp_path, spec_of(WORK), columns) == (
        "raw.csv, line 4, column 'work': 'Privat' is not one of the 3 values in the data spec; "
        "did you mean 'Private'? Correct the cell or add the value to the data spec."
    )


def test_a_blank_is_an_unknown_category_unless_it_is_listed(tmp_path: Path) -> None:
    columns = {"work": ["a", "", "b", "a"]}
    assert "line 3, column 'work': '' is not one of" in error_message(
        encoded, tmp_path, spec_of({"column": "work", "categories": ["a", "b"]}), columns
    )
    table = encoded(tmp_path, spec_of({"column": "work", "categories": ["a", "b", ""]}), columns)
    np.testing.assert_array_equal(table.features, np.eye(3)[[0, 2, 1, 0]])


def test_unknown_categories_can_be_zeros_before_standardizing(tmp_path: Path) -> None:
    spec = spec_of(WORK | {"unknown": "zeros", "mean": [0.5, 0.25, 0.0], "scale": [0.5, 0.25, 1.0]})
    table = encoded(tmp_path, spec, {"work": ["Private", "?", "State", ""]})
    zeros = [-1, -1, 0]
    np.testing.assert_array_equal(table.features, [[1, -1, 0], zeros, [-1, 3, 0], zeros])


def test_text_in_a_numeric_column_is_named_with_its_line(tmp_path: Path) -> None:
    message = error_message(encoded, tmp_path, spec_of(AGE), {"age": [1, 2, "old", 4]})
    assert message.startswith("raw.csv, line 4, column 'age': 'old' is not a number;")


def test_a_missing_number_is_named_with_its_line(tmp_path: Path) -> None:
    message = error_message(encoded, tmp_path, spec_of(AGE), {"age": [1, 2, 3, None]})
    assert "column 'age': 1 value is missing (first: line 5)" in message


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    message = error_message(encoded, tmp_path, spec_of(AGE), {"Ages": [1, 2, 3, 4]})
    assert "no column 'age' (input of the data spec); did you mean 'Ages'?" in message


def test_the_label_cannot_be_an_input(tmp_path: Path) -> None:
    message = error_message(encoded, tmp_path, spec_of({"column": "label"}), {"x": [1, 2, 3, 4]})
    assert message == (
        "Column 'label' is named as label column and as input of the data spec; it cannot be both."
    )


def test_the_network_must_take_as_many_inputs(tmp_path: Path) -> None:
    path = csv_of(tmp_path, {"work": ["Private", "State"]})
    message = error_message(read_table, path, Columns(), spec=spec_of(WORK), expected_features=4)
    assert message.startswith("raw.csv gives 3 features, but the network takes 4.")


def test_json_comes_back_as_the_same_spec() -> None:
    features = [
        AGE,
        SEX,
        WORK | {"mean": [0.1, 0.2], "scale": [1, 2], "drop_first": True, "unknown": "zeros"},
    ]
    spec = spec_of(*features)
    written = json.loads(json.dumps(spec.to_json()))
    assert DataSpec.from_json(written) == spec
    assert written["features"][1] == SEX
    assert written["features"][2] == features[2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the top level must be an object, not a list."),
        ({}, "the top level has no key 'features'; add it."),
        ({"features": []}, "features must not be empty."),
        ({"features": {}}, "features must be a list, not an object."),
        ({"features": [3]}, "features[0] must be an object, not 3."),
        (
            {"version": 2, "features": [AGE]},
            "version must be 1 or 2, the versions that this fairfix reads.",
        ),
        (
            {"features": [AGE], "favorable": 1},
            "the top level has an unknown key 'favorable'; known keys: 'version', 'features'.",
        ),
        (
            {"features": [AGE, {"column": "x", "scal": 1}]},
            "features[1] has an unknown key 'scal'; did you mean 'scale'?",
        ),
        (
            {"features": [AGE, {"map": {"a": 1}, "colunm": "x"}]},
            "features[1] has an unknown key 'colunm'; did you mean 'column'?",
        ),
        (
            {"features": [AGE | {"unknown": "zeros"}]},
            "features[0] has an unknown key 'unknown'; known keys: 'column', 'mean', 'scale'.",
        ),
        ({"features": [{"mean": 1}]}, "features[0] has no key 'column'; add it."),
        ({"features": [{"column": 1}]}, "features[0].column must be a string, not 1."),
        ({"features": [AGE | {"scale": 0}]}, "features[0].scale must be above 0, not 0."),
        (
            {"features": [AGE | {"mean": float("nan")}]},
            "features[0].mean must be a finite number, not NaN.",
        ),
        ({"features": [AGE | {"mean": True}]}, "features[0].mean must be a number, not true."),
        (
            {"features": [WORK | {"mean": [0.5]}]},
            "features[0].mean must have 3 numbers, one per input, not 1.",
        ),
        (
            {"features": [WORK | {"scale": [], "drop_first": True}]},
            "features[0].scale must have 2 numbers, one per input, not 0.",
        ),
        (
            {"features": [WORK | {"scale": [1, 1, -1]}]},
            "features[0].scale[2] must be above 0, not -1.",
        ),
        (
            {"features": [WORK | {"unknown": "ignore"}]},
            "features[0].unknown must be 'error' or 'zeros', not 'ignore'.",
        ),
        (
            {"features": [WORK | {"drop_first": 1}]},
            "features[0].drop_first must be true or false, not 1.",
        ),
        (
            {"features": [{"column": "x", "categories": ["1", 1.0]}]},
            "features[0].categories has '1' twice (1, 1.0 and true are the same value); remove "
            "one.",
        ),
        (
            {"features": [{"column": "x", "categories": []}]},
            "features[0].categories must not be empty.",
        ),
        (
            {"features": [{"column": "x", "categories": ["a", None]}]},
            "features[0].categories[1] must be a string or a number.",
        ),
        (
            {"features": [SEX | {"map": {"Male": "one"}}]},
            "features[0].map.Male must be a number, not 'one'.",
        ),
        ({"features": [SEX | {"map": {}}]}, "features[0].map must not be empty."),
        (
            {"features": [SEX | {"map": {"1": 0, "1.0": 1}}]},
            "features[0].map has '1' twice (1, 1.0 and true are the same value); remove one.",
        ),
        (
            {"features": [{"transformer": "p.skops", "columns": ["a"], "text": ["b"]}]},
            "features[0].text must name some of the columns 'a', not 'b'.",
        ),
        (
            {"features": [{"transformer": "p.skops", "columns": []}]},
            "features[0].columns must not be empty.",
        ),
    ],
)
def test_an_invalid_spec_is_refused_at_its_place(value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        DataSpec.from_json(value, file="m.data.json")
    assert str(caught.value) == f"m.data.json: {message}"


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.data.json"
    path.write_text('{"features": [}')
    assert "m.data.json is not valid JSON at line 1, column 15" in error_message(load_spec, path)
    path.write_text("[" * 100_000)
    assert "m.data.json: lists and objects are nested more" in error_message(load_spec, path)
    assert "cannot be read" in error_message(load_spec, tmp_path)


def test_a_repeated_key_is_refused_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "m.data.json"
    path.write_text('{"features": [{"column": "a"}, {"column": "b", "mean": 1, "mean": 2}]}')
    assert error_message(load_spec, path) == (
        "m.data.json: features[1] has the key 'mean' twice; remove one."
    )


@pytest.mark.parametrize("model", ["net.pt", "net.debiased.pt", "net.safetensors"])
def test_the_spec_is_found_beside_the_model(tmp_path: Path, model: str) -> None:
    assert find_spec(tmp_path / model) is None
    (tmp_path / "net.data.json").write_text(json.dumps({"features": [AGE]}))
    assert find_spec(tmp_path / model) == spec_of(AGE)
    assert find_spec(tmp_path / "other.pt") is None
    (tmp_path / "deployed").mkdir()
    link = tmp_path / "deployed" / "current.pt"
    link.symlink_to(tmp_path / model)
    assert find_spec(link) == spec_of(AGE)


def test_a_debiased_model_may_have_its_own_spec(tmp_path: Path) -> None:
    (tmp_path / "net.data.json").write_text(json.dumps({"features": [AGE]}))
    (tmp_path / "net.debiased.data.json").write_text(json.dumps({"features": [SEX]}))
    assert find_spec(tmp_path / "net.debiased.pt") == spec_of(SEX)


# A scikit-learn transformer, saved by skops.


@pytest.fixture
def raw() -> dict[str, list[Any]]:
    return {
        "age": [20.0, 30.5, 41.0, 51.0, 28.0],
        "work": ["a", " b", "a", "NA", "c"],
        "hours": [40, 38, 20, 60, 15],
    }


@pytest.fixture
def fitted(tmp_path: Path, raw: dict[str, list[Any]]) -> Any:
    """A column transformer fitted on the table as pandas reads it, and saved."""
    skops = pytest.importorskip("skops.io")
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    transformer = make_column_transformer(
        (StandardScaler(), ["age", "hours"]), (OneHotEncoder(), ["work"])
    )
    frame = pd.read_csv(csv_of(tmp_path, raw))[["age", "work", "hours"]].astype({"work": object})
    transformer.fit(frame)
    skops.dump(transformer, tmp_path / "prep.skops")
    return transformer, frame


PREP = {"transformer": "prep.skops", "columns": ["age", "work", "hours"], "text": ["work"]}


def test_a_transformer_gives_what_scikit_learn_gives(
    tmp_path: Path, raw: dict[str, list[Any]], fitted: Any
) -> None:
    transformer, frame = fitted
    spec = DataSpec.from_json({"features": [PREP, {"column": "hours"}]}, folder=tmp_path)
    table = encoded(tmp_path, spec, raw)
    made = transformer.transform(frame)
    expected = np.column_stack([getattr(made, "toarray", lambda: made)(), frame["hours"]])
    np.testing.assert_array_equal(table.features, expected.astype(np.float32))
    assert table.feature_names[:2] == ("standardscaler__age", "standardscaler__hours")
    assert DataSpec.from_json(spec.to_json(), folder=tmp_path).names == spec.names


@pytest.mark.usefixtures("fitted")
def test_another_transformer_than_the_specs_is_refused(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.preprocessing import StandardScaler

    written = DataSpec.from_json({"features": [PREP]}, folder=tmp_path).to_json()
    skops.dump(StandardScaler().fit([[1.0, 2.0, 3.0], [2.0, 0.0, 1.0]]), tmp_path / "prep.skops")
    message = error_message(DataSpec.from_json, written, folder=tmp_path)
    assert message.startswith("prep.skops is not the transformer that the rule or data spec")


def test_a_transformer_fitted_without_names_gets_none(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    from sklearn.preprocessing import StandardScaler

    values = np.array([[1.0, 5.0], [2.0, 3.0], [4.0, 0.0], [0.5, 9.0]])
    scaler = StandardScaler().fit(values)
    skops.dump(scaler, tmp_path / "prep.skops")
    spec = DataSpec.from_json(
        {"features": [{"transformer": "prep.skops", "columns": ["b", "a"]}]}, folder=tmp_path
    )
    table = encoded(tmp_path, spec, {"a": values[:, 1].tolist(), "b": values[:, 0].tolist()})
    np.testing.assert_array_equal(table.features, scaler.transform(values).astype(np.float32))


def test_the_message_of_a_transformer_is_quoted(
    tmp_path: Path, raw: dict[str, list[Any]], fitted: Any
) -> None:
    spec = DataSpec.from_json({"features": [PREP]}, folder=tmp_path)
    message = error_message(encoded, tmp_path, spec, raw | {"work": ["a", "a", "a", "a", "zzz"]})
    assert message.startswith("prep.skops cannot transform the table: Found unknown categories")


def test_text_for_a_transformer_must_be_named(
    tmp_path: Path, raw: dict[str, list[Any]], fitted: Any
) -> None:
    spec = DataSpec.from_json({"features": [PREP | {"text": []}]}, folder=tmp_path)
    assert error_message(encoded, tmp_path, spec, raw) == (
        "raw.csv, line 2, column 'work': 'a' is not a number; if it is text, list it under "
        '"text" for prep.skops in the data spec.'
    )


class Foreign:
    """A type that skops does not know."""

    def get_feature_names_out(self) -> list[str]:
        return ["x"]

    def transform(self, values: np.ndarray) -> np.ndarray:
        return 2 * np.asarray(values)


FOREIGN = {"features": [{"transformer": "prep.skops", "columns": ["x"]}]}


def test_a_foreign_type_needs_trust(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    skops.dump(Foreign(), tmp_path / "prep.skops")
    with pytest.raises(TrustError, match=r"prep.skops .*Foreign'.*--trust-checkpoint"):
        DataSpec.from_json(FOREIGN, folder=tmp_path)
    spec = DataSpec.from_json(FOREIGN, folder=tmp_path, trust=True)
    table = encoded(tmp_path, spec, {"x": [1, 2, 3, 4]})
    np.testing.assert_array_equal(table.features, [[2], [4], [6], [8]])


def test_a_transformer_file_must_be_one(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    assert "does not exist" in error_message(DataSpec.from_json, FOREIGN, folder=tmp_path)
    (tmp_path / "prep.skops").write_text("not an archive")
    message = error_message(DataSpec.from_json, FOREIGN, folder=tmp_path)
    assert message.startswith("prep.skops cannot be read as an object saved by skops")
    skops.dump({"a": 1}, tmp_path / "prep.skops")
    assert "holds an object of type dict, not a fitted transformer" in error_message(
        DataSpec.from_json, FOREIGN, folder=tmp_path
    )


# The real thing.


ADULT = (
    "age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,sex,"
    "capital-gain,capital-loss,hours-per-week,native-country,income"
)


def test_raw_adult_becomes_the_inputs_of_its_network(tmp_path: Path) -> None:
    folder = os.environ.get("FAIRFIX_DATA")
    if folder is None:
        pytest.skip("FAIRFIX_DATA names no folder of benchmark data")
    lines = (Path(folder) / "data/raw/adult/adult.data").read_text().splitlines()[:3000]
    path = tmp_path / "raw.csv"
    kept = [line for line in lines if "?" not in line]
    path.write_text("\n".join([ADULT, *kept]) + "\n")
    reference = Path(folder) / "reference/adult_42/val.csv.gz"
    inputs = pd.read_csv(reference, nrows=0).columns[2:].tolist()

    categories: dict[str, list[str]] = {}
    for name in inputs:
        column, _, category = name.partition("=")
        categories.setdefault(column, []).extend([category] if category else [])
    white = {"White": 1, "Black": 0, "Asian-Pac-Islander": 0, "Amer-Indian-Eskimo": 0, "Other": 0}
    special = {
        "race": {"column": "race", "map": white},
        "sex": {"column": "sex", "map": {"Male": 1, "Female": 0}},
    }
    spec = spec_of(
        *(
            special.get(column, {"column": column} | ({"categories": found} if found else {}))
            for column, found in categories.items()
        )
    )
    columns = Columns(label="income", favorable=">50K", groups=("sex",))
    table = read_table(path, columns, spec=spec, expected_features=98)

    raw = pd.read_csv(path, skipinitialspace=True)
    assert table.feature_names == tuple(inputs)
    encoded_by_pandas = pd.get_dummies(raw, prefix_sep="=", dtype=float)
    encoded_by_pandas["race"] = raw["race"] == "White"
    encoded_by_pandas["sex"] = raw["sex"] == "Male"
    expected = encoded_by_pandas.reindex(columns=inputs, fill_value=0)
    np.testing.assert_array_equal(table.features, expected.to_numpy(np.float32))
    np.testing.assert_array_equal(table.labels, raw["income"] == ">50K")
    assert table.groups[0].names == ("Female", "Male")
    np.testing.assert_array_equal(table.groups[0].ids, raw["sex"] == "Male")


def test_inputs_are_brought_back_to_values_and_units_of_the_table() -> None:
    spec = spec_of(
        {"column": "gain", "mean": 1079.07, "scale": 7452.02},
        {"column": "marital", "map": {"never": 4, "married": 2, "spouse": 2}, "scale": 1.7},
        {"column": "town", "codes": ["north", "south"], "first": 1, "unknown": 0},
        {"column": "work", "categories": ["a", "b"], "mean": [0.2, 0.8], "scale": [0.4, 0.3]},
        {"column": "sex", "categories": ["f", "m"], "drop_first": True, "mean": [0.7]},
    )
    frame = pd.DataFrame(
        {
            "gain": [0, 15024, 0.5],
            "marital": ["never", "spouse", "married"],
            "town": ["north", "west", "south"],
            "work": ["b", "a", "b"],
            "sex": ["f", "m", "f"],
        }
    )
    values, names = spec.in_table_units(spec.encode(frame))
    found = dict(zip(names, values.T.tolist(), strict=True))
    assert found.pop("gain") == [0, 15024, 0.5]
    assert found == {
        "marital=never": [1, 0, 0],
        "marital=married or spouse": [0, 1, 1],
        "town=north": [1, 0, 0],
        "town=south": [0, 0, 1],
        "work=a": [0, 1, 0],
        "work=b": [1, 0, 1],
        "sex=f": [1, 0, 1],
        "sex=m": [0, 1, 0],
    }


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ({"map": {"a": 1, "b": 3}, "unknown": 5, "mean": 1, "scale": 2}, [0, 1, 2, 2]),
        ({"codes": ["b", "a"]}, [1, 0, None, None]),
        ({"codes": ["b", "a"], "first": 1, "unknown": 0}, [2, 1, 0, 0]),
        ({"codes": ["b", "a"], "unknown": 2}, [1, 0, 2, 2]),
        ({"codes": [1, "a"], "unknown": 7}, [1, 7, 7, 7]),
    ],
)
def test_unknown_values_of_mapped_and_coded_columns(
    tmp_path: Path, entry: dict[str, Any], values: list[float | None]
) -> None:
    spec = spec_of({"column": "v", **entry})
    assert DataSpec.from_json(spec.to_json()) == spec
    columns = {"v": ["a", "b", "c", ""]}
    if None in values:
        with pytest.raises(TableError, match="'c' is not one of"):
            encoded(tmp_path, spec, columns)
        return
    np.testing.assert_array_equal(encoded(tmp_path, spec, columns).features[:, 0], values)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"codes": []}, "features[0].codes must"),
        ({"codes": ["1", 1.0]}, "features[0].codes has '1' twice"),
        ({"codes": ["a"], "unknown": "zeros"}, "features[0].unknown must"),
        ({"codes": ["a"], "unknown": -1}, "features[0].unknown must"),
        ({"codes": ["a"], "unknown": 0.5}, "features[0].unknown must"),
        ({"codes": ["a"], "scale": 2}, "features[0] has an unknown key 'scale'"),
        ({"codes": ["a"], "first": 1.5}, "features[0].first must"),
        ({"map": {"a": 1}, "unknown": "zeros"}, "features[0].unknown must"),
    ],
)
def test_faulty_codes_and_unknown_values(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec_of({"column": "v", **entry})
    assert message in str(caught.value)

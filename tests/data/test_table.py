"""Tables: what is read, what is inferred and noted, and which errors are raised."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fairfix.data.table import (
    Columns,
    Table,
    bounded_stream,
    equal_values,
    parquet_reader,
    read_table,
    table_reader,
)
from fairfix.data.table.csv_reader import CsvReader
from fairfix.errors import FairfixError, TableError, UsageError

PLAIN = "label,group,age,hours\n1,0,20,1.5\n0,1,30,2.5\n1,1,40,-3\n0,0,50,4e2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def write(folder: Path, text: str, name: str = "val.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def read(folder: Path, text: str, columns: Columns | None = None, **options: Any) -> Table:
    return read_table(write(folder, text), columns or Columns(), **options)


def refused(folder: Path, text: str, columns: Columns | None = None, **options: Any) -> str:
    with pytest.raises(TableError) as caught:
        read(folder, text, columns, **options)
    return str(caught.value)


def rows(label: Sequence[Any], group: Sequence[Any]) -> str:
    """A table of these labels and groups and one feature."""
    lines = [f"{y},{g},{i}" for i, (y, g) in enumerate(zip(label, group, strict=True))]
    return "\n".join(["label,group,x", *lines]) + "\n"


def labels(n: int) -> list[int]:
    return [i % 2 for i in range(n)]


# What a plain table gives.


def test_a_plain_table(folder: Path) -> None:
    table = read(folder, PLAIN)
    expected = np.array([[20, 1.5], [30, 2.5], [40, -3], [50, 400]], np.float32)
    assert table.features is not None
    np.testing.assert_array_equal(table.features, expected)
    assert table.features.dtype == np.float32
    assert table.features.flags.c_contiguous
    assert table.feature_names == ("age", "hours")
    assert table.labels is not None
    np.testing.assert_array_equal(table.labels, [1, 0, 1, 0])
    assert table.labels.dtype == np.int64
    (group,) = table.groups
    assert (group.column, group.names) == ("group", ("0", "1"))
    np.testing.assert_array_equal(group.ids, [0, 1, 1, 0])
    assert group.ids.dtype == np.int64
    assert (table.favorable, table.label_values, table.rows) == ("1", ("0", "1"), 4)
    assert (table.ids, table.weights, table.scores, table.notes) == (None, None, None, ())
    assert table.sha256 == hashlib.sha256(PLAIN.encode()).hexdigest()
    assert table.source == folder / "val.csv"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.removesuffix("\n"),
        "\ufeff" + PLAIN,
        "\n  \n" + PLAIN.replace("\n0,1", "\n\n0,1") + "\n\n",
        PLAIN.replace("1,0,20", '1,"0", 20 ').replace("\n1,", "\n 1 ,").replace("\n0,", "\n 0,"),
        PLAIN.replace("label,group", ' label , "group"'.replace(' "', '"')),
        PLAIN.replace("\n1,", "\n1.0,").replace("\n0,", "\n0.0,"),
        PLAIN.replace("\n1,", "\nTrue,").replace("\n0,", "\nFalse,"),
    ],
    ids=["crlf", "cr", "no end", "bom", "blank lines", "blanks", "header", "numbers", "booleans"],
)
def test_other_spellings_of_the_same_table(folder: Path, text: str) -> None:
    expected, table = read(folder, PLAIN), read(folder, text)
    np.testing.assert_array_equal(table.features, expected.features)
    np.testing.assert_array_equal(table.labels, expected.labels)
    np.testing.assert_array_equal(table.groups[0].ids, expected.groups[0].ids)
    assert table.feature_names == expected.feature_names


def test_gzip_and_parquet_give_what_csv_gives(folder: Path) -> None:
    text = "label,group,id,w,x,y.z\nyes,a,7,1,1,0.25\nno,b,8,2,0,-1\nyes,b,9,0.5,1,3\n"
    frame = pd.read_csv(write(folder, text))
    frame["group"] = frame["group"].astype("category")
    frame.to_parquet(folder / "val.parquet")
    (folder / "val.CSV.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    columns = Columns(favorable="yes", id="id", weight="w")
    expected = read(folder, text, columns)
    for name in ("val.parquet", "val.CSV.gz"):
        table = read_table(folder / name, columns)
        for key in ("features", "labels", "ids", "weights"):
            np.testing.assert_array_equal(getattr(table, key), getattr(expected, key))
        np.testing.assert_array_equal(table.groups[0].ids, expected.groups[0].ids)
        assert table.feature_names == ("x", "y.z")
        assert (table.notes, table.label_values) == (expected.notes, expected.label_values)
        assert table.sha256 == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_parquet_types(folder: Path) -> None:
    frame = pd.DataFrame(
        {
            "label": [True, False, True],
            "group": pd.array([2, 10, None], dtype="Int64"),
            "id": np.array([2**60, 2**60 + 1, 5]),
            "x": np.array([1, 2, 3], np.int8),
            "y": [True, False, True],
            "z": np.array([0.5, 1.5, 2.5], np.float16),
        }
    )
    frame.to_parquet(folder / "val.parquet")
    columns = Columns(id="id", missing_group="keep")
    table = read_table(folder / "val.parquet", columns)
    assert table.groups[0].names == ("2", "10", "(missing)")
    assert table.ids is not None
    assert table.ids.tolist() == [str(2**60), str(2**60 + 1), "5"]
    np.testing.assert_array_equal(table.features, [[1, 1, 0.5], [2, 0, 1.5], [3, 1, 2.5]])
    assert (table.favorable, table.label_values) == ("True", ("False", "True"))


@pytest.mark.parametrize("cells", [1, 8, 40, 10_000])
@pytest.mark.parametrize("name", ["val.csv", "val.csv.gz", "val.parquet"])
def test_chunk_size_does_not_change_the_table(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cells: int, name: str
) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(101, 4)), columns=list("abcd"))
    frame["b"] = np.arange(101) // 90  # whole numbers
    frame["c"] = (np.arange(101) % 2 == 0) | (frame["a"] > 0)  # True and False
    frame["label"] = rng.choice(["good", "bad"], 101)
    frame["group"] = np.where(np.arange(101) < 77, "x", rng.choice(["y", "z"], 101))
    if name.endswith("parquet"):
        frame.to_parquet(folder / name, row_group_size=13)
    else:
        frame.to_csv(folder / name, index=False)
    monkeypatch.setattr(table_reader, "_CHUNK_CELLS", cells)
    table = read_table(folder / name, Columns(favorable="good"))
    np.testing.assert_array_equal(table.features, frame[list("abcd")].to_numpy(np.float32))
    np.testing.assert_array_equal(table.labels, frame["label"] == "good")
    names = np.array(table.groups[0].names)
    np.testing.assert_array_equal(names[table.groups[0].ids], frame["group"])


@pytest.mark.parametrize("cells", [1, 12, 10_000])
def test_errors_name_the_line_in_any_chunk(
    folder: Path, monkeypatch: pytest.MonkeyPatch, cells: int
) -> None:
    monkeypatch.setattr(table_reader, "_CHUNK_CELLS", cells)
    good = [f'1,{i % 2},{i},"a\nb"' for i in range(20)]
    for bad, problem in (
        ("1,0,old,x", "column 'x': 'old' is not a number"),
        ("1,0,3", "3 fields, but the header has 4; correct the line"),
        ("1,0,3,x,", "5 fields, but the header has 4; correct the line"),
        ("1,0,3,x,y,z", "6 fields, but the header has 4; correct the line"),
    ):
        for place in (0, 1, 11, 20):
            lines = [*good[:place], bad, *good[place:]]
            message = refused(
                folder, "\n".join(["label,group,x,note", *lines]), Columns(ignore=("note",))
            )
            assert f"val.csv, line {2 + 2 * place}" in message
            assert problem in message


def test_take(folder: Path) -> None:
    text = "label,group,sex,id,w,s,x\n" + "".join(
        f"{i % 2},{i % 3},{'fm'[i % 2]},r{i},{i},0.{i},{i * i}\n" for i in range(9)
    )
    columns = Columns(groups=("group", "sex"), id="id", weight="w", score="s", features=("x",))
    table = read(folder, text, columns)
    part = table.take(np.array([8, 2, 2]))
    assert part.rows == 3
    np.testing.assert_array_equal(part.features, [[64], [4], [4]])
    np.testing.assert_array_equal(part.labels, [0, 0, 0])
    np.testing.assert_array_equal(part.groups[0].ids, [2, 2, 2])
    np.testing.assert_array_equal(part.groups[1].ids, table.groups[1].ids[[8, 2, 2]])
    assert part.ids is not None
    assert part.ids.tolist() == ["r8", "r2", "r2"]
    np.testing.assert_array_equal(part.weights, [8, 2, 2])
    np.testing.assert_array_equal(part.scores, [0.8, 0.2, 0.2])
    assert part.group_names == table.group_names == {"group": ("0", "1", "2"), "sex": ("f", "m")}
    mask = np.arange(9) > 6
    np.testing.assert_array_equal(table.take(mask).features, [[49], [64]])
    assert read(folder, PLAIN).take(np.array([], int)).rows == 0


# Labels.


@pytest.mark.parametrize(
    ("values", "favorable", "named", "all_values"),
    [
        (["<=50K", " >50K", "<=50K", " >50K"], ">50K", ">50K", ("<=50K", ">50K")),
        (["2", "1", "2", "1"], None, "1", ("1", "2")),
        (["-1", "1.0", "-1", "1.0"], "1", "1", ("-1", "1")),
        (["false", "true", "false", "true"], "1", "true", ("false", "true")),
        (["0", "1", "0", "1"], "True", "1", ("0", "1")),
        (["0.5", "0.250", "0.5", "0.250"], ".25", "0.250", ("0.250", "0.5")),
    ],
)
def test_the_favorable_value(
    folder: Path, values: list[str], favorable: str | None, named: str, all_values: tuple[str, ...]
) -> None:
    table = read(folder, rows(values, "0101"), Columns(favorable=favorable))
    np.testing.assert_array_equal(table.labels, [0, 1, 0, 1])
    assert (table.favorable, table.label_values) == (named, all_values)


GRADES = rows(["low", "high", "mid", "high"], "0101")


@pytest.mark.parametrize("unfavorable", [("low", "mid"), ("mid", "low"), ("others",)])
def test_more_than_two_labels_with_their_meaning(
    folder: Path, unfavorable: tuple[str, ...]
) -> None:
    table = read(folder, GRADES, Columns(favorable="high", unfavorable=unfavorable))
    np.testing.assert_array_equal(table.labels, [0, 1, 0, 1])
    assert table.notes == ("label 'label': 'low', 'mid' count as unfavorable",)


@pytest.mark.parametrize(
    ("favorable", "unfavorable"),
    [(None, ()), ("high", ()), (None, ("others",)), ("high", ("mid",))],
)
def test_more_than_two_labels_need_a_decision_on_each(
    folder: Path, favorable: str | None, unfavorable: tuple[str, ...]
) -> None:
    columns = Columns(favorable=favorable, unfavorable=unfavorable)
    assert refused(folder, GRADES, columns) == (
        "val.csv, column 'label' has the values 'high', 'low', 'mid'; name the favorable one with "
        "--favorable and those that count as unfavorable with --unfavorable, where 'others' takes "
        "all the others."
    )


def test_a_label_value_named_others_is_that_value(folder: Path) -> None:
    columns = Columns(favorable="a", unfavorable=("others",))
    assert "has the values 'a', 'b', 'others'; name" in refused(
        folder, rows(["a", "others", "b", "a"], "0101"), columns
    )
    table = read(folder, rows(["a", "others", "a", "others"], "0101"), columns)
    np.testing.assert_array_equal(table.labels, [1, 0, 1, 0])


def test_an_unfavorable_value_that_does_not_occur(folder: Path) -> None:
    columns = Columns(favorable="high", unfavorable=("low", "worst"))
    assert refused(folder, GRADES, columns) == (
        "val.csv, column 'label' has no value 'worst' (unfavorable value). Its other values: "
        "'low', 'mid'."
    )


TWINS = [
    (["01", "1", "1e2", "100"], "'01' and '1'; '100' and '1e2'"),
    (["1", "1.0", "0", "0"], "'1' and '1.0'"),
    (["1", "True", "0", "0"], "'1' and 'True'"),
    (["0.5", "0.50", "1", "1"], "'0.5' and '0.50'"),
    ([">50K", ">50K.", "<=50K", "<=50K"], "'>50K' and '>50K.'"),
    (["yes", " yes", "Yes", "no"], "' yes' and 'Yes' and 'yes'"),
    (["a_b", "a  b", "c", "c"], "'a  b' and 'a_b'"),
    (["caf\u00e9", "cafe\u0301", "c", "c"], "'cafe\u0301' and 'caf\u00e9'"),
    (["18-25", "18\u201325", "26+", "26+"], "'18-25' and '18\u201325'"),
]


@pytest.mark.parametrize(("values", "twins"), TWINS)
@pytest.mark.parametrize("cells", [1, 10_000])
def test_values_that_differ_only_in_spelling_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, values: list[str], twins: str, cells: int
) -> None:
    monkeypatch.setattr(table_reader, "_CHUNK_CELLS", cells)
    told = (
        f"has values that differ only in spelling: {twins}. Write each value in one way, or rename "
        "those that are meant to differ."
    )
    assert refused(folder, rows("0101", values)) == f"val.csv, column 'group' {told}"
    columns = Columns(favorable=values[0], unfavorable=("others",))
    assert refused(folder, rows(values, "0101"), columns) == f"val.csv, column 'label' {told}"


def test_values_that_differ_in_more_than_spelling_stay_apart(folder: Path) -> None:
    values = ["A", "A+", "A-", "-1", "1", "<25", ">=25", "b1", "b10", "2.5", "25"]
    table = read(folder, rows([0, 1] * 5 + [0], values))
    assert sorted(table.groups[0].names) == sorted(values)


def test_codes_of_a_second_table_are_not_numbers(folder: Path) -> None:
    known = {"group_names": {"group": ("1", "2")}}
    assert "unknown values '01', '02'" in refused(folder, rows("0101", ["01", "02"] * 2), **known)
    assert "unknown value '1e0'" in refused(folder, rows("0101", ["1e0", "2"] * 2), **known)
    assert group_of(read(folder, rows("0101", ["1.0", "2.0"] * 2), **known))[1] == [0, 1, 0, 1]


def test_a_group_may_not_have_the_name_of_rows_without_a_value(folder: Path) -> None:
    text = rows("10101", ["a", "", "(Missing)", "a", "b"])
    assert refused(folder, text, Columns(missing_group="keep")) == (
        "val.csv, column 'group': 1 row has no value (first: line 3), and others have the value "
        "'(Missing)', the name of the group that rows without a value form; rename that value."
    )


@pytest.mark.parametrize(
    ("labels", "favorable", "message"),
    [
        (
            "abab",
            None,
            "val.csv, column 'label' has the values 'a', 'b'; set favorable to one of them.",
        ),
        (
            "1111",
            None,
            "val.csv, column 'label' has only the value '1'; rows of both outcomes are needed.",
        ),
        (
            "1010",
            "2",
            "val.csv, column 'label' has no value '2' (favorable value). Its values: '0', '1'.",
        ),
        (
            ["1", "", "0", "NA"],
            None,
            "val.csv, column 'label': 2 rows have no value (first: line 3); add the labels or "
            "remove the rows.",
        ),
    ],
)
def test_unusable_labels(
    folder: Path, labels: Sequence[str], favorable: str | None, message: str
) -> None:
    assert refused(folder, rows(labels, "0101"), Columns(favorable=favorable)).startswith(message)


def test_the_nearest_favorable_value_is_named(folder: Path) -> None:
    text = rows(["<=50K", ">50K", "<=50K", ">50K"], "0101")
    assert refused(folder, text, Columns(favorable=">50k")) == (
        "val.csv, column 'label' has no value '>50k' (favorable value); did you mean '>50K'? Its "
        "values: '<=50K', '>50K'."
    )


# Groups.


def group_of(table: Table) -> tuple[tuple[str, ...], list[int]]:
    return table.groups[0].names, table.groups[0].ids.tolist()


def test_the_privileged_group_as_named(folder: Path) -> None:
    text = rows("1100", ["f", "f", "m", "m"])
    table = read(folder, text, Columns(privileged="m"))
    assert group_of(table) == (("f", "m"), [0, 0, 1, 1])
    assert table.notes == ()
    assert group_of(read(folder, text, Columns(privileged=" f"))) == (("m", "f"), [1, 1, 0, 0])


def test_the_named_group_takes_precedence_over_the_values_0_and_1(folder: Path) -> None:
    table = read(folder, rows("1010", "0011"), Columns(privileged="0"))
    assert group_of(table) == (("1", "0"), [1, 1, 0, 0])


def test_booleans_mean_themselves(folder: Path) -> None:
    table = read(folder, rows("1001", ["True", "True", "False", "False"]))
    assert (group_of(table), table.notes) == ((("False", "True"), [1, 1, 0, 0]), ())


def test_the_group_with_the_higher_base_rate_is_inferred_as_privileged(folder: Path) -> None:
    table = read(folder, rows("1100100", "ffffmmm"))
    assert group_of(table)[0] == ("m", "f")
    assert table.notes == (
        "group 'group': 'f' is taken as privileged because its favorable base rate is higher "
        "(0.5 vs. 0.333)",
    )


def test_weights_count_in_the_base_rate(folder: Path) -> None:
    text = "label,group,w,x\n1,f,1,0\n0,f,9,0\n1,m,2,0\n0,m,2,0\n1,f,1,0\n"
    assert group_of(read(folder, text, Columns(ignore=("w",))))[0] == ("m", "f")
    table = read(folder, text, Columns(weight="w"))
    assert group_of(table)[0] == ("f", "m")
    assert "(0.5 vs. 0.182)" in table.notes[0]


def test_equal_base_rates_are_reported_as_not_lower(folder: Path) -> None:
    table = read(folder, rows("1010", "ffmm"))
    assert group_of(table)[0] == ("f", "m")
    assert "is not lower (0.5 vs. 0.5)" in table.notes[0]


def test_many_groups_come_in_natural_order(folder: Path) -> None:
    values = ["b10", "b9", "B1", "10", "9.0", "a"]
    table = read(folder, rows("101010", values))
    assert group_of(table) == (("9", "10", "a", "B1", "b9", "b10"), [5, 4, 3, 1, 0, 2])
    assert table.notes == ()


RACES = ["White", "Black", "Asian", "White", "Black", "White"]


def test_a_privileged_group_among_many_is_refused(folder: Path) -> None:
    assert refused(folder, rows("101010", RACES), Columns(privileged="White")) == (
        "val.csv, column 'group' has 3 groups, between which a gap is the largest rate minus the "
        "smallest, whichever is privileged. Use --reference 'White' to compare that group with all "
        "others together, or leave out --privileged."
    )


def test_a_reference_group_is_compared_with_all_others_together(folder: Path) -> None:
    table = read(folder, rows("101010", RACES), Columns(reference=" White"))
    assert group_of(table) == (("not White", "White"), [1, 0, 0, 1, 0, 1])
    assert table.notes == ("group 'group': 'Asian', 'Black' form the group 'not White'",)
    other = rows("1010", ["Other", "White", "White", "Other"])
    names = {"group_names": table.group_names}
    for columns in (Columns(reference="White"), Columns()):
        assert group_of(read(folder, other, columns, **names))[1] == [0, 1, 1, 0]


def test_a_reference_group_of_two_is_the_privileged_one(folder: Path) -> None:
    table = read(folder, rows("1010", "ffmm"), Columns(reference="f"))
    assert (group_of(table), table.notes) == ((("m", "f"), [1, 1, 0, 0]), ())
    assert "has no value 'x' (privileged group)" in refused(
        folder, rows("1010", "ffmm"), Columns(reference="x")
    )


def test_missing_groups_are_among_the_others(folder: Path) -> None:
    text = rows("1010", ["a", "b", "", "a"])
    table = read(folder, text, Columns(reference="a", missing_group="keep"))
    assert group_of(table) == (("not a", "a"), [1, 0, 0, 1])


def test_privileged_and_reference_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="both name the privileged group"):
        Columns(privileged="a", reference="b")


def test_several_protected_attributes(folder: Path) -> None:
    text = "label,sex,race,x\n1,m,a,1\n0,f,b,2\n1,m,c,3\n0,f,a,4\n"
    table = read(folder, text, Columns(groups=("sex", "race"), privileged="f"))
    assert [group.names for group in table.groups] == [("m", "f"), ("a", "b", "c")]
    assert table.feature_names == ("x",)


@pytest.mark.parametrize("blank", ["", "NA", " ", "nan"])
def test_a_missing_group_is_an_error_or_its_own_group(folder: Path, blank: str) -> None:
    text = rows("10101", ["0", blank, "1", "1", blank])
    assert refused(folder, text) == (
        "val.csv, column 'group': 2 rows have no value (first: line 3); remove these rows, or "
        "set missing_group to 'keep' to make them a group, or to 'performance-only' to leave them "
        "out of gaps."
    )
    table = read(folder, text, Columns(missing_group="keep"))
    assert group_of(table) == (("0", "1", "(missing)"), [0, 2, 1, 1, 2])
    assert table.notes == ("group 'group': 2 rows without a value form the group '(missing)'",)


def test_the_word_none_is_a_group(folder: Path) -> None:
    table = read(folder, rows("1010", ["None", "blind", "None", "deaf"]))
    assert group_of(table)[0] == ("blind", "deaf", "None")


@pytest.mark.parametrize(
    ("groups", "columns", "message"),
    [
        (
            "aaaa",
            Columns(),
            "val.csv, column 'group' has only the value 'a'; a fairness gap needs at least two "
            "groups.",
        ),
        (
            "abab",
            Columns(privileged="c"),
            "val.csv, column 'group' has no value 'c' (privileged group). Its values: 'a', 'b'.",
        ),
        (
            "abcb",
            Columns(privileged="d"),
            "val.csv, column 'group' has no value 'd' (privileged group). Its values: 'a', 'b', "
            "'c'.",
        ),
    ],
)
def test_unusable_groups(folder: Path, groups: str, columns: Columns, message: str) -> None:
    assert refused(folder, rows("1010", groups), columns).startswith(message)


def test_an_identifier_is_not_a_group(folder: Path) -> None:
    text = rows([0, 1] * 600, range(1200))
    assert "column 'group' has more than 1000 distinct values, too many" in refused(folder, text)


@pytest.mark.parametrize(("n_rows", "n_groups"), [(60, 60), (64, 13), (4999, 1000)])
def test_a_column_with_under_five_rows_a_group_is_refused(
    folder: Path, n_rows: int, n_groups: int
) -> None:
    group = [f"p{i % n_groups}" for i in range(n_rows)]
    message = refused(folder, rows(labels(n_rows), group))
    assert f"has {n_groups:,} values in {n_rows:,} rows, fewer than 5 rows a group" in message
    assert "put values into bins" in message


@pytest.mark.parametrize(("n_rows", "n_groups"), [(60, 12), (20, 10), (8, 4)])
def test_few_groups_and_groups_of_five_rows_are_read(
    folder: Path, n_rows: int, n_groups: int
) -> None:
    table = read(folder, rows(labels(n_rows), [f"p{i % n_groups}" for i in range(n_rows)]))
    assert len(table.groups[0].names) == n_groups


# A second table.


def test_a_second_table_keeps_the_coding(folder: Path) -> None:
    first = read(folder, rows("aabab", "ffmmm"), Columns(favorable="a"))
    assert first.group_names == {"group": ("m", "f")}
    second = read(
        folder,
        rows("abab", "mfmf"),
        Columns(favorable="a"),
        label_values=first.label_values,
        group_names=first.group_names,
    )
    assert group_of(second) == (("m", "f"), [0, 1, 0, 1])
    assert (second.label_values, second.favorable, second.notes) == (("a", "b"), "a", ())
    np.testing.assert_array_equal(second.labels, [1, 0, 1, 0])


def test_a_second_table_may_lack_values(folder: Path) -> None:
    names = {"group": ("x", "y", "z")}
    table = read(
        folder,
        rows("hilo", "yxyx"),
        Columns(favorable="h"),
        label_values=("h", "i", "l", "m", "o"),
        group_names=names,
    )
    assert table.group_names == names
    assert group_of(table)[1] == [1, 0, 1, 0]
    np.testing.assert_array_equal(table.labels, [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            rows("1010", "abac"),
            "val.csv, column 'group' has the unknown value 'c'; the known ones are 'a', 'b'. "
            "Correct or remove these rows.",
        ),
        (
            rows("1210", "abab"),
            "val.csv, column 'label' has the unknown value '2'; the known ones are '0', '1'. "
            "Correct or remove these rows.",
        ),
    ],
)
def test_new_values_in_a_second_table_are_refused(folder: Path, text: str, message: str) -> None:
    names = {"group": ("a", "b")}
    assert refused(folder, text, label_values=("0", "1"), group_names=names) == message


def test_missing_groups_of_a_second_table(folder: Path) -> None:
    text, columns = rows("1010", ["a", "b", "", "a"]), Columns(missing_group="keep")
    known = {"group_names": {"group": ("a", "b", "(missing)")}}
    assert group_of(read(folder, text, columns, **known))[1] == [0, 1, 2, 0]
    assert "has the unknown value '(missing)'; the known ones are 'a', 'b'" in refused(
        folder, text, columns, group_names={"group": ("a", "b")}
    )


# Tables to predict on.


def test_labels_and_groups_may_be_absent(folder: Path) -> None:
    table = read(
        folder,
        "x,y\n1,2\n3,4\n",
        Columns(favorable="a"),
        require_labels=False,
        require_groups=False,
    )
    assert (table.labels, table.groups, table.favorable) == (None, (), "a")
    np.testing.assert_array_equal(table.features, [[1, 2], [3, 4]])


def test_labels_that_cannot_be_used_are_left_out_with_a_note(folder: Path) -> None:
    table = read(folder, rows(["", "1"], ["a", ""]), require_labels=False, require_groups=False)
    assert (table.labels, table.groups) == (None, ())
    assert table.notes[0].startswith("labels are left out: val.csv, column 'label': 1 row has no")
    assert table.notes[1].startswith("groups are left out: val.csv, column 'group': 1 row has no")
    assert table.feature_names == ("x",)


def test_one_group_is_enough_to_predict(folder: Path) -> None:
    names = {"group": ("a", "b")}
    table = read(folder, "group,x\nb,1\n", require_labels=False, group_names=names)
    assert group_of(table) == (("a", "b"), [1])


def test_without_labels_no_privileged_group_is_inferred(folder: Path) -> None:
    table = read(folder, "group,x\nm,1\nf,2\n", require_labels=False)
    assert group_of(table) == (("f", "m"), [1, 0])
    assert table.notes == (
        "group 'group': without labels the privileged group cannot be inferred; 'm' is used",
    )


def test_without_a_group_column_there_is_no_group(folder: Path) -> None:
    with pytest.raises(UsageError, match="No group column is named; name the column"):
        read(folder, PLAIN, Columns(groups=()))
    assert read(folder, PLAIN, Columns(groups=()), require_groups=False).groups == ()


# Ids, weights, scores.


def test_ids_weights_and_scores(folder: Path) -> None:
    text = "label,group,id,w,s\n1,0, a7 ,0.5,0\n0,1,007,0,1\n1,1,a7,1e3,0.1234567890123456789\n"
    table = read(folder, text, Columns(id="id", weight="w", score="s"))
    assert table.ids is not None
    assert table.ids.tolist() == ["a7", "007", "a7"]
    assert table.ids.dtype == object
    assert table.weights is not None
    np.testing.assert_array_equal(table.weights, [0.5, 0, 1000])
    assert table.scores is not None
    np.testing.assert_allclose(table.scores, [0, 1, 0.12345678901234568], rtol=1e-15)
    assert table.weights.dtype == table.scores.dtype == np.float64
    assert table.notes == ("id 'id': 1 row repeats the id of an earlier row",)
    assert (table.features, table.feature_names) == (None, ())


def test_features_beside_scores_are_read_when_asked_for(folder: Path) -> None:
    text = "label,group,s,x,y\n1,0,0.5,1,2\n0,1,0.25,3,4\n"
    assert read(folder, text, Columns(score="s")).features is None
    named = read(folder, text, Columns(score="s", features=("y",)))
    np.testing.assert_array_equal(named.features, [[2], [4]])
    wanted = read(folder, text, Columns(score="s"), expected_features=2)
    np.testing.assert_array_equal(wanted.features, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("values", "columns", "message"),
    [
        (
            ["1", "-2", "-1"],
            Columns(weight="v"),
            "2 values are missing, negative or infinite (first: -2 in line 3); correct the values "
            "or remove the rows.",
        ),
        (
            ["1", "", "1"],
            Columns(weight="v"),
            "1 value is missing, negative or infinite (first: nan in line 3); correct the values "
            "or remove the rows.",
        ),
        (
            ["1", "1", "inf"],
            Columns(weight="v"),
            "1 value is missing, negative or infinite (first: inf in line 4); correct the values "
            "or remove the rows.",
        ),
        (["0", "0", "0"], Columns(weight="v"), "all weights are 0; some must be positive."),
        (
            ["0", "1.5", "1"],
            Columns(score="v"),
            "1 value is missing or outside [0, 1] (first: 1.5 in line 3); correct the values "
            "or remove the rows.",
        ),
        (
            ["NaN", "0.5", "1"],
            Columns(score="v"),
            "1 value is missing or outside [0, 1] (first: nan in line 2); correct the values "
            "or remove the rows.",
        ),
    ],
)
def test_weights_and_scores_out_of_range(
    folder: Path, values: list[str], columns: Columns, message: str
) -> None:
    lines = [f"{i % 2},{i % 2},{v},7" for i, v in enumerate(values)]
    text = "\n".join(["label,group,v,x", *lines])
    assert refused(folder, text, columns) == f"val.csv, column 'v': {message}"


def test_text_is_not_a_weight(folder: Path) -> None:
    text = "label,group,v,x\n1,0,1,7\n0,1,heavy,7\n"
    assert refused(folder, text, Columns(weight="v")) == (
        "val.csv, line 3, column 'v': 'heavy' is not a number; correct it or remove the row."
    )


# Features.


def test_features_come_in_the_order_named(folder: Path) -> None:
    table = read(folder, PLAIN, Columns(features=("hours", "group", "age")))
    assert table.features is not None
    np.testing.assert_array_equal(table.features[0], [1.5, 0, 20])
    assert table.feature_names == ("hours", "group", "age")
    assert group_of(table) == (("0", "1"), [0, 1, 1, 0])


def test_ignored_columns_may_hold_anything(folder: Path) -> None:
    text = "note,label,group,x\nabc,1,0,1\n,0,1,2\n"
    assert read(folder, text, Columns(ignore=("note",))).feature_names == ("x",)


def test_a_role_wins_over_being_ignored(folder: Path) -> None:
    table = read(folder, PLAIN, Columns(ignore=("group", "label", "age")))
    assert table.feature_names == ("hours",)


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_a_saved_row_index_is_not_a_feature(folder: Path, name: str) -> None:
    text = f"{name},label,group,x\n0,1,0,5\n1,0,1,6\n"
    table = read(folder, text)
    assert table.feature_names == ("x",)
    assert table.notes == (f"column {name!r} is left out as a saved row index",)


@pytest.mark.parametrize(
    ("header", "place"), [("label,group,x,", 4), (",label,group,,x", 4), ("label,group,,", 3)]
)
def test_a_later_column_without_a_name_is_not_a_row_index(
    folder: Path, header: str, place: int
) -> None:
    row = ",".join("1" for _ in header.split(","))
    assert refused(folder, f"{header}\n{row}\n") == (
        f"val.csv: column {place} of the header has no name. Name it, remove it, or list the "
        "network's input columns in features."
    )


def test_a_column_without_a_name_does_not_matter_where_features_are_named(folder: Path) -> None:
    table = read(folder, "label,group,x,\n0,0,5,9\n1,1,6,9\n", Columns(features=("x",)))
    assert table.feature_names == ("x",)


def test_a_row_index_that_may_be_a_feature_is_mentioned(folder: Path) -> None:
    message = refused(folder, ",label,group,x\n0.5,1,0,5\n0.7,0,1,6\n", expected_features=2)
    assert message.startswith(
        "val.csv gives 1 feature (column '' is left out as a saved row index; rename it if it is "
        "a feature), but the network takes 2. With the group column"
    )


def test_an_index_in_parquet_is_not_a_feature_but_can_be_the_id(folder: Path) -> None:
    frame = pd.DataFrame({"label": [0, 1], "group": [0, 1], "x": [5, 6]}, index=[30, 40])
    frame.to_parquet(folder / "val.parquet")
    assert read_table(folder / "val.parquet", Columns()).feature_names == ("x",)
    frame.rename_axis("row").to_parquet(folder / "val.parquet")
    table = read_table(folder / "val.parquet", Columns(id="row"))
    assert table.ids is not None
    assert table.ids.tolist() == ["30", "40"]


def test_booleans_and_numbers_mix_as_features(folder: Path) -> None:
    text = "label,group,x,y\n1,0,True,1\n0,1,false,2.0\n1,0,0.5,True\n"
    np.testing.assert_array_equal(read(folder, text).features, [[1, 1], [0, 2], [0.5, 1]])


@pytest.mark.parametrize("bad", ["abc", "1_000", "0x10", "None", "2020-01-01", "?"])
def test_text_is_not_a_feature(folder: Path, bad: str) -> None:
    text = f'label,group,x\n1,0,1\n0,1,"{bad}"\n'
    assert refused(folder, text) == (
        f"val.csv, line 3, column 'x': {bad!r} is not a number; ignore the column or encode it "
        "with a data spec."
    )


INFINITE = ("infinite or too large for float32", "Rescale")


@pytest.mark.parametrize(
    ("bad", "what", "remedy"),
    [
        *((bad, "missing", "Fill") for bad in ("", "nan", "NA")),
        *((bad, *INFINITE) for bad in ("inf", "-inf", "1e39", "-1e300", "1e999")),
    ],
)
def test_features_must_be_finite_in_float32(folder: Path, bad: str, what: str, remedy: str) -> None:
    text = f"label,group,x,y,z\n1,0,1,1,1\n0,1,{bad},1,1\n1,1,1,1,{bad}\n0,1,{bad},1,1\n"
    assert refused(folder, text) == (
        f"val.csv, column 'x': 2 values are {what} (first: line 3); 1 other column has such "
        f"values too. {remedy} them as for training, or remove the rows."
    )


def test_missing_and_infinite_values_are_distinguished(folder: Path) -> None:
    text = "label,group,x,y\n1,0,1e300,1\n0,1,2,\n1,1,3,\n0,0,1e300,1\n"
    message = refused(folder, text)
    assert message.startswith(
        "val.csv, column 'y': 2 values are missing (first: line 3). Fill them"
    )


def test_parquet_errors_name_the_row(folder: Path) -> None:
    frame = pd.DataFrame({"label": [0, 1], "group": [0, 1], "x": [1.0, None], "l": [[1], [2]]})
    frame.to_parquet(folder / "val.parquet")
    with pytest.raises(TableError, match=r"column 'x': 1 value .* \(first: row 2\)"):
        read_table(folder / "val.parquet", Columns(ignore=("l",)))
    with pytest.raises(TableError, match="column 'l' has the type list<"):
        read_table(folder / "val.parquet", Columns(ignore=("x",)))


@pytest.mark.parametrize(
    ("columns", "expected", "message"),
    [
        (
            Columns(),
            3,
            "val.csv gives 2 features, but the network takes 3. With the group column 'group' the "
            "number is right: list all 3 as features in the network's order, the group column "
            "among them.",
        ),
        (
            Columns(groups=("group", "age")),
            2,
            "val.csv gives 1 feature, but the network takes 2. With 1 of the group columns "
            "'group', 'age' the number is right: list all 2 as features in the network's order, "
            "1 of the group columns among them.",
        ),
        (
            Columns(),
            98,
            "val.csv gives 2 features, but the network takes 98. Use the table as it was encoded "
            "for training, or describe the encoding in a data spec next to the model.",
        ),
        (
            Columns(),
            1,
            "val.csv gives 2 features, but the network takes 1. Ignore the other columns, or list "
            "the features in the network's order.",
        ),
    ],
)
def test_another_number_of_features_than_the_network_takes(
    folder: Path, columns: Columns, expected: int, message: str
) -> None:
    assert refused(folder, PLAIN, columns, expected_features=expected) == message


def test_a_table_without_features(folder: Path) -> None:
    assert "no column left as a feature; list the features" in refused(
        folder, "label,group\n1,0\n0,1\n"
    )


# Columns.


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            Columns(label="lable"),
            "val.csv has no column 'lable' (label column); did you mean 'label'? Its columns: "
            "'label', 'group', 'age', 'hours'.",
        ),
        (
            Columns(label="income"),
            "val.csv has no column 'income' (label column). Its columns: 'label', 'group', 'age', "
            "'hours'.",
        ),
        (
            Columns(groups=("Group",)),
            "val.csv has no column 'Group' (group column); did you mean 'group'?",
        ),
        (Columns(id="ages"), "val.csv has no column 'ages' (id column); did you mean 'age'?"),
        (Columns(weight="w"), "val.csv has no column 'w' (weight column)."),
        (Columns(score="s"), "val.csv has no column 's' (score column)."),
        (
            Columns(ignore=("hour",)),
            "val.csv has no column 'hour' (ignored column); did you mean 'hours'?",
        ),
        (
            Columns(features=("age", "hour")),
            "val.csv has no column 'hour' (feature); did you mean 'hours'?",
        ),
    ],
)
def test_a_missing_column(folder: Path, columns: Columns, message: str) -> None:
    assert refused(folder, PLAIN, columns).startswith(message)


@pytest.mark.parametrize(
    ("mark", "called"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")]
)
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("cells", [1, 10_000])
def test_other_separators_and_decimal_commas_are_read_and_noted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mark: str, called: str, decimal: str, cells: int
) -> None:
    expected = read(folder, PLAIN)
    monkeypatch.setattr(table_reader, "_CHUNK_CELLS", cells)
    table = read(folder, PLAIN.replace(",", mark).replace(".", decimal))
    np.testing.assert_array_equal(table.features, expected.features)
    np.testing.assert_array_equal(table.labels, expected.labels)
    comma = ("decimals are read with a comma",) if decimal == "," else ()
    assert table.notes == (f"columns are separated by {called}", *comma)


@pytest.mark.parametrize("line", ["sep=,", "SEP=;", '"sep=|"', "sep=^"])
def test_the_separator_that_a_first_line_names(folder: Path, line: str) -> None:
    mark = line.strip('"')[-1]
    text = f"\ufeff{line}\n\n{PLAIN.replace(',', mark)}"
    np.testing.assert_array_equal(read(folder, text).features, read(folder, PLAIN).features)
    assert ", line 8: 5 fields" in refused(folder, f"{text}1{mark}2{mark}3{mark}4{mark}5\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
@pytest.mark.parametrize("name", ["val.csv", "val.csv.gz"])
def test_utf_16_with_a_byte_order_mark(folder: Path, encoding: str, name: str) -> None:
    text = "\ufefflabel;group;x\n1;\u00e9;0,5\n0;\u4e2d;-1,25\n".removeprefix(
        "\ufeff" if encoding == "utf-16" else ""
    )
    content = text.encode(encoding)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    table = read_table(folder / name, Columns())
    np.testing.assert_array_equal(table.features, [[0.5], [-1.25]])
    assert set(table.groups[0].names) == {"\u00e9", "\u4e2d"}
    assert table.notes[:3] == (
        "columns are separated by semicolons",
        "the table is read as UTF-16",
        "decimals are read with a comma",
    )


POINTS = "write decimals with a point, and thousands without a mark."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "label;group;x\n1;0;1,234\n0;1;5\n",
            f"val.csv, column 'x': '1,234' may be 1.234 or 1234; {POINTS}",
        ),
        (
            "label;group;x\n1;0;12.500\n0;1;850\n",
            "val.csv, column 'x': '12.500' may be 12.5 or 12500; write thousands without a mark, "
            "and commas between columns if the point is decimal.",
        ),
        (
            "label;group;x;y\n1;0;1,5;12.500\n0;1;5;5\n",
            "val.csv has decimal commas ('1,5' in column 'x') and points ('12.500' in column "
            f"'y'); {POINTS}",
        ),
        (
            "label;group;x;y\n1;0;1,5;2.5\n0;1;5;5\n",
            "val.csv has decimal commas ('1,5' in column 'x') and points ('2.5' in column 'y'); "
            + POINTS,
        ),
        (
            'label,group,x\n1,0,"0,787"\n0,1,"1,5"\n',
            f"val.csv, line 2, column 'x': '0,787' is not a number; {POINTS}",
        ),
        (
            "label;group;a, b\n1;0;1,5\n0;1;2,5\n",
            "val.csv: its columns may be separated by commas or semicolons; quote cells that "
            "contain them, or name the separator in a first line such as sep=;",
        ),
        (
            "label:group:x\n1:0:1\n0:1:2\n",
            "val.csv has no column 'label' (label column). Its only column is 'label:group:x': "
            "separate the columns by commas, semicolons or tabs.",
        ),
    ],
)
def test_separators_and_decimals_that_are_not_certain(
    folder: Path, text: str, message: str
) -> None:
    assert refused(folder, text) == message


def test_one_thousands_mark_among_decimal_commas_is_a_decimal_comma(folder: Path) -> None:
    table = read(folder, "label;group;x\n1;0;1,234\n0;1;0,5\n")
    np.testing.assert_array_equal(table.features, np.array([[1.234], [0.5]], np.float32))


def test_one_thousands_mark_among_decimal_points_is_a_decimal_point(folder: Path) -> None:
    table = read(folder, "label;group;x;y\n1;0;1.234;-0.5\n0;1;0;0.25\n")
    np.testing.assert_array_equal(table.features[:, 0], np.array([1.234, 0], np.float32))


def test_commas_separate_although_cells_hold_semicolons(folder: Path) -> None:
    table = read(folder, "label,group,x\n1,a;b,1\n0,c;d,2\n")
    assert table.groups[0].names == ("c;d", "a;b")
    assert len(table.notes) == 1


def test_long_lists_of_columns_are_shortened(folder: Path) -> None:
    header = ",".join(f"c{i}" for i in range(100))
    assert refused(folder, f"{header}\n").endswith("'c11' and 88 more.")


def test_duplicate_columns_are_refused(folder: Path) -> None:
    text = "label,group,x,y, x\n1,0,1,2,3\n0,1,4,5,6\n"
    assert refused(folder, text) == (
        "val.csv has 2 columns named 'x' (columns 3 and 5); rename or remove all but one."
    )


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"label": "group"}, "Column 'group' is named as label column and as group column;"),
        ({"id": "w", "weight": "w"}, "Column 'w' is named as id column and as weight column;"),
        ({"groups": ("a", "a")}, "Column 'a' is named as group column and as group column;"),
        (
            {"score": "x", "features": ("x",)},
            "Column 'x' is named as score column and as feature; it cannot be both.",
        ),
        (
            {"features": ("label",)},
            "Column 'label' is named as label column and as feature; it cannot be both.",
        ),
        (
            {"features": ("x",), "ignore": ("x",)},
            "Column 'x' is named as ignored column and as feature; it cannot be both.",
        ),
        (
            {"features": ("x", "y", "x")},
            "Column 'x' is named 2 times as feature; name it once.",
        ),
    ],
)
def test_a_column_has_one_role(roles: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Columns(**roles)
    assert str(caught.value).startswith(message)


# Files.


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.csv", b"", "v.csv is an empty file; a table needs a header and rows."),
        ("v.csv", b"\n \n", "v.csv has only blank lines; a table needs a header and rows."),
        ("v.csv", b"label,group,x\n", "v.csv has a header but no rows."),
        ("v.csv", b"label,group,x\n\n", "v.csv has a header but no rows."),
        ("v.txt", b"label", "v.txt has an unsupported extension; use .csv, .csv.gz or .parquet."),
        (
            "v.csv",
            gzip.compress(b"a", mtime=0),
            "v.csv is compressed with gzip; rename it to v.csv.gz.",
        ),
        ("v.csv.gz", b"a,b\n1,2\n", "v.csv.gz is not compressed with gzip; rename it to v.csv."),
        (
            "v.csv.gz",
            gzip.compress(PLAIN.encode(), mtime=0)[:-9],
            "v.csv.gz is a damaged gzip file",
        ),
        ("v.csv.gz", b"\x1f\x8b\x08\x00" + b"a" * 40, "v.csv.gz is a damaged gzip file"),
        ("v.parquet", b"PAR1 and no more", "v.parquet cannot be read as Parquet ("),
        ("v.csv", PLAIN.encode() + b"1,0,1,\xe9\n", "v.csv, line 6: not UTF-8 text; save"),
        ("v.csv", "label,Größe\n".encode("latin-1"), "v.csv, line 1: not UTF-8 text; save"),
        ("v.csv", PLAIN.encode("utf-16-le"), "v.csv, line 1: not UTF-8 text; save"),
        ("v.csv", PLAIN.encode("utf-16")[:-1], "v.csv: not UTF-16 text; save the table as UTF-8"),
        (
            "v.csv",
            PLAIN.encode() + b'1,0,"1,1\n0,1,2,3\n',
            "v.csv: the row after line 5 cannot be parsed as CSV",
        ),
    ],
)
def test_files_that_are_not_tables(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(TableError) as caught:
        read_table(folder / name, Columns())
    assert str(caught.value).startswith(message)


def test_paths_that_are_not_files(folder: Path) -> None:
    with pytest.raises(TableError, match=r"none\.csv does not exist"):
        read_table(folder / "none.csv", Columns())
    with pytest.raises(TableError, match="is a directory; name a table inside it"):
        read_table(folder, Columns())


def test_a_file_without_permission(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder, PLAIN)

    def denied(*args: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(TableError, match="cannot be read: Permission denied"):
        read_table(path, Columns())


def test_cells_beyond_the_limit_of_the_csv_module(folder: Path) -> None:
    """Python's csv module stops at 131,072 characters; pandas does not."""
    text = f"label,group,note,x\n1,0,n,1\n0,1,{'n' * 140_000},2\n1,1,n,%s\n"
    columns = Columns(ignore=("note",))
    np.testing.assert_array_equal(read(folder, text % "3", columns).features, [[1], [2], [3]])
    assert refused(folder, text % "three", columns).startswith("val.csv, row 3, column 'x'")


def test_damaged_files_raise_only_our_errors(folder: Path) -> None:
    """Any cut or changed byte gives the table or a fairfix error, never another exception."""
    rng = np.random.default_rng(2)
    good = ('label,group,x,"n ""q"""\n' + '1,a,0.5,2\n0,"b, c",1e3,3\n1,a,-1,"4"\n' * 3).encode()
    outcomes = []
    for name in ("val.csv", "val.csv.gz"):
        whole = gzip.compress(good, mtime=0) if name.endswith("gz") else good
        for _ in range(150):
            broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            broken[rng.integers(len(broken))] = rng.integers(256)
            (folder / name).write_bytes(broken)
            try:
                read_table(folder / name, Columns())
                outcomes.append(True)
            except FairfixError:
                outcomes.append(False)
    assert any(outcomes)
    assert not all(outcomes)


# What values mean.


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", 1.0, True),
        (" 1", True, True),
        ("1.", "1.00", True),
        ("1e0", "1", False),
        ("01", "1", False),
        ("+1", "1", False),
        ("true", 1, True),
        ("False", "0", True),
        (" >50K", ">50K", True),
        (">50K", ">50k", False),
        ("1", "1.0000000001", False),
        ("", "0", False),
        ("1_0", "10", False),
        (2**53, 2**53 + 1, False),
        ("nan", "nan", True),
    ],
)
def test_equal_values(one: object, other: object, same: bool) -> None:
    assert equal_values(one, other) is same
    assert equal_values(other, one) is same


# The real thing.


@pytest.mark.parametrize(("name", "width"), [("adult_42", 98), ("bank_42", 57), ("compas_42", 401)])
def test_reference_tables(name: str, width: int) -> None:
    data = os.environ.get("FAIRFIX_DATA")
    if data is None:
        pytest.skip("FAIRFIX_DATA names no folder of benchmark data")
    path = Path(data) / "reference" / name / "val.csv.gz"
    table = read_table(path, Columns(), expected_features=width)
    with gzip.open(path, "rt") as file:
        header, *lines = csv.reader(file)
    cells = np.array(lines, dtype=float)
    np.testing.assert_array_equal(table.features, cells[:, 2:].astype(np.float32))
    np.testing.assert_array_equal(table.labels, cells[:, 0])
    np.testing.assert_array_equal(table.groups[0].ids, cells[:, 1])
    assert table.feature_names == tuple(header[2:])
    assert table.notes == ()


# Files that never end.


@pytest.mark.parametrize("name", ["pipe.csv", "pipe.csv.gz", "pipe.parquet"])
def test_a_pipe_is_not_a_table(folder: Path, name: str) -> None:
    os.mkfifo(folder / name)
    with pytest.raises(TableError, match="is a named pipe; save its contents to a file"):
        read_table(folder / name, Columns())


BOMB = b"1,0,20,1.5\n" * 400_000


@pytest.mark.parametrize("rows", [BOMB, b"\n" * len(BOMB)], ids=["rows", "blank lines"])
def test_an_archive_that_unpacks_to_far_more_than_its_size_is_not_parsed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rows: bytes
) -> None:
    monkeypatch.setattr(bounded_stream, "MIN_UNPACKED", 3 << 20)
    (folder / "val.csv.gz").write_bytes(gzip.compress(PLAIN.encode() + rows))
    with pytest.raises(TableError, match="unpacks to more than 200 times its size"):
        CsvReader(folder / "val.csv.gz")


def test_an_archive_that_unpacks_to_far_more_after_plain_rows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_stream, "MIN_UNPACKED", 1 << 20)
    (folder / "val.csv.gz").write_bytes(gzip.compress(PLAIN.encode() + BOMB))
    reader = CsvReader(folder / "val.csv.gz")
    with pytest.raises(TableError, match="unpacks to more than 200 times its size"):
        list(reader.chunks(reader.header.names, ()))


@pytest.mark.parametrize("name", ["val.csv", "val.csv.gz"])
def test_a_line_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(bounded_stream, "MAX_LINE", 1 << 20)
    content = PLAIN.encode() + b"1" * (2 << 20)
    (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(TableError, match="has a line of more than 1 MiB"):
        read_table(folder / name, Columns())


@pytest.mark.parametrize("damage", ["metadata", "name", "rows"])
def test_damaged_parquet_files(folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    frame = pd.DataFrame({"label": [0, 1], "group": [0, 1], "xxxx": [1.0, 2.0]})
    frame.to_parquet(folder / "val.parquet")
    content = (folder / "val.parquet").read_bytes()
    if damage == "metadata":
        content = content.replace(b'"pandas_version"', b'"pandas_versio\x01"')
    elif damage == "name":
        content = content.replace(b"xxxx", b"xx\xf5x")
    else:
        monkeypatch.setattr(parquet_reader, "MAX_ROWS_PER_BYTE", 0)
    (folder / "val.parquet").write_bytes(content)
    with pytest.raises(TableError, match="write it again"):
        read_table(folder / "val.parquet", Columns())


def test_a_signaling_nan_is_missing_without_a_warning(tmp_path: Path) -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    values.view(np.uint64)[2] = 0x7FF0_0000_0000_0001
    frame = pd.DataFrame({"label": [0, 1, 0, 1], "group": ["a", "b", "b", "a"], "x": values})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(TableError, match="'x'"):
        read_table(tmp_path / "t.parquet", Columns())

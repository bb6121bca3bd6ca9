"""Which label values an output gives the probability of, with and without labels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from fairfix.data.table import Table
from fairfix.workflows.output_reading import read_output_label
from tests.helpers.runs import Draw, Place, Run

BINARY, SIGNED, WORDS, THREE = ("0", "1"), ("-1", "1"), ("no", "yes"), ("0", "1", "2")
NO_LABELS: tuple[str, ...] = ()

CASES: list[tuple[tuple[str, ...], str, str | None, tuple[str, bool | None]]] = [
    (BINARY, "1", None, ("1", False)),
    (BINARY, "0", None, ("1", True)),
    (BINARY, "0", "0", ("0", False)),
    (BINARY, "1", "0", ("0", True)),
    (SIGNED, "-1", None, ("1", True)),
    (WORDS, "yes", None, ("yes", False)),
    (WORDS, "no", "yes", ("yes", True)),
    (THREE, "1", None, ("1", False)),
    (THREE, "2", None, ("1", None)),
    (THREE, "1,2", None, ("1", None)),
    (THREE, "1,2", "2", ("2", None)),
    (THREE, "1,2", "2,1", ("1,2", False)),
    (THREE, "1,2", "0", ("0", True)),
    (THREE, "2", "0,1", ("0,1", True)),
    (NO_LABELS, "1", None, ("1", False)),
    (NO_LABELS, "0", None, ("1", True)),
    (NO_LABELS, "false", None, ("1", True)),
    (NO_LABELS, "yes", None, ("yes", False)),
    (NO_LABELS, "-1", None, ("-1", None)),
    (NO_LABELS, "1,2", None, ("1,2", None)),
    (NO_LABELS, "-1", "-1", ("-1", False)),
    (NO_LABELS, "-1", "1", ("1", True)),
    (NO_LABELS, "1,2", "2,1", ("1,2", False)),
    (NO_LABELS, "1,2", "2", ("2", None)),
]


@pytest.mark.parametrize(("values", "favorable", "given", "expected"), CASES)
def test_the_output_is_of_the_favorable_values_the_others_or_it_is_not_known(
    values: tuple[str, ...], favorable: str, given: str | None, expected: tuple[str, bool | None]
) -> None:
    table: Any = SimpleNamespace(label_values=values, favorable=favorable)
    assert read_output_label(cast(Table, table), given) == expected


@pytest.mark.parametrize("favorable", ["-1", "1"])
def test_rows_without_labels_are_never_scored_the_other_way_round(
    fairfix: Run, place: Place, draw: Draw, favorable: str
) -> None:
    rows = draw(60, 7)
    rows["label"] = np.where(rows["label"] == 1, 1, -1)
    labeled, bare = place.table(rows, "l.csv"), place.table(rows.drop(columns="label"), "b.csv")

    def scores(*words: Any) -> np.ndarray:
        path = place.folder / "p.csv"
        ended = fairfix("predict", place.model, *words, "--favorable", favorable, "-o", path)
        assert ended.code == 0, ended.err
        found = pd.read_csv(path)["score"].to_numpy()
        path.unlink()
        return found

    expected = scores(labeled)
    assert np.array_equal(scores(bare, "--output-label", "1"), expected)
    if favorable == "1":
        assert np.array_equal(scores(bare), expected)
        return
    refused = fairfix("predict", place.model, bare, "--favorable", favorable)
    assert refused.code == 2
    assert "b.csv has no labels" in refused.sentence
    assert "--output-label" in refused.sentence

"""Text cells of CSV files: quoted like Python's csv module does, and never formulas."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from fairfix.data.spreadsheet import csv_cell, csv_cells, csv_text, inert

CELLS = {
    "=1+1": "'=1+1",
    "@x": "'@x",
    "-2+3": "'-2+3",
    "-3.5e2": "-3.5e2",
    "+5": "+5",
    "\tx": "'\tx",
    "a=b": "a=b",
    "": "",
    'say "x", twice': 'say "x", twice',
    "two\nlines": "two\nlines",
    '="x"': '\'="x"',
}


@pytest.mark.parametrize(("text", "expected"), CELLS.items())
def test_formulas_become_text(text: str, expected: str) -> None:
    assert inert(text) == expected
    (row,) = csv.reader(io.StringIO(f"{csv_cell(text)},"))
    assert row == [expected, ""]


def test_all_cells_of_a_column_at_once() -> None:
    cells = np.array(list(CELLS), dtype=object)
    assert csv_cells(cells).tolist() == [csv_cell(text) for text in CELLS]


def test_names_and_texts_of_a_frame() -> None:
    frame = pd.DataFrame({"=method": ["=HYPERLINK(1)", "a"], "gap": [-0.5, 0.25], "n": [None, "-"]})
    text = csv_text(frame)
    assert text.splitlines() == ["'=method,gap,n", "'=HYPERLINK(1),-0.5,", "a,0.25,'-"]

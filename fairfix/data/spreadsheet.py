"""Text cells of CSV files that spreadsheets open: never formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairfix.data.table.cell_values import parse_number

if TYPE_CHECKING:
    import pandas as pd

_RISKY = ("=", "+", "-", "@", "\t", "\r")
_RISKY_PATTERN = "^[=+\\-@\\t\\r]"
_QUOTED_PATTERN = '[,"\\r\\n]'


def inert(cell: str) -> str:
    """Escape a cell that a spreadsheet would take for a formula; numbers stay as they are."""
    return f"'{cell}" if cell.startswith(_RISKY) and parse_number(cell) is None else cell


def csv_cell(cell: str) -> str:
    """Return a text as a cell of a CSV file, quoted where it has to be and never a formula."""
    cell = inert(cell)
    if any(mark in cell for mark in ',"\r\n'):
        doubled = cell.replace('"', '""')
        return f'"{doubled}"'
    return cell


def csv_cells(texts: np.ndarray) -> np.ndarray:
    """Return texts (N,) as cells of a CSV file; see ``csv_cell``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    pattern = f"{_RISKY_PATTERN}|{_QUOTED_PATTERN}"
    special = pc.match_substring_regex(pa.array(texts, pa.string()), pattern)
    at = np.flatnonzero(special.to_numpy(zero_copy_only=False))
    if not len(at):
        return texts
    cells = texts.copy()
    cells[at] = [csv_cell(text) for text in texts[at]]
    return cells


def csv_text(frame: pd.DataFrame) -> str:
    """Return a frame as CSV text in which no name and no text is a formula."""

    def guarded(value: object) -> object:
        return inert(value) if isinstance(value, str) else value

    texts = frame.select_dtypes(exclude=["number", "bool"])
    safe = frame.assign(**{str(name): texts[name].map(guarded) for name in texts})
    return safe.rename(columns=guarded).to_csv(index=False)

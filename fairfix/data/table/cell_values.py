"""What a cell says: the same value however it is written (1, 1.0, "1", " 1 ", True)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

    Series = pd.Series[Any]

#: Texts that stand for "no value" in labels, groups and numbers. "None" is not among them:
#: it is an honest answer in columns such as disability or religion.
MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "<NA>"})

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
_EXACT = 2**53  # above this, different whole numbers share one float


class CellError(TableError):
    """A cell that cannot be used; ``row`` counts the data rows from 0."""

    def __init__(self, column: str, row: int, problem: str) -> None:
        super().__init__(f"Column {column!r}, row {row + 1}: {problem}")
        self.column = column
        self.row = row
        self.problem = problem


def written(value: object) -> str:
    """Return a value's name: its text without surrounding blanks, 1.0 as "1"."""
    text = str(value).strip()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def number_of(text: str) -> float | None:
    """Return the number a text says, true and false being 1 and 0; None when it says none."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    return {"true": 1.0, "false": 0.0}.get(text.lower())


def meaning(text: str) -> str:
    """Return a key that is equal for two texts exactly when they mean the same value."""
    number = number_of(text)
    if number is None or abs(number) >= _EXACT:
        return text.strip()
    return str(int(number)) if number.is_integer() else repr(number)


def same_value(one: object, other: object) -> bool:
    """Say whether two values mean the same: 1, 1.0, "1", " 1" and True all do."""
    return meaning(str(one)) == meaning(str(other))


def natural_order(text: str) -> tuple[Any, ...]:
    """Sort key: numbers by size and first, then texts with the numbers inside them by size."""
    number = number_of(text)
    if number is not None:
        return 0, number, text
    parts = re.split(r"([0-9]+)", text.casefold())
    return 1, [int(p) if i % 2 else p for i, p in enumerate(parts)], text


def distinct(series: Series) -> tuple[np.ndarray, list[str]]:
    """Return codes (n,) into the list of names found, -1 where the cell is null."""
    import pandas as pd

    codes, values = pd.factorize(series)
    return codes, [written(value) for value in values]


def numbers(series: Series, remedy: str) -> np.ndarray:
    """Return the cells as (n,) float64, NaN where missing.

    The series' index counts the data rows. Raises ``CellError``, ending with the remedy, at the
    first cell that is text.
    """
    if getattr(series.dtype, "kind", "O") in "biuf":
        return series.to_numpy(dtype=np.float64)
    codes, texts = distinct(series)
    parsed = [np.nan if text in MISSING else number_of(text) for text in texts]
    if None in parsed:
        code = parsed.index(None)
        row = int(series.index[int(np.argmax(codes == code))])
        raise CellError(str(series.name), row, f"{texts[code]!r} is not a number; {remedy}.")
    by_code = np.array([*parsed, np.nan], dtype=np.float64)  # a null has code -1: the last one
    return np.asarray(by_code[codes])


def counted(count: int, one: str, more: str) -> str:
    """Return "1 row has" or "2,000 rows have" from ``one`` "row has" and ``more`` "rows have"."""
    return f"{count:,} {one if count == 1 else more}"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Return names for a message: quoted, separated by commas, cut short after ``limit``."""
    quoted = [repr(name) for name in names]
    more = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {more} more" if more > 0 else "")

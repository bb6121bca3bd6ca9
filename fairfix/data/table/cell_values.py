"""Values of cells: parsing, comparing and sorting them.

1, 1.0, "1", " 1 " and True are the same value; "01" and "1e0" are codes of their own. Within one
column of labels or groups, values that differ only in spelling are refused (``spelling_key``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from fairfix._utils.number_text import NUMBER
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

    Series = pd.Series[Any]

#: Texts that mean "missing" in labels, groups and numbers. "None" is not among them: it is a valid
#: answer in columns such as disability or religion.
MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "<NA>"})

_PLAIN_NUMBER = re.compile(r"-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9.]+,[0-9]+")
_INTEGER = re.compile(r"([+-]?[0-9]+)\.0*")
_DASH = re.compile("[\u2010-\u2015\u2212]")
_EXACT_INTEGERS = 2**53  # above this, different integers are the same float64


class CellError(TableError):
    """A cell that cannot be used.

    Attributes:
        column: its column.
        row: its data row, counted from 0.
        problem: the fact and the remedy.
    """

    def __init__(self, column: str, row: int, problem: str) -> None:
        super().__init__(f"Column {column!r}, row {row + 1}: {problem}")
        self.column = column
        self.row = row
        self.problem = problem


def normalized_text(value: object) -> str:
    """Return a value as text without surrounding blanks and without ".0" after an integer."""
    text = str(value).strip()
    integer = _INTEGER.fullmatch(text)
    return integer[1] if integer else text


def parse_number(text: str) -> float | None:
    """Return the number that a text is, with 1 for true and 0 for false, or None."""
    text = text.strip()
    if NUMBER.fullmatch(text):
        return float(text)
    return {"true": 1.0, "false": 0.0}.get(text.lower())


def comparison_key(text: str) -> str:
    """Return a key that is equal for two texts exactly if they are the same value.

    Numbers are compared as such only where they are written plainly: 01 and 1e2 are codes.
    """
    text = text.strip()
    if not _PLAIN_NUMBER.fullmatch(text) and text.lower() not in ("true", "false"):
        return text
    return _number_key(text) or text


def spelling_key(text: str) -> str:
    """Return a key that is equal for texts that a person may have meant as one value.

    Such texts differ in case, blanks, underscores, a stop at the end, the form of a dash or of a
    letter, or in the writing of a number.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = _DASH.sub("-", text.replace("_", " "))
    text = " ".join(text.split()).rstrip(".,;: ")
    return _number_key(text) or text


def _number_key(text: str) -> str | None:
    """Return the number that a text is in one spelling; None if it is not a number or not exact."""
    number = parse_number(text)
    if number is None or abs(number) >= _EXACT_INTEGERS:
        return None
    return str(int(number)) if number.is_integer() else repr(number)


def equal_values(one: object, other: object) -> bool:
    """Return whether two values are the same: 1, 1.0, "1", " 1" and True all are, "01" is not."""
    return comparison_key(str(one)) == comparison_key(str(other))


def natural_sort_key(text: str) -> tuple[Any, ...]:
    """Return a sort key: numbers first, by size, then texts, with numbers in them by size."""
    number = parse_number(text)
    if number is not None:
        return 0, number, text
    parts = re.split(r"([0-9]+)", text.casefold())
    return 1, [int(p) if i % 2 else p for i, p in enumerate(parts)], text


def factorize(series: Series) -> tuple[np.ndarray, list[str]]:
    """Return codes (N,) into the list of distinct texts, -1 for null cells, and the list."""
    codes, values = factorize_as_written(series)
    return codes, [normalized_text(value) for value in values]


def factorize_as_written(series: Series) -> tuple[np.ndarray, list[str]]:
    """Return codes and texts as ``factorize`` does, with the texts as the file has them."""
    import pandas as pd

    codes, values = pd.factorize(series)
    return codes, [str(value) for value in values]


def parse_numbers(series: Series, remedy: str) -> np.ndarray:
    """Return the cells as (N,) float64, NaN where missing.

    Args:
        series: the cells; its index is their data row.
        remedy: end of the error message.

    Raises:
        CellError: a cell is not a number.
    """
    if getattr(series.dtype, "kind", "O") in "biuf":
        return series.to_numpy(dtype=np.float64)
    codes, texts = factorize(series)
    parsed = [np.nan if text in MISSING else parse_number(text) for text in texts]
    if None in parsed:
        code = parsed.index(None)
        row = int(series.index[int(np.argmax(codes == code))])
        if _DECIMAL_COMMA.fullmatch(texts[code]):
            remedy = "write decimals with a point, and thousands without a mark"
        raise CellError(str(series.name), row, f"{texts[code]!r} is not a number; {remedy}.")
    by_code = np.array([*parsed, np.nan], dtype=np.float64)  # a null has code -1: the last one
    return np.asarray(by_code[codes])

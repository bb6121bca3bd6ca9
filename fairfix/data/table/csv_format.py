"""How a CSV file is written: encoding, column separator and decimal mark."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_START = 1 << 20  # bytes that are enough for the header and the first row
_SEPARATOR_LINE = re.compile(
    r'"?sep=([,;|:^~#&!\t])"?\s*', re.IGNORECASE
)  # the first line of Excel's files
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_POINT = re.compile(r"[+-]?[0-9]*\.[0-9]+([eE][+-]?[0-9]+)?")
_KINDS = (
    ("1,234", re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")),  # a decimal mark or one of thousands
    ("1.234", re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")),
    (",", _COMMA),
    (".", _POINT),
)


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV file is written.

    Attributes:
        encoding: of the text.
        delimiter: what separates columns.
        names_separator: whether the first line is ``sep=`` and the separator.
    """

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    names_separator: bool = False

    @property
    def is_utf16(self) -> bool:
        """Whether the text is UTF-16."""
        return self.encoding == "utf-16"

    @property
    def separator(self) -> str:
        """The delimiter in words, in the plural."""
        return SEPARATORS.get(self.delimiter, repr(self.delimiter))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual, for the user."""
        columns = () if self.delimiter == "," else (f"columns are separated by {self.separator}",)
        return (*columns, *(("the table is read as UTF-16",) if self.is_utf16 else ()))


def detect_format(file: BinaryIO, name: str) -> CsvFormat:
    """Return how a CSV file is written.

    Args:
        file: its bytes, decompressed.
        name: its name, for messages.

    Raises:
        TableError: the text is UTF-16 without a byte order mark, or two separators are possible.
    """
    start = file.read(_START)
    encoding = "utf-16" if start.startswith(_UTF16) else "utf-8-sig"
    if encoding != "utf-16" and b"\0" in start[:64]:
        raise TableError(f"{name}, line 1: not UTF-8 text; save the table as UTF-8.")
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    lines = [line for line in re.split(r"\r\n|\r|\n", text) if line.strip()]
    named = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if named:
        return CsvFormat(encoding, named[1], names_separator=True)
    return CsvFormat(encoding, _delimiter(lines, name))


def _delimiter(lines: list[str], name: str) -> str:
    """Return the delimiter with which the first row is as wide as the header: a comma if it is."""
    widths = {mark: _widths(lines, mark) for mark in SEPARATORS}
    fitting = {mark: rows[0] for mark, rows in widths.items() if rows[0] > 1 and len({*rows}) == 1}
    if not fitting:  # no row, or a malformed one
        fitting = {mark: rows[0] for mark, rows in widths.items() if rows[0] > 1}
        fitting = {",": fitting[","]} if "," in fitting else fitting
    widest = [mark for mark in fitting if fitting[mark] >= fitting.get(",", 0)]
    if len(widest) > 1:
        marks = " or ".join(SEPARATORS[mark] for mark in widest)
        raise TableError(
            f"{name}: its columns may be separated by {marks}; quote cells that contain them, or "
            f"name the separator in a first line such as sep={widest[-1]}"
        )
    return widest[0] if widest else ","


def _widths(lines: list[str], delimiter: str) -> list[int]:
    """Return the number of fields of the header and of the first row."""
    rows = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter)
    try:
        return [len(row) for row, _ in zip(rows, range(2), strict=False)] or [0]
    except csv.Error:
        return [0]


def find_decimal_mark(chunks: Iterable[pd.DataFrame], name: str) -> str:
    """Return "," if the numbers of a file have decimal commas, else ".".

    Args:
        chunks: the numeric columns as text.
        name: of the file, for messages.

    Raises:
        TableError: some numbers have a comma and others a point, or a mark may be of thousands.
    """
    seen: dict[str, tuple[str, str]] = {}  # by kind, the first column and cell
    for chunk in chunks:
        for column in chunk:
            for cell in map(str.strip, chunk[column].dropna().unique()):
                for kind, pattern in _KINDS:
                    if pattern.fullmatch(cell):
                        seen.setdefault(kind, (str(column), cell))
                        break
    remedy = "write decimals with a point, and thousands without a mark."
    if "1,234" in seen and "," not in seen:
        column, cell = seen["1,234"]
        raise TableError(
            f"{name}, column {column!r}: {cell!r} may be {cell.replace(',', '.')} or "
            f"{cell.replace(',', '')}; {remedy}"
        )
    if "1.234" in seen and not {",", "."} & seen.keys():
        column, cell = seen["1.234"]
        raise TableError(
            f"{name}, column {column!r}: {cell!r} may be {float(cell):g} or "
            f"{cell.replace('.', '')}; write thousands without a mark, and commas between columns "
            "if the point is decimal."
        )
    if "1.234" in seen:
        seen.setdefault(".", seen["1.234"])
    if {",", "."} <= seen.keys():
        (one, comma), (two, point) = seen[","], seen["."]
        raise TableError(
            f"{name} has decimal commas ({comma!r} in column {one!r}) and points ({point!r} in "
            f"column {two!r}); {remedy}"
        )
    return "," if "," in seen else "."


def with_points(chunk: pd.DataFrame, numeric: Iterable[str]) -> pd.DataFrame:
    """Return a chunk with decimal points in its numeric columns instead of commas."""
    commas = {name: chunk[name] for name in numeric if chunk[name].dtype.kind not in "biuf"}
    return chunk.assign(
        **{
            name: cells.str.replace(r"^(\s*[+-]?[0-9]+),([0-9]+)", r"\1.\2", regex=True)
            for name, cells in commas.items()
        }
    )

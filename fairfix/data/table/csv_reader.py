"""The reader of CSV tables, plain or compressed with gzip.

Nothing is repaired silently: a row of the wrong length, a byte that is not UTF-8 and a damaged
archive are errors that name the line.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from fairfix.data.table.cell_values import MISSING
from fairfix.data.table.columns import Header
from fairfix.data.table.table_reader import chunk_rows
from fairfix.errors import TableError

if TYPE_CHECKING:
    from _csv import Reader

    import pandas as pd


class CsvReader:
    """A CSV file; see ``TableReader``. Its first line that is not blank names the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._table_errors(), self._open() as file:
            names = _first_row(csv.reader(file))
            if not names:
                raise TableError(
                    f"{path.name} has only blank lines; a table needs a header and rows."
                )
            self.header = Header(path.name, [name.strip() for name in names])
            self._check_widths(limit=1)  # the only row that pandas accepts if it is too long

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``TableReader``."""
        import pandas as pd

        places = [str(place) for place in range(len(self.header.names))]
        place_of = dict(zip(self.header.names, places, strict=True))
        texts = {place_of[name] for name in text}
        widths_checked = False
        with self._table_errors(), self._open() as file:
            _first_row(csv.reader(file))
            for chunk in pd.read_csv(
                file,
                header=None,
                # All columns: with usecols, pandas would accept rows that are too long.
                names=places,
                index_col=False,
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values={place: [*MISSING] for place in places if place not in texts},
                low_memory=False,
                chunksize=chunk_rows(len(places)),
            ):
                last = chunk[places[-1]]
                if not widths_checked and bool((last.isna() | (last == "")).any()):
                    self._check_widths()  # pandas fills a row that is too short with blanks
                    widths_checked = True
                part = chunk[[place_of[name] for name in columns]]
                yield part.set_axis(list(columns), axis="columns")

    def locate_row(self, row: int) -> str:
        """See ``TableReader``. Reads the file again: blank lines and quoted cells count."""
        try:
            line, _ = next(islice(self._rows(), row, None))
        except (csv.Error, StopIteration):  # a cell longer than the csv module reads, unlike pandas
            return f"row {row + 1}"
        return f"line {line}"

    def _open(self) -> TextIO:
        if self._path.name.lower().endswith(".gz"):
            return gzip.open(self._path, "rt", encoding="utf-8-sig", newline="")
        return self._path.open(encoding="utf-8-sig", newline="")

    def _rows(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line that each data row starts on, and the row."""
        with self._open() as file:
            reader = csv.reader(file, strict=strict)
            _first_row(reader)
            line = reader.line_num + 1
            for row in reader:
                if not _is_blank(row):
                    yield line, row
                line = reader.line_num + 1

    def _check_widths(self, limit: int | None = None) -> None:
        for line, row in islice(self._rows(), limit):
            self._check_width(line, row)

    def _check_width(self, line: int, row: list[str]) -> None:
        width = len(self.header.names)
        if len(row) != width:
            raise TableError(
                f"{self._path.name}, line {line}: {len(row)} fields, but the header has {width}; "
                "correct the line (quote cells that contain commas)."
            )

    @contextmanager
    def _table_errors(self) -> Iterator[None]:
        """Raise ``TableError`` with the line for the errors of the parsers."""
        from pandas.errors import ParserError

        name = self._path.name
        try:
            yield
        except UnicodeDecodeError:
            line = self._undecodable_line()
            raise TableError(
                f"{name}, line {line}: not UTF-8 text; save the table as UTF-8."
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise TableError(
                f"{name} is a damaged gzip file; write or download it again."
            ) from None
        except (csv.Error, ParserError) as error:
            self._raise_at_malformed_row()
            raise TableError(
                f"{name} cannot be parsed as CSV ({error}); correct it or write it again."
            ) from None

    def _undecodable_line(self) -> int:
        with self._table_errors(), self._open() as file:
            for number, line in enumerate(file.buffer, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        raise AssertionError("no line with invalid UTF-8")

    def _raise_at_malformed_row(self) -> None:
        """Raise ``TableError`` at the first row that cannot be parsed, if there is one."""
        line = 1
        with self._table_errors():
            try:
                for line, row in self._rows(strict=True):
                    self._check_width(line, row)
            except csv.Error as error:
                raise TableError(
                    f"{self._path.name}: the row after line {line} cannot be parsed as CSV "
                    f"({error}); check for a quote that is not closed."
                ) from None


def _first_row(reader: Reader) -> list[str]:
    return next((row for row in reader if not _is_blank(row)), [])


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and row[0].isspace())

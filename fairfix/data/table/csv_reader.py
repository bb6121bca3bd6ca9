"""The reader of CSV tables, plain or compressed with gzip.

Nothing is repaired silently: a row of the wrong length, a byte that cannot be decoded and a damaged
archive are errors that name the line; another separator, encoding or decimal mark than usual is a
note.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from fairfix.data.table.bounded_stream import (
    BoundedStream,
    check_unpacked_size,
    max_unpacked,
)
from fairfix.data.table.cell_values import MISSING
from fairfix.data.table.columns import Header
from fairfix.data.table.csv_format import CsvFormat, detect_format, find_decimal_mark, with_points
from fairfix.data.table.table_reader import chunk_rows
from fairfix.errors import TableError

if TYPE_CHECKING:
    from _csv import Reader

    import pandas as pd


class CsvReader:
    """A CSV file; see ``TableReader``. Its first line that is not blank names the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._format = CsvFormat()
        self._decimal_comma = False
        self._is_packed = path.name.lower().endswith(".gz")
        with self._table_errors():
            if self._is_packed:
                check_unpacked_size(path)
            with self._open_bytes() as file:
                self._format = detect_format(file, path.name)
            with self._open() as text:
                names = self._first_row(self._reader(text))
            if not names:
                raise TableError(
                    f"{path.name} has only blank lines; a table needs a header and rows."
                )
            self.header = Header(path.name, [name.strip() for name in names])
            self._check_widths(limit=1)  # the only row that pandas accepts if it is too long

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``TableReader``."""
        comma = ("decimals are read with a comma",) if self._decimal_comma else ()
        return (*self._format.notes, *comma)

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``TableReader``."""

        numeric = [name for name in columns if name not in text]
        if self._format.delimiter != ",":
            as_text = self._chunks(numeric, numeric)
            self._decimal_comma = find_decimal_mark(as_text, self._path.name) == ","
        for chunk in self._chunks(columns, text):
            yield with_points(chunk, numeric) if self._decimal_comma else chunk

    def _chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        import pandas as pd

        places = [str(place) for place in range(len(self.header.names))]
        place_of = dict(zip(self.header.names, places, strict=True))
        texts = {place_of[name] for name in text}
        widths_checked = False
        with self._table_errors(), self._open() as file:
            self._first_row(self._reader(file))
            for chunk in pd.read_csv(
                file,
                sep=self._format.delimiter,
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

    def _open_bytes(self) -> BinaryIO:
        name = self._path.name
        if not self._is_packed:
            return BufferedReader(BoundedStream(self._path.open("rb"), name))
        archive = gzip.GzipFile(self._path)
        return BufferedReader(BoundedStream(archive, name, max_unpacked(self._path)))

    def _open(self) -> TextIO:
        return TextIOWrapper(self._open_bytes(), encoding=self._format.encoding, newline="")

    def _reader(self, file: TextIO, *, strict: bool = False) -> Reader:
        return csv.reader(file, delimiter=self._format.delimiter, strict=strict)

    def _first_row(self, reader: Reader) -> list[str]:
        """Read up to the header and return it; [] without one."""
        rows = (row for row in reader if not _is_blank(row))
        return next(islice(rows, int(self._format.names_separator), None), [])

    def _rows(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the line that each data row starts on, and the row."""
        with self._open() as file:
            reader = self._reader(file, strict=strict)
            self._first_row(reader)
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
                f"correct the line (quote cells that contain {self._format.separator})."
            )

    @contextmanager
    def _table_errors(self) -> Iterator[None]:
        """Raise ``TableError`` with the line for the errors of the parsers."""
        from pandas.errors import ParserError

        name = self._path.name
        try:
            yield
        except UnicodeDecodeError:
            where = name if self._format.is_utf16 else f"{name}, line {self._undecodable_line()}"
            kind = "UTF-16" if self._format.is_utf16 else "UTF-8"
            raise TableError(f"{where}: not {kind} text; save the table as UTF-8.") from None
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
        with self._table_errors(), self._open_bytes() as file:
            for number, line in enumerate(file, 1):
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


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and row[0].isspace())

"""CSV, plain or gzipped.

Nothing is repaired silently: a row of the wrong length, a byte that is not UTF-8 and a broken
archive are errors that say where.
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
from fairfix.data.table.reader import chunk_rows
from fairfix.errors import TableError

if TYPE_CHECKING:
    from _csv import Reader

    import pandas as pd


class CsvSource:
    """A CSV file; its first line that is not blank names the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._refusing(), self._open() as file:
            names = _first_row(csv.reader(file))
            if not names:
                raise TableError(f"{path.name} holds blank lines only.")
            self.header = Header(path.name, [name.strip() for name in names])
            self._check_widths(limit=1)  # the one row that pandas lets be too long

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``Source``."""
        import pandas as pd

        places = [str(place) for place in range(len(self.header.names))]
        place_of = dict(zip(self.header.names, places, strict=True))
        texts = {place_of[name] for name in text}
        widths_checked = False
        with self._refusing(), self._open() as file:
            _first_row(csv.reader(file))
            for chunk in pd.read_csv(
                file,
                header=None,
                # All of them: with usecols, pandas would let rows be too long.
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

    def where(self, row: int) -> str:
        """See ``Source``. Reads the file again: lines and rows differ by blanks and quotes."""
        try:
            line, _ = next(islice(self._rows(), row, None))
        except (csv.Error, StopIteration):  # a cell longer than this parser takes, unlike pandas
            return f"row {row + 1}"
        return f"line {line}"

    def _open(self) -> TextIO:
        if self._path.name.lower().endswith(".gz"):
            return gzip.open(self._path, "rt", encoding="utf-8-sig", newline="")
        return self._path.open(encoding="utf-8-sig", newline="")

    def _rows(self, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
        """Yield each data row behind the number of the line it starts on."""
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
                f"{self._path.name}, line {line}: {len(row)} fields where the header has {width}."
            )

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Turn what goes wrong while reading into a ``TableError`` that says where."""
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
            raise TableError(f"{name} is a broken gzip file: write or fetch it again.") from None
        except (csv.Error, ParserError) as error:
            self._find_fault()
            raise TableError(f"{name} is not proper CSV: {error}.") from None

    def _undecodable_line(self) -> int:
        with self._refusing(), self._open() as file:
            for number, line in enumerate(file.buffer, 1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return number
        raise AssertionError("a line that could not be decoded now can")

    def _find_fault(self) -> None:
        """Raise a ``TableError`` at the row over which a parser stumbled."""
        line = 1
        with self._refusing():
            try:
                for line, row in self._rows(strict=True):
                    self._check_width(line, row)
            except csv.Error as error:
                raise TableError(
                    f"{self._path.name}: the row after line {line} is not proper CSV ({error}); "
                    "perhaps a quote is not closed."
                ) from None


def _first_row(reader: Reader) -> list[str]:
    return next((row for row in reader if not _is_blank(row)), [])


def _is_blank(row: list[str]) -> bool:
    return not row or (len(row) == 1 and row[0].isspace())

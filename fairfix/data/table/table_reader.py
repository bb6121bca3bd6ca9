"""The interface of the readers of table formats: chunks of rows, and where a row is in the file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol

from fairfix.data.table.columns import Header

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_CELLS = 4_000_000


def chunk_rows(width: int) -> int:
    """Return how many rows of ``width`` columns a chunk has."""
    return max(1, _CHUNK_CELLS // max(1, width))


class TableReader(Protocol):
    """A table file, which can be read any number of times."""

    @property
    def header(self) -> Header:
        """The columns of the file."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the file, for the user; complete once the chunks are read."""
        ...

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """Yield the columns, chunk by chunk; the index counts the data rows from 0.

        Args:
            columns: the columns to read.
            text: those of them that are read as text, as they are written. The others are read as
                numbers, NaN where missing, unless they hold other text.

        Raises:
            TableError: rows that cannot be read.
        """
        ...

    def locate_row(self, row: int) -> str:
        """Return where a data row, counted from 0, is in the file: "line 17" or "row 16"."""
        ...

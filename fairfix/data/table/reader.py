"""What every table format gives: cells in chunks of rows, and where in the file a row stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Protocol

from fairfix.data.table.columns import Header

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_CELLS = 4_000_000


def chunk_rows(width: int) -> int:
    """Return how many rows of ``width`` columns to hold at once."""
    return max(1, _CHUNK_CELLS // max(1, width))


class Source(Protocol):
    """A file of rows, read as often as asked."""

    @property
    def header(self) -> Header:
        """The columns of the file."""

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """Yield the ``columns``, chunk by chunk; the index counts the data rows from 0.

        Columns in ``text`` come as they are written; the others as numbers, NaN where missing,
        unless they hold other text. Raises ``TableError`` for rows that cannot be read.
        """

    def where(self, row: int) -> str:
        """Say where data row ``row`` (counted from 0) stands: "line 17" or "row 16"."""

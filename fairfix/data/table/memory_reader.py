"""The reader of tables in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from fairfix.data.memory_table import MemoryTable
from fairfix.data.table.columns import Header
from fairfix.data.table.parquet_reader import frames_of, refuse_nested
from fairfix.data.table.table_reader import chunk_rows

if TYPE_CHECKING:
    import pandas as pd


class MemoryReader:
    """A table in memory; see ``TableReader``. Cells are read as those of a Parquet file are."""

    notes: tuple[str, ...] = ()

    def __init__(self, table: MemoryTable) -> None:
        self._table = table
        self.header = Header(table.name, [name.strip() for name in table.cells.column_names])

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``TableReader``."""
        import pandas as pd

        cells = self._table.cells
        stored = dict(zip(self.header.names, cells.column_names, strict=True))
        wanted = {stored[name]: name for name in columns}
        refuse_nested(self._table.name, cells.schema, wanted)
        if not wanted:  # Arrow does not count the rows of no columns
            yield pd.DataFrame(index=pd.RangeIndex(self._table.rows))
            return
        batches = cells.select(list(wanted)).to_batches(chunk_rows(len(wanted)))
        yield from frames_of(batches, wanted)

    def locate_row(self, row: int) -> str:
        """See ``TableReader``."""
        return f"row {row + 1}"

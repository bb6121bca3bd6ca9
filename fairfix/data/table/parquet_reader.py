"""The reader of Parquet tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.data.table.columns import Header
from fairfix.data.table.table_reader import chunk_rows
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


MAX_ROWS_PER_BYTE = 10_000
"""Most rows for each byte of a file; equal rows can take far less than a byte each."""


class ParquetReader:
    """A Parquet file; see ``TableReader``. Nested columns are refused when they are read."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with self._table_errors():
            self._schema = pq.read_schema(path)
            rows = pq.read_metadata(path).num_rows
        if rows > MAX_ROWS_PER_BYTE * path.stat().st_size:
            raise TableError(
                f"{path.name} claims {rows:,} rows, too many for its size; write it again."
            )
        self.header = Header(path.name, [name.strip() for name in self._schema.names])

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``TableReader``."""
        import pyarrow as pa

        yield from self._frames(columns)
        pa.default_memory_pool().release_unused()  # as much as the whole file is kept otherwise

    def _frames(self, columns: Collection[str]) -> Iterator[pd.DataFrame]:
        import pyarrow.parquet as pq

        stored = dict(zip(self.header.names, self._schema.names, strict=True))
        wanted = {stored[name]: name for name in columns}
        refuse_nested(self._path.name, self._schema, wanted)
        with self._table_errors(), pq.ParquetFile(self._path) as file:
            batches = file.iter_batches(chunk_rows(len(wanted)), columns=list(wanted))
            yield from frames_of(batches, wanted)

    def locate_row(self, row: int) -> str:
        """See ``TableReader``."""
        return f"row {row + 1}"

    @contextmanager
    def _table_errors(self) -> Iterator[None]:
        """Raise ``TableError`` for the errors of pyarrow."""
        try:
            yield
        except TableError:
            raise
        except Exception as error:  # a damaged file can raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise TableError(
                f"{self._path.name} cannot be read as Parquet ({reason}); write it again."
            ) from None


def frames_of(
    batches: Iterable[pa.RecordBatch], names: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    """Yield batches of rows as frames; the index counts the rows from 0.

    Args:
        batches: of an Arrow table.
        names: the names of the columns by those in the batches, in order.
    """
    import pandas as pd

    start = 0
    for batch in batches:
        # Integers with nulls stay integers; a pandas index stays a column.
        frame = batch.to_pandas(integer_object_nulls=True, ignore_metadata=True)[list(names)]
        frame = frame.set_axis(list(names.values()), axis="columns")
        frame.index = pd.RangeIndex(start, start + len(frame))
        start += len(frame)
        yield frame


def refuse_nested(table: str, schema: pa.Schema, names: Iterable[str]) -> None:
    """Raise ``TableError`` if one of these columns is nested."""
    import pyarrow as pa

    for name in names:
        kind = schema.field(name).type
        if pa.types.is_nested(kind):
            raise TableError(
                f"{table}, column {name!r} has the type {kind}; only numbers and text can be used, "
                "so leave the column out or convert it."
            )

"""Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fairfix.data.table.columns import Header
from fairfix.data.table.reader import chunk_rows
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd


class ParquetSource:
    """A Parquet file of flat columns."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self._path = path
        with self._refusing():
            self._schema = pq.read_schema(path)
        self.header = Header(path.name, [name.strip() for name in self._schema.names])

    def chunks(self, columns: Collection[str], text: Collection[str]) -> Iterator[pd.DataFrame]:
        """See ``Source``."""
        import pandas as pd
        import pyarrow.parquet as pq

        stored = dict(zip(self.header.names, self._schema.names, strict=True))
        wanted = [stored[name] for name in columns]
        self._check_flat(wanted)
        start = 0
        with self._refusing(), pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(chunk_rows(len(wanted)), columns=wanted):
                # Whole numbers stay whole beside nulls; pandas' own index stays a column.
                frame = batch.to_pandas(integer_object_nulls=True, ignore_metadata=True)[wanted]
                frame = frame.set_axis(list(columns), axis="columns")
                frame.index = pd.RangeIndex(start, start + len(frame))
                start += len(frame)
                yield frame

    def where(self, row: int) -> str:
        """See ``Source``."""
        return f"row {row + 1}"

    def _check_flat(self, names: list[str]) -> None:
        import pyarrow as pa

        for name in names:
            kind = self._schema.field(name).type
            if pa.types.is_nested(kind):
                raise TableError(
                    f"{self._path.name}, column {name!r} holds {kind}: only numbers and text can "
                    "be used."
                )

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise TableError(f"{self._path.name} cannot be read as Parquet: {reason}.") from None

"""Open a table with the reader for its kind."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fairfix._utils.regular_file import check_regular
from fairfix.data.memory_table import MemoryTable, TableSource
from fairfix.data.table.csv_reader import CsvReader
from fairfix.data.table.memory_reader import MemoryReader
from fairfix.data.table.parquet_reader import ParquetReader
from fairfix.data.table.table_reader import TableReader
from fairfix.errors import TableError

_GZIP = b"\x1f\x8b"


def open_table(source: TableSource) -> TableReader:
    """Return the reader for a table.

    Raises:
        TableError: the file cannot be read, or has an unsupported or a wrong extension.
    """
    if isinstance(source, MemoryTable):
        return MemoryReader(source)
    path = source
    name = path.name.lower()
    start = _first_bytes(path)
    if name.endswith(".parquet"):
        return ParquetReader(path)
    if not name.endswith((".csv", ".csv.gz")):
        raise TableError(
            f"{path.name} has an unsupported extension; use .csv, .csv.gz or .parquet."
        )
    if start == _GZIP and name.endswith(".csv"):
        raise TableError(f"{path.name} is compressed with gzip; rename it to {path.name}.gz.")
    if start != _GZIP and name.endswith(".gz"):
        raise TableError(f"{path.name} is not compressed with gzip; rename it to {path.stem}.")
    return CsvReader(path)


def sha256_of(source: TableSource) -> str:
    """Return the SHA-256 of a file's bytes, or of the rows in memory, in hexadecimal."""
    return source.sha256 if isinstance(source, MemoryTable) else file_sha256(source)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_bytes(path: Path) -> bytes:
    check_regular(path, error=TableError)
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except IsADirectoryError:
        raise TableError(f"{path} is a directory; name a table inside it.") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from None
    if not start:
        raise TableError(f"{path.name} is an empty file; a table needs a header and rows.")
    return start

"""Choosing the reader for a table by the suffix of its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fairfix.data.table.csv_reader import CsvSource
from fairfix.data.table.parquet_reader import ParquetSource
from fairfix.data.table.reader import Source
from fairfix.errors import TableError

_GZIP = b"\x1f\x8b"


def open_source(path: Path) -> Source:
    """Return the reader for the table. Raises ``TableError`` when the file cannot be read."""
    name = path.name.lower()
    start = _first_bytes(path)
    if name.endswith(".parquet"):
        return ParquetSource(path)
    if not name.endswith((".csv", ".csv.gz")):
        raise TableError(f"{path.name} is no table by its name: use .csv, .csv.gz or .parquet.")
    if start == _GZIP and name.endswith(".csv"):
        raise TableError(f"{path.name} is compressed by gzip: name it {path.name}.gz.")
    if start != _GZIP and name.endswith(".gz"):
        raise TableError(f"{path.name} is not compressed by gzip: name it {path.stem}.")
    return CsvSource(path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of the file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError:
        raise TableError(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise TableError(f"{path} is a folder: name the table inside it.") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}.") from None
    if not start:
        raise TableError(f"{path.name} is an empty file.")
    return start

"""The journal of a study, rows.jsonl: one line per finished cell, append only.

A line is synced to disk before the next cell starts. A truncated last line, as a killed process
leaves it, is removed when the study is resumed; nothing else is ever changed. A file that is not a
journal is left untouched.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fairfix._utils.strict_json import parse_json
from fairfix.bench.row_schema import is_row
from fairfix.errors import OutputError, TableError, UsageError

_CHUNK = 2**16
_ROW_PREFIX = b'{"version": '  # every row starts with it, a truncated one too


class Journal:
    """The rows of a study in a file that one process at a time may write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the file against other writers.

        Raises:
            OutputError: if another process is writing it.
        """
        with self.path.open("ab") as file:
            _lock(file, self.path)
            yield

    def resume(self) -> set[str]:
        """Return the keys of the finished cells and remove a truncated last line.

        Failed cells are not among them, so they are run again.

        Raises:
            TableError: if a line is not a row.
        """
        if not self.path.exists():
            return set()
        done = {row["key"] for row in self.rows() if row["status"] != "failed"}
        with self.path.open("r+b") as file:
            file.truncate(_end_of_last_line(file))
        return done

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every row in the order in which cells finished, without a truncated last line.

        Raises:
            TableError: if a line is not a row.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield self._row(line, number)
                elif not (line.startswith(_ROW_PREFIX) or _ROW_PREFIX.startswith(line)):
                    raise self._invalid(number)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = parse_json(line, self.path.name)
        except UsageError:
            raise self._invalid(number) from None
        if not is_row(row):
            raise self._invalid(number)
        found: dict[str, Any] = row
        return found

    def _invalid(self, number: int) -> TableError:
        return TableError(
            f"{self.path}, line {number}: not a row of a study. Remove the line, or choose another "
            "output folder (-o)."
        )

    def append(self, row: dict[str, Any]) -> None:
        """Append one row and sync it to disk.

        Raises:
            OSError: if the disk is full; a partly written row is removed.
        """
        text = json.dumps(row, allow_nan=False, ensure_ascii=False)
        line = text.encode(errors="replace") + b"\n"  # file names need not be Unicode
        with self.path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    file.truncate(before)
                raise


def _end_of_last_line(file: BinaryIO) -> int:
    """Return the position after the last complete line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _CHUNK)
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


def _lock(file: BinaryIO, path: Path) -> None:
    """Lock the file until it is closed, on systems with file locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"Another study is writing {path}; choose another output folder (-o)."
        ) from None
    except OSError:  # the file system has no locks
        return

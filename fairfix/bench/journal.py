"""rows.jsonl: one line a finished cell, only ever appended to.

A line is on the disk before the next cell counts as begun. A torn last line, as a killed process
leaves it, is cut off when the study goes on; nothing else is ever changed. A file that is no
journal is left as it is.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from fairfix.bench.row_schema import is_row
from fairfix.errors import OutputError, TableError

_CHUNK = 2**16
_BEGINNING = b'{"version": '  # of every row, and so of a torn one


class Journal:
    """The rows of a study in a file; one process at a time writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within it no other process may write the file.

        Raises:
            OutputError: when another one does.
        """
        with self.path.open("ab") as file:
            _lock(file, self.path)
            yield

    def resume(self) -> set[str]:
        """The keys of the finished cells; what a killed writer left half written is cut off.

        Cells that failed are not among them: they are run again.

        Raises:
            TableError: when a line is no row.
        """
        if not self.path.exists():
            return set()
        done = {row["key"] for row in self.rows() if row["status"] != "failed"}
        with self.path.open("r+b") as file:
            file.truncate(_whole(file))
        return done

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every row, in the order in which cells were finished; a torn one is left out.

        Raises:
            TableError: when a line is no row.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield self._row(line, number)
                elif not (line.startswith(_BEGINNING) or _BEGINNING.startswith(line)):
                    raise self._no_row(number)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not is_row(row):
            raise self._no_row(number)
        return dict(row)

    def _no_row(self, number: int) -> TableError:
        return TableError(
            f"{self.path}, line {number}: no row of a study. Remove the line, or name another "
            "folder with -o."
        )

    def append(self, row: dict[str, Any]) -> None:
        """Write one row, whole, and see it on the disk.

        Raises:
            OSError: when there is no room; what was written of the row is taken back.
        """
        said = json.dumps(row, allow_nan=False, ensure_ascii=False)
        line = said.encode(errors="replace") + b"\n"  # names of files need not be Unicode
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


def _whole(file: BinaryIO) -> int:
    """Where the last whole line ends."""
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
    """Keep others away until the file is closed, where the system can."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(
            f"Another study is writing {path}; name another folder with -o."
        ) from None
    except OSError:  # a file system without locks
        return

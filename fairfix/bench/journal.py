"""rows.jsonl: one line a finished cell, only ever appended to.

A line is on the disk before the next cell counts as begun. A torn last line, as a killed process
leaves it, is cut off when the study goes on; nothing else is ever changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairfix.errors import TableError


class Journal:
    """The rows of a study in a file; made for one writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def resume(self) -> set[str]:
        """The keys of the finished cells; what a killed writer left half written is cut off.

        Raises:
            TableError: when a whole line is no row.
        """
        if not self.path.exists():
            return set()
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(self.path, whole)
        return {row["key"] for row in self.rows()}

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every finished row, in the order in which they were finished; a torn one is left out.

        Raises:
            TableError: when a whole line is no row.
        """
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                yield self._row(line, number)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
            if isinstance(row["key"], str):
                return dict(row)
        except (ValueError, KeyError, TypeError):
            pass
        raise TableError(
            f"{self.path}, line {number}: no row of a study. Remove the line, or name another "
            "folder with -o."
        )

    def append(self, row: dict[str, Any]) -> None:
        """Write one row, whole, and see it on the disk."""
        line = json.dumps(row, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        with self.path.open("ab", buffering=0) as file:
            file.write(line)
            os.fsync(file.fileno())

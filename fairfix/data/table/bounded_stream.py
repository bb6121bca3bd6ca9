"""A stream of bytes with a longest line and a largest size, against archives that never end."""

from __future__ import annotations

import gzip
from io import RawIOBase
from pathlib import Path
from typing import Protocol

from fairfix.errors import TableError

MAX_LINE = 64 << 20
"""Most bytes between two line breaks."""

MIN_UNPACKED = 64 << 20
MAX_RATIO = 200
"""An archive may unpack to 64 MiB, or to 200 times its size; text shrinks 3 to 30 times."""


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class BoundedStream(RawIOBase):
    """The bytes of a table, which must have line breaks and, if unpacked, a plausible size.

    Args:
        source: the bytes.
        name: the file, for messages.
        max_bytes: largest number of bytes in total; None for no limit.

    Raises:
        TableError: on reading beyond a limit.
    """

    def __init__(self, source: _Source, name: str, max_bytes: int | None = None) -> None:
        super().__init__()
        self._source, self._name, self._max_bytes = source, name, max_bytes
        self._total = self._line = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer and return the number of bytes."""
        data = self._source.read(len(buffer))
        size = len(data)
        buffer[:size] = data
        self._total += size
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        self._line = self._line + size if last < 0 else size - last - 1
        if self._line > MAX_LINE:
            raise TableError(
                f"{self._name} has a line of more than {MAX_LINE >> 20} MiB; check that it is a "
                "table with one line per row."
            )
        if self._max_bytes is not None and self._total > self._max_bytes:
            raise _too_large(self._name)
        return size

    def close(self) -> None:
        """Close the source too."""
        self._source.close()
        super().close()


def max_unpacked(path: Path) -> int:
    """Return the largest number of bytes that an archive may unpack to."""
    return max(MIN_UNPACKED, MAX_RATIO * path.stat().st_size)


def check_unpacked_size(path: Path) -> None:
    """Unpack the start of a gzip archive, and all of it if that shrank more than text does.

    An archive that is too large is refused before any of it is parsed.

    Raises:
        TableError: if it unpacks to more than ``max_unpacked``.
    """
    max_bytes, total = max_unpacked(path), 0
    with path.open("rb") as file, gzip.GzipFile(fileobj=file) as archive:
        while data := archive.read(1 << 20):
            total += len(data)
            if total > max_bytes:
                raise _too_large(path.name)
            if MIN_UNPACKED <= total <= MAX_RATIO * file.tell():
                return


def _too_large(name: str) -> TableError:
    return TableError(
        f"{name} unpacks to more than {MAX_RATIO} times its size; unpack it and check it."
    )

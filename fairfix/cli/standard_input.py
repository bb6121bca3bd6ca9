"""A table on stdin, named ``-``: copied to a temporary file, as a table is read more than once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory

from fairfix.errors import UsageError

_SUFFIXES = {b"\x1f\x8b": ".csv.gz", b"PA": ".parquet"}
_copy: ContextVar[Path | None] = ContextVar("copy", default=None)


@contextmanager
def table_file(data: Path | None) -> Iterator[Path | None]:
    """Yield the file of a table; for ``-`` a copy of stdin, named ``stdin`` and its suffix.

    The content decides the suffix: .parquet, .csv.gz, else .csv.

    Raises:
        UsageError: if stdin is a terminal or closed.
    """
    if data is None or str(data) != "-":
        yield data
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError(
            "The table - is stdin, which is not a file or a pipe; name a table, or redirect one."
        )
    with TemporaryDirectory(prefix="fairfix-") as folder:
        stream = sys.stdin.buffer
        start = stream.read(2)
        path = Path(folder, f"stdin{_SUFFIXES.get(start, '.csv')}")
        with path.open("wb") as file:
            file.write(start)
            shutil.copyfileobj(stream, file, 1 << 20)
        token = _copy.set(path)
        try:
            yield path
        finally:
            _copy.reset(token)


def is_stdin(path: Path | None) -> bool:
    """Return whether a file is the copy of stdin."""
    return path is not None and path == _copy.get()


def place_of(path: Path) -> Path:
    """Return a path whose folder is where files of a table are looked for.

    For stdin that is the current folder.
    """
    return Path.cwd() / path.name if is_stdin(path) else path

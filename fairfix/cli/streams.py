"""Standard streams whose faults never read as a verdict.

Messages on stderr are best effort: where it cannot be written, nothing changes. A closed stdout
ends with exit code 141, a full disk behind it with 2.
"""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import TextIO

from fairfix.cli.failures import STDOUT_CLOSED
from fairfix.errors import FairfixError


class _BestEffort(TextIOWrapper):
    """A text stream on stderr that drops what cannot be written."""

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(2)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(2)


def prepare_streams() -> None:
    """Make stderr best effort, and a stdout that is not open a closed pipe.

    Streams that were replaced, as in a test, are left alone.
    """
    if sys.stderr is None:
        _discard(2)
    if sys.stderr is None or _descriptor(sys.stderr) == 2:
        raw = open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115  # lives as long as the process
        sys.stderr = _BestEffort(
            raw,
            encoding=getattr(sys.stderr, "encoding", None) or "utf-8",
            errors="backslashreplace",
            write_through=True,
        )
    if sys.stdout is None:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # likewise
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr, in every locale


def flush_stdout(code: int) -> int:
    """Write what is left for stdout; return the exit code, or that of the fault."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        return STDOUT_CLOSED
    except OSError:
        drop_stdout()
        return code if code >= FairfixError.exit_code else FairfixError.exit_code
    return code


def drop_stdout() -> None:
    """Drop what is left for stdout, which Python would try to write again at its end."""
    descriptor = _descriptor(sys.stdout)
    if descriptor is not None:
        _discard(descriptor)


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _discard(descriptor: int) -> None:
    """Let a descriptor write to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    if null != descriptor:
        os.dup2(null, descriptor)
        os.close(null)

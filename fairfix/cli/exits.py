"""How a command that failed ends: one clear sentence, and an exit code that says whose fault."""

from __future__ import annotations

from typing import NamedTuple

from fairfix.errors import FairfixError

INTERNAL, INTERRUPTED, READER_GONE = 4, 130, 141


class Failure(NamedTuple):
    """What is said, and the exit code."""

    said: str
    code: int


def failure(error: Exception) -> Failure:
    """What an exception means to the person at the keyboard."""
    if isinstance(error, FairfixError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, OSError):
        where = f" {error.filename!r}" if error.filename else " the output"
        said = f"cannot use{where}: {error.strerror or error}."
        return Failure(said, FairfixError.exit_code)
    said = ": ".join(filter(None, [type(error).__name__, str(error).partition("\n")[0]]))
    return Failure(f"internal error, {said} (--debug shows where).", INTERNAL)

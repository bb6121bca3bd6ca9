"""Messages and exit codes of commands that fail; a verdict's is ``Gate.exit_code``."""

from __future__ import annotations

from typing import NamedTuple

from fairfix._utils.text import error_summary
from fairfix.errors import FairfixError

INTERNAL, INTERRUPTED, STDOUT_CLOSED = 4, 130, 141


class Failure(NamedTuple):
    """The message for the user, and the exit code."""

    message: str
    exit_code: int


def describe_failure(error: Exception) -> Failure:
    """Return the message and exit code of an exception."""
    if isinstance(error, FairfixError):
        return Failure(str(error), error.exit_code)
    if isinstance(error, OSError):
        where = f" {error.filename!r}" if error.filename else " the output"
        message = f"cannot use{where}: {error.strerror or error}."
        return Failure(message, FairfixError.exit_code)
    message = f"internal error, {error_summary(error)} (--debug shows where)."
    return Failure(message, INTERNAL)

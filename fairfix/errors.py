"""Exceptions of fairfix and the exit code of each.

A message is one or two sentences: the fact, then the remedy.
"""


class FairfixError(Exception):
    """Base of all exceptions that fairfix raises deliberately."""

    exit_code = 2


class UsageError(FairfixError):
    """Options that do not fit together, or a value outside its range."""


class MissingPackageError(UsageError, ImportError):
    """A package that an extra installs and that is not installed."""


class TableError(FairfixError):
    """A table that cannot be read, or that lacks the required columns, values or rows."""


class InputError(FairfixError):
    """Inputs of a network that contradict each other or its ``forward``."""


class CheckpointError(FairfixError):
    """A checkpoint that cannot be read, run or written back."""


class TrustError(FairfixError):
    """A file that could only be loaded by executing code in it, without permission to do so."""


class MethodError(FairfixError):
    """A method from outside the package that raised an exception of its own."""


class OutputError(FairfixError):
    """An output that cannot be written to its destination."""


class NoResultError(FairfixError):
    """A result that is not worth writing: it decides nearly all rows alike."""

    exit_code = 3


class VerificationError(FairfixError):
    """A written checkpoint that does not decide as reported: an internal error."""

    exit_code = 4

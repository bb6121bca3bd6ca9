"""What can go wrong, and the exit code each kind ends with. Imports nothing.

Every message is one or two sentences for the person at the keyboard: the fact, then the remedy.
"""


class FairfixError(Exception):
    """Base of every error that fairfix raises on purpose."""

    exit_code = 2


class UsageError(FairfixError):
    """Options that do not fit together, or a value outside its range."""


class TableError(FairfixError):
    """A table that cannot be read, or whose contents do not allow what was asked."""


class CheckpointError(FairfixError):
    """A checkpoint that cannot be read, run or written back."""


class TrustError(FairfixError):
    """Going on would execute code from a file; only ``--trust-checkpoint`` allows that."""


class OutputError(FairfixError):
    """A result that cannot be written where it was asked to go."""


class VerificationError(FairfixError):
    """What was written does not decide as what was reported: an internal fault, never a warning."""

    exit_code = 4

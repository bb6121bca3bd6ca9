"""Notes that are a detail: the command line shows them in full only with ``--verbose``."""

from __future__ import annotations


class Detail(str):
    """A note on what was inferred in the usual way.

    Attributes:
        short: the same in a few words, for the one line that stands for all details; "" if they
            can be left out of it.
    """

    short: str

    def __new__(cls, text: str, short: str = "") -> Detail:
        """Return the note."""
        made = super().__new__(cls, text)
        made.short = short
        return made

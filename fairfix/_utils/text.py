"""Text that every format can hold: XML, JSON, Markdown and a log line alike."""

from __future__ import annotations

import re

# Control characters, lone surrogates (bytes of a file name that are no text), non-characters.
_ILLEGIBLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legible(text: object) -> str:
    """The text with a mark in the place of every character that some format cannot hold."""
    return _ILLEGIBLE.sub("\N{REPLACEMENT CHARACTER}", str(text))

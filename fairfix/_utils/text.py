"""Text that every format can hold: XML, JSON, Markdown and a log line alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

# Control characters, lone surrogates (bytes of a file name that are no text), non-characters.
_ILLEGIBLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def legible(text: object) -> str:
    """The text with a mark in the place of every character that some format cannot hold."""
    return _ILLEGIBLE.sub("\N{REPLACEMENT CHARACTER}", str(text))


def nearest(name: str, known: Iterable[str]) -> str:
    """End of a sentence that suggests the nearest known name: "; did you mean 'spd'?" or "."."""
    near = get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]!r}?" if near else "."


def quoted_list(names: Iterable[object], limit: int = 12) -> str:
    """Return names for a message, quoted and separated by commas, at most ``limit`` of them."""
    quoted = [repr(name) for name in names]
    more = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, one: str, many: str) -> str:
    """Return "1 row has" or "2,000 rows have", from ``one`` "row has" and ``many`` "rows have"."""
    return f"{count:,} {one if count == 1 else many}"

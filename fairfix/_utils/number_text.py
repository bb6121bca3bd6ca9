"""Numbers as users write them: ASCII digits without separators, and finite.

Python's own ``float`` and ``int`` also read underscores, digits of other scripts, and NaN.
"""

from __future__ import annotations

import math
import re

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
"""A number in decimal or scientific notation."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,1000}")


def parse_float(text: str) -> float:
    """Return the finite number that a text is, without regard to blanks around it.

    Raises:
        ValueError: if it is not one; the message lacks the name of the setting.
    """
    text = text.strip()
    value = float(text) if NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a number; write digits such as 0.05 or 1e-3")
    return value


def exact_text(value: float) -> str:
    """Return a number with six significant digits, or with all digits that it needs."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def parse_int(text: str) -> int:
    """Return the whole number that a text is, without regard to blanks around it.

    Raises:
        ValueError: if it is not one; the message lacks the name of the setting.
    """
    text = text.strip()
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number; write digits such as 10")
    return int(text)

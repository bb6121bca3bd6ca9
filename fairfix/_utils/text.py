"""Text for people: sanitized strings, formatted numbers, short names, and "did you mean" hints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches

UNDEFINED = "undefined"
_MINUS = "\N{MINUS SIGN}"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# Control characters, lone surrogates (bytes of a file name that is not Unicode), non-characters.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Commands that a runner of GitHub Actions executes from any line of output.
_WORKFLOW_COMMAND = re.compile(
    r"::(?=\s*(?:add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|notice|remove-matcher"
    r"|save-state|set-env|set-output|stop-commands|warning)\b)|##(?=\[)",
    re.IGNORECASE,
)
_JOINERS = "\u200c\u200d"  # invisible, but Persian and Hindi words need them


# Sanitizing.


def printable(text: object) -> str:
    """Return the text with a replacement character for each one that XML or JSON cannot hold.

    Tabs and line breaks are kept.
    """
    return _UNPRINTABLE.sub(_REPLACEMENT, str(text))


def single_line(text: object) -> str:
    """Return the text on one line, without control characters or marks that reverse its order."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() or c in _JOINERS else _REPLACEMENT for c in line)


def without_commands(text: str) -> str:
    """Return the text with a replacement character in each workflow command of GitHub Actions."""
    return _WORKFLOW_COMMAND.sub(lambda found: f"{_REPLACEMENT}{found.group()[1:]}", text)


def terminal_line(text: object) -> str:
    """Return the text on one line that neither a terminal nor a CI runner takes as a command."""
    return without_commands(single_line(text))


def shorten(text: object, limit: int = 48) -> str:
    """Return the text on one line of at most ``limit`` characters, with an ellipsis in the middle.

    Empty text becomes "(empty)".
    """
    line = single_line(text) or "(empty)"
    if len(line) <= limit:
        return line
    end = limit // 3
    return f"{line[: limit - end - 1]}{_ELLIPSIS}{line[-end:]}"


def unique_labels(names: Iterable[str], limit: int = 48) -> dict[str, str]:
    """Return a shortened label for each name; equal ones are numbered: "name (2)"."""
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        label, copies = shorten(name, limit), 1
        while label in taken:
            copies += 1
            label = f"{shorten(name, limit)} ({copies})"
        labels.setdefault(name, label)
        taken.add(label)
    return labels


# Numbers.


def format_number(value: float | None, digits: int = 3) -> str:
    """Return a number with a typographic minus sign, for HTML; NaN and None are "undefined"."""
    return plain_number(value, digits).replace("-", _MINUS)


def plain_number(value: float | None, digits: int = 3) -> str:
    """Return a number with an ASCII minus sign, for Markdown and terminals."""
    if value is None or math.isnan(value):
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return text if float(text) else text.removeprefix("-")


def format_count(value: float | None) -> str:
    """Return a number of rows with thousands separators: "12,345"."""
    return UNDEFINED if value is None else f"{value:,.0f}"


def format_change(value: float | None) -> str:
    """Return a change in the number of rows with its sign: "+12,345"."""
    sign = "+" if value is not None and value > 0 else ""
    return sign + format_count(value).replace("-", _MINUS)


def format_p_value(value: float | None) -> str:
    """Return a p-value with three decimals, or "< 0.001"."""
    return "< 0.001" if value is not None and value < 0.001 else format_number(value)


def format_threshold(value: float | None) -> str:
    """Return a threshold with four significant digits and a typographic minus sign, for HTML."""
    return plain_threshold(value).replace("-", _MINUS)


def plain_threshold(value: float | None) -> str:
    """Return a threshold with four significant digits and an ASCII minus sign.

    None and NaN are "several": thresholds are randomized or depend on the groups of another column.
    """
    return "several" if value is None or math.isnan(value) else f"{value:.4g}"


# Messages.


def did_you_mean(name: object, known: Iterable[object], otherwise: str = ".") -> str:
    """Return the end of a sentence that suggests the nearest known name.

    Args:
        name: the unknown name; its case is ignored, and only a string is near another.
        known: the known names.
        otherwise: what to return if none is near.

    Returns:
        "; did you mean 'spd'?" or ``otherwise``.
    """
    folded = {each.casefold(): each for each in known if isinstance(each, str)}
    near = get_close_matches(name.casefold(), folded, 1) if isinstance(name, str) else []
    return f"; did you mean {folded[near[0]]!r}?" if near else otherwise


def error_summary(error: BaseException) -> str:
    """Return an exception in one line: its type and the first line of its message."""
    message = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def quoted_list(names: Iterable[object], limit: int = 12) -> str:
    """Return names for a message, quoted and separated by commas, at most ``limit`` of them."""
    quoted = [repr(name) for name in names]
    more = len(quoted) - limit
    return ", ".join(quoted[:limit]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, one: str, many: str) -> str:
    """Return "1 row has" or "2,000 rows have", from ``one`` "row has" and ``many`` "rows have"."""
    return f"{count:,} {one if count == 1 else many}"

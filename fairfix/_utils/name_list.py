"""Lists of names in one option: comma-separated as in a CSV record, so that names may be quoted."""

from __future__ import annotations

import csv

from fairfix.errors import UsageError


def split_names(text: str) -> tuple[str, ...]:
    """Return the names in a list such as ``a,"b, c"``, without surrounding blanks and empty ones.

    Raises:
        UsageError: a quote is not closed, or text follows a quoted name.
    """
    try:
        (names,) = csv.reader([text], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise UsageError(
            f"The list {text!r} has a quote that does not enclose a name; quote a name that "
            'contains a comma as in a,"b, c", and double a quote inside it.'
        ) from None
    return tuple(name.strip() for name in names if name.strip())

"""Lists of names in one option: comma-separated as in a CSV record, so that names may be quoted."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence

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


def joined_names(names: Sequence[str], known: Collection[str] = ()) -> str:
    """Return names as the list that ``split_names`` reads; one name is not quoted.

    Args:
        known: texts that the list must differ from.
    """
    if len(names) == 1:
        return names[0]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        text = io.StringIO()
        csv.writer(text, quoting=quoting, lineterminator="").writerow(names)
        if text.getvalue() not in known:
            break
    return text.getvalue()

"""From the values of the label column to 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from fairfix.data.table.category_codes import Values
from fairfix.data.table.cell_values import listed, same_value
from fairfix.errors import TableError


@dataclass(frozen=True)
class Labels:
    """``labels`` (N,) int64, 1 = favorable; the favorable value and all values as written."""

    labels: np.ndarray
    favorable: str
    names: tuple[str, ...]
    notes: tuple[str, ...]


def code_labels(values: Values, favorable: str | None, known: Sequence[str] | None) -> Labels:
    """Code the label column; ``known`` are the values of an earlier table, if there was one.

    ``favorable`` None means the value 1. Raises ``TableError`` when a value is missing or not
    known, when there is only one value, or when it is not clear which one is favorable.
    """
    missing = values.missing()
    if missing:
        raise TableError(f"{missing}: give these rows a label or remove them.")
    names = values.names if known is None else tuple(known)
    chosen = _favorable(values, names, favorable)
    labels = (values.codes_into(names) == names.index(chosen)).astype(np.int64)
    if len(values.names) < 2:
        raise TableError(
            f"{values.place} holds only {listed(values.names)}: both outcomes are needed."
        )
    notes: tuple[str, ...] = ()
    if len(names) > 2:
        others = [name for name in names if name != chosen]
        notes = (f"label {values.column!r}: {listed(others)} all count as unfavorable",)
    return Labels(labels, chosen, names, notes)


def _favorable(values: Values, names: tuple[str, ...], favorable: str | None) -> str:
    if favorable is None and len(names) > 2:
        raise TableError(
            f"{values.place} holds {len(names)} different values, {listed(names)}: say with "
            "--favorable which one is favorable, and all others count as unfavorable."
        )
    wanted = "1" if favorable is None else favorable
    for name in names:
        if same_value(name, wanted):
            return name
    if favorable is None:
        raise TableError(
            f"{values.place} holds {listed(names)} and no 1: say with --favorable which value is "
            "the favorable one."
        )
    near = get_close_matches(favorable, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise TableError(
        f"{values.place} has no value {favorable!r} (--favorable). It holds {listed(names)}{hint}"
    )

"""A column of few values as codes into their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fairfix.data.table.cell_values import (
    MISSING,
    counted,
    distinct,
    listed,
    meaning,
    natural_order,
    same_value,
)
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMES = 1000  # labels and protected attributes have few values; an identifier has many


@dataclass(frozen=True)
class Values:
    """One column: ``codes`` (N,) into ``names``, -1 where there is no value.

    ``place`` names file and column for messages, ``where`` says where a row stands in the file.
    """

    column: str
    codes: np.ndarray
    names: tuple[str, ...]
    place: str
    where: Callable[[int], str]

    def missing(self) -> str | None:
        """Say how many rows have no value and where the first one is; None when all have one."""
        rows = np.flatnonzero(self.codes < 0)
        if not len(rows):
            return None
        affected = counted(len(rows), "row has", "rows have")
        return f"{self.place}: {affected} no value (first: {self.where(int(rows[0]))})"

    def find(self, wanted: object) -> str | None:
        """Return the name that means the same as ``wanted``, or None."""
        return next((name for name in self.names if same_value(name, wanted)), None)

    def codes_into(self, names: Sequence[str]) -> np.ndarray:
        """Return the rows as (N,) int64 positions in ``names``; no value may be missing.

        Raises ``TableError`` for a value that ``names``, those of an earlier table, lack.
        """
        position = {meaning(name): i for i, name in enumerate(names)}
        unknown = [name for name in self.names if meaning(name) not in position]
        if unknown:
            raise TableError(
                f"{self.place}: the table before had no {listed(unknown)}, only {listed(names)}."
            )
        places = np.array([position[meaning(name)] for name in self.names], np.int64)
        return np.asarray(places[self.codes])


class Vocabulary:
    """Collects the values of one column chunk by chunk; what means the same is one value."""

    def __init__(self, column: str, place: str) -> None:
        self.columns = (column,)
        self.text_columns = frozenset(self.columns)
        self._place = place
        self._names: dict[str, str] = {}  # as first written, by meaning, in order of appearance
        self._numbers: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        """Take in the next rows. Raises ``TableError`` when there are too many values."""
        codes, texts = distinct(chunk[self.columns[0]])
        numbers = [self._number(text) for text in texts]
        if len(self._names) > _MOST_NAMES:
            raise TableError(
                f"{self._place} has more than {_MOST_NAMES} different values: labels and groups "
                "have few, so name another column or put the values into bins."
            )
        # A null has code -1 and so takes the last entry.
        self._parts.append(np.array([*numbers, -1], np.int64)[codes])

    def values(self, where: Callable[[int], str]) -> Values:
        """Return all rows so far, the names in natural order."""
        found = list(self._names.values())
        names = sorted(found, key=natural_order)
        rank = np.array([*(names.index(name) for name in found), -1], np.int64)
        codes = rank[np.concatenate(self._parts)]
        return Values(self.columns[0], codes, tuple(names), self._place, where)

    def _number(self, text: str) -> int:
        if text in MISSING:
            return -1
        key = meaning(text)
        self._names.setdefault(key, text)
        return self._numbers.setdefault(key, len(self._numbers))

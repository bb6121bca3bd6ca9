"""A column of few distinct values, such as labels or groups, as codes into the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fairfix._utils.text import plural, quoted_list
from fairfix.data.table.cell_values import (
    MISSING,
    comparison_key,
    equal_values,
    factorize_as_written,
    natural_sort_key,
    normalized_text,
    spelling_key,
)
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

_MAX_TWINS = 4  # shown in a message
_MAX_VALUES = 1000  # labels and protected attributes have few values; an identifier has many


@dataclass(frozen=True)
class CategoricalColumn:
    """The cells of one column.

    Attributes:
        column: its name.
        codes: (N,) int64 positions in ``values``, -1 where the value is missing.
        values: the distinct values as text, in natural order.
        spellings: the same values as the file writes them, with every spelling of each.
        place: file and column, for messages.
        locate_row: from a data row, counted from 0, to its line in the file, for messages.
    """

    column: str
    codes: np.ndarray
    values: tuple[str, ...]
    spellings: tuple[str, ...]
    place: str
    locate_row: Callable[[int], str]

    def missing_message(self) -> str | None:
        """Return how many rows have no value and which is the first; None if all have one."""
        rows = np.flatnonzero(self.codes < 0)
        if not len(rows):
            return None
        affected = plural(len(rows), "row has", "rows have")
        return f"{self.place}: {affected} no value (first: {self.locate_row(int(rows[0]))})"

    def refuse_twins(self) -> None:
        """Raise ``TableError`` if values differ only in spelling, and so may be the same."""
        by_key: dict[str, list[str]] = {}
        for text in self.spellings:
            by_key.setdefault(spelling_key(text), []).append(text)
        twins = [" and ".join(map(repr, texts)) for texts in by_key.values() if len(texts) > 1]
        if twins:
            listed = "; ".join(twins[:_MAX_TWINS])
            raise TableError(
                f"{self.place} has values that differ only in spelling: {listed}. Write each value "
                "in one way, or rename those that are meant to differ."
            )

    def find(self, value: object) -> str | None:
        """Return the one of the values that equals this value, or None."""
        return next((text for text in self.values if equal_values(text, value)), None)

    def take(self, rows: np.ndarray) -> CategoricalColumn:
        """Return the cells of some rows, by their numbers (M,), with the values that occur."""
        codes = self.codes[rows]
        used = np.unique(codes[codes >= 0])
        position = np.full(len(self.values) + 1, -1, np.int64)  # the last one is for -1
        position[used] = np.arange(len(used))
        return replace(
            self,
            codes=position[codes],
            values=tuple(self.values[code] for code in used),
            locate_row=lambda row: self.locate_row(int(rows[row])),
        )

    def codes_into(self, values: Sequence[str]) -> np.ndarray:
        """Return the rows as (N,) int64 positions in other values; -1 of missing values.

        Raises:
            TableError: the other values, those of an earlier table, lack one.
        """
        position = {comparison_key(text): i for i, text in enumerate(values)}
        unknown = [text for text in self.values if comparison_key(text) not in position]
        if unknown:
            which = "the unknown value" if len(unknown) == 1 else "the unknown values"
            raise TableError(
                f"{self.place} has {which} {quoted_list(unknown)}; the known ones are "
                f"{quoted_list(values)}. Correct or remove these rows."
            )
        positions = [*(position[comparison_key(text)] for text in self.values), -1]
        return np.asarray(np.array(positions, np.int64)[self.codes])


class CategoricalColumnBuilder:
    """Builds a ``CategoricalColumn`` from chunks of rows."""

    def __init__(self, column: str, place: str) -> None:
        self.columns = (column,)
        self.text_columns = frozenset(self.columns)
        self._place = place
        self._values: dict[str, str] = {}  # as first written, by key, in order of appearance
        self._spellings: dict[str, None] = {}  # in order of appearance
        self._numbers: dict[str, int] = {}
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        """Append rows.

        Raises:
            TableError: the column has too many distinct values.
        """
        codes, texts = factorize_as_written(chunk[self.columns[0]])
        numbers = [self._number(text) for text in texts]
        if len(self._values) > _MAX_VALUES:
            raise TableError(
                f"{self._place} has more than {_MAX_VALUES} distinct values, too many for labels "
                "or groups; name another column, or group the values into bins."
            )
        # A null has code -1 and so takes the last entry.
        self._parts.append(np.array([*numbers, -1], np.int64)[codes])

    def build(self, locate_row: Callable[[int], str]) -> CategoricalColumn:
        """Return the column of all rows so far."""
        values = sorted(self._values.values(), key=natural_sort_key)
        rank = np.array([*(values.index(text) for text in self._values.values()), -1], np.int64)
        codes = rank[np.concatenate(self._parts)]
        return CategoricalColumn(
            self.columns[0],
            codes,
            tuple(values),
            tuple(sorted(self._spellings, key=natural_sort_key)),
            self._place,
            locate_row,
        )

    def _number(self, spelling: str) -> int:
        text = normalized_text(spelling)
        if text in MISSING:
            return -1
        self._spellings.setdefault(spelling)
        key = comparison_key(text)
        self._values.setdefault(key, text)
        return self._numbers.setdefault(key, len(self._numbers))

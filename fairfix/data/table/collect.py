"""The one pass over a file: every chunk of rows goes to whatever its columns are used as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairfix.data.table.category_codes import Values, Vocabulary
from fairfix.data.table.cell_values import CellError, counted, distinct, numbers
from fairfix.data.table.features import Encoder, FeatureRows
from fairfix.data.table.reader import Source
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

Where = Callable[[int], str]


@dataclass(frozen=True)
class Roles:
    """The columns that are there for each role."""

    label: str | None
    groups: tuple[str, ...]
    id: str | None
    weight: str | None
    score: str | None


@dataclass(frozen=True)
class Cells:
    """All rows, every cell checked; ``values`` holds the label and group columns."""

    rows: int
    values: dict[str, Values]
    features: np.ndarray | None
    ids: np.ndarray | None
    weights: np.ndarray | None
    scores: np.ndarray | None


def gather(source: Source, roles: Roles, encoder: Encoder | None) -> Cells:
    """Read all rows. Raises ``TableError`` at a cell that cannot be used, or without rows."""
    file, where = source.header.file, source.where
    coded = [name for name in (roles.label, *roles.groups) if name is not None]
    values = {name: Vocabulary(name, f"{file}, column {name!r}") for name in coded}
    features = None if encoder is None else FeatureRows(file, encoder)
    ids = None if roles.id is None else _Ids(roles.id)
    weights = None if roles.weight is None else _Weights(file, roles.weight, np.inf)
    scores = None if roles.score is None else _Amounts(file, roles.score, 1.0)

    sinks: list[_Sink | None] = [*values.values(), features, ids, weights, scores]
    rows = _fill(source, [sink for sink in sinks if sink is not None])
    return Cells(
        rows,
        {name: vocabulary.values(where) for name, vocabulary in values.items()},
        None if features is None else features.matrix(where),
        None if ids is None else ids.array(),
        None if weights is None else weights.array(where),
        None if scores is None else scores.array(where),
    )


class _Sink(Protocol):
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def text_columns(self) -> frozenset[str]: ...
    def add(self, chunk: pd.DataFrame) -> None: ...


def _fill(source: Source, sinks: list[_Sink]) -> int:
    """Hand every chunk to every sink; return the number of rows."""
    file = source.header.file
    wanted = {name for sink in sinks for name in sink.columns}
    text = {name for sink in sinks for name in sink.text_columns}
    rows = 0
    for chunk in source.chunks([n for n in source.header.names if n in wanted], text):
        rows += len(chunk)
        try:
            for sink in sinks:
                sink.add(chunk)
        except CellError as error:
            raise TableError(
                f"{file}, {source.where(error.row)}, column {error.column!r}: {error.problem}"
            ) from None
    if rows == 0:
        raise TableError(f"{file} names its columns but has no rows.")
    return rows


class _Ids:
    """The names of the rows."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self.text_columns = frozenset(self.columns)
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        codes, texts = distinct(chunk[self.columns[0]])
        self._parts.append(np.array([*texts, ""], dtype=object)[codes])

    def array(self) -> np.ndarray:
        return np.concatenate(self._parts)


class _Amounts:
    """Finite numbers from 0 to ``high``: weights, scores."""

    text_columns: frozenset[str] = frozenset()

    def __init__(self, file: str, column: str, high: float) -> None:
        self.columns = (column,)
        self._file = file
        self._high = high
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        cells = chunk[self.columns[0]]
        self._parts.append(numbers(cells, "correct it or remove the row"))

    def array(self, where: Where) -> np.ndarray:
        amounts = np.concatenate(self._parts)
        wrong = np.flatnonzero(~(np.isfinite(amounts) & (amounts >= 0) & (amounts <= self._high)))
        if len(wrong):
            wanted = "numbers from 0 up" if self._high == np.inf else f"from 0 to {self._high:g}"
            raise TableError(
                f"{self._file}, column {self.columns[0]!r}: "
                f"{counted(len(wrong), 'value is', 'values are')} missing or not {wanted} (first: "
                f"{amounts[wrong[0]]:g} in {where(int(wrong[0]))})."
            )
        return amounts


class _Weights(_Amounts):
    """Amounts of which one at least is above 0."""

    def array(self, where: Where) -> np.ndarray:
        weights = super().array(where)
        if not weights.any():
            raise TableError(f"{self._file}, column {self.columns[0]!r}: all weights are 0.")
        return weights

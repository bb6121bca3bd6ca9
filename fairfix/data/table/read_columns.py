"""One pass over a table file: every chunk of rows goes to the columns that are read from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairfix._utils.text import plural
from fairfix.data.inputs.part_builder import BuiltInputs, InputsBuilder, TableRows
from fairfix.data.table.categorical_column import CategoricalColumn, CategoricalColumnBuilder
from fairfix.data.table.cell_values import CellError, factorize, parse_numbers
from fairfix.data.table.features import Encoder, FeatureMatrixBuilder
from fairfix.data.table.table_reader import TableReader
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

_MAX_WEIGHT = 1e100  # so that sums of weights are finite


@dataclass(frozen=True)
class ColumnRoles:
    """The columns of a file that have a role; None or () for a role that no column has."""

    label: str | None
    groups: tuple[str, ...]
    id: str | None
    weight: str | None
    score: str | None
    cluster: str | None = None


@dataclass(frozen=True)
class ColumnData:
    """The checked cells of all rows.

    Attributes:
        rows: the number of rows, N.
        categorical: the label and group columns, by name.
        features: (N, D) float32, or None without an encoder.
        ids: (N,) object array of str.
        weights: (N,) float64, finite, not negative and not all 0.
        scores: (N,) float64 in [0, 1].
        clusters: (N,) object array of str.
        inputs: of the network, where it does not take a matrix of numbers.
    """

    rows: int
    categorical: dict[str, CategoricalColumn]
    features: np.ndarray | None
    ids: np.ndarray | None
    weights: np.ndarray | None
    scores: np.ndarray | None
    clusters: np.ndarray | None
    inputs: BuiltInputs | None = None


def read_columns(
    reader: TableReader,
    roles: ColumnRoles,
    encoder: Encoder | None,
    inputs: InputsBuilder | None = None,
) -> ColumnData:
    """Read all rows, and return those whose inputs can be used.

    Raises:
        TableError: a cell cannot be used, or there are no rows.
    """
    file, locate_row = reader.header.file, reader.locate_row
    categorical = {
        name: CategoricalColumnBuilder(name, f"{file}, column {name!r}")
        for name in (roles.label, *roles.groups)
        if name is not None
    }
    features = None if encoder is None else FeatureMatrixBuilder(file, encoder)
    ids = None if roles.id is None else _IdBuilder(roles.id)
    weights = None if roles.weight is None else _WeightBuilder(file, roles.weight, _MAX_WEIGHT)
    scores = None if roles.score is None else _NumberBuilder(file, roles.score, 1.0)

    clusters = None if roles.cluster is None else _IdBuilder(roles.cluster)
    others = features, inputs, ids, weights, scores, clusters
    builders: list[_Builder | None] = [*categorical.values(), *others]
    rows = _feed_chunks(reader, [builder for builder in builders if builder is not None])
    data = ColumnData(
        rows=rows,
        categorical={name: builder.build(locate_row) for name, builder in categorical.items()},
        features=None if features is None else features.build(locate_row),
        ids=None if ids is None else ids.build(),
        weights=None if weights is None else weights.build(locate_row),
        scores=None if scores is None else scores.build(locate_row),
        clusters=None if clusters is None else _complete(clusters.build(), file, roles.cluster),
    )
    if inputs is None:
        return data
    built = inputs.build(TableRows(file, rows, data.ids, locate_row))
    data = data if built.kept is None else take_rows(data, built.kept)
    return replace(data, inputs=built)


def take_rows(data: ColumnData, rows: np.ndarray) -> ColumnData:
    """Return the cells of some rows, by their numbers (M,)."""

    def subset(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[rows]

    return replace(
        data,
        rows=len(rows),
        categorical={name: column.take(rows) for name, column in data.categorical.items()},
        features=subset(data.features),
        inputs=None if data.inputs is None else data.inputs.take(rows),
        ids=subset(data.ids),
        weights=subset(data.weights),
        scores=subset(data.scores),
        clusters=subset(data.clusters),
    )


def _complete(clusters: np.ndarray, file: str, column: str | None) -> np.ndarray:
    """Return the clusters. Raises ``TableError`` if a row has none."""
    missing = int((clusters == "").sum())
    if missing:
        raise TableError(
            f"{file}, cluster column {column!r}: {plural(missing, 'row has', 'rows have')} no "
            "value; give each row of its own a value of its own."
        )
    return clusters


class _Builder(Protocol):
    """Collects some columns, chunk by chunk."""

    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def text_columns(self) -> frozenset[str]: ...
    def add(self, chunk: pd.DataFrame) -> None: ...


def _feed_chunks(reader: TableReader, builders: list[_Builder]) -> int:
    """Give every chunk to every builder; return the number of rows."""
    file = reader.header.file
    wanted = {name for builder in builders for name in builder.columns}
    text = {name for builder in builders for name in builder.text_columns}
    rows = 0
    for chunk in reader.chunks([n for n in reader.header.names if n in wanted], text):
        rows += len(chunk)
        try:
            for builder in builders:
                builder.add(chunk)
        except CellError as error:
            line = reader.locate_row(error.row)
            raise TableError(f"{file}, {line}, column {error.column!r}: {error.problem}") from None
    if rows == 0:
        raise TableError(f"{file} has a header but no rows.")
    return rows


class _IdBuilder:
    """The ids of the rows as text."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self.text_columns = frozenset(self.columns)
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        codes, texts = factorize(chunk[self.columns[0]])
        self._parts.append(np.array([*texts, ""], dtype=object)[codes])

    def build(self) -> np.ndarray:
        return np.concatenate(self._parts)


class _NumberBuilder:
    """Finite numbers from 0 to ``maximum``, such as scores."""

    text_columns: frozenset[str] = frozenset()

    def __init__(self, file: str, column: str, maximum: float) -> None:
        self.columns = (column,)
        self._place = f"{file}, column {column!r}"
        self._maximum = maximum
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        cells = chunk[self.columns[0]]
        self._parts.append(parse_numbers(cells, "correct it or remove the row"))

    def build(self, locate_row: Callable[[int], str]) -> np.ndarray:
        values = np.concatenate(self._parts)
        wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0) & (values <= self._maximum)))
        if len(wrong):
            first = int(wrong[0])
            outside = f"missing or outside [0, {self._maximum:g}]"
            fault = "missing, negative or infinite" if self._maximum == _MAX_WEIGHT else outside
            raise TableError(
                f"{self._place}: {plural(len(wrong), 'value is', 'values are')} {fault} "
                f"(first: {values[first]:g} in {locate_row(first)}); correct the values or remove "
                "the rows."
            )
        return values


class _WeightBuilder(_NumberBuilder):
    """Non-negative numbers, not all 0."""

    def build(self, locate_row: Callable[[int], str]) -> np.ndarray:
        weights = super().build(locate_row)
        if not weights.any():
            raise TableError(f"{self._place}: all weights are 0; some must be positive.")
        return weights

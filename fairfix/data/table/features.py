"""The features of a table: which columns they are, and the float32 matrix of their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from fairfix._utils.text import plural, quoted_list
from fairfix.data.inputs.part_builder import InputOptions, InputsBuilder
from fairfix.data.memory_table import TableSource
from fairfix.data.table.cell_values import parse_numbers
from fairfix.data.table.columns import Columns, Header
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd


class Encoder(Protocol):
    """Computes the inputs of a network from columns, row by row, as a data spec does."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, without repetition."""
        ...

    @property
    def text_columns(self) -> frozenset[str]:
        """Names of those columns that it reads as text."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names (D,) of its inputs."""
        ...

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the inputs (N, D) of the rows of a frame.

        Raises:
            CellError: a cell that cannot be encoded.
        """
        ...


@runtime_checkable
class InputsEncoder(Protocol):
    """Makes inputs of any kind, as a data spec of version 2 does."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, without repetition."""
        ...

    def start(self, table: TableSource, options: InputOptions) -> InputsBuilder:
        """Return the builder of the inputs of a table."""
        ...


class NumericColumns:
    """The encoder of numeric columns, which are used as they are."""

    text_columns: frozenset[str] = frozenset()

    def __init__(self, names: Sequence[str]) -> None:
        self.columns = self.names = tuple(names)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the columns side by side, (N, D) float32."""
        remedy = "ignore the column or encode it with a data spec"
        block = np.empty((len(frame), len(self.columns)), np.float32)
        for position, name in enumerate(self.columns):
            with np.errstate(invalid="ignore", over="ignore"):  # both are refused below
                block[:, position] = parse_numbers(frame[name], remedy)
        return block


def choose_encoder(
    header: Header, columns: Columns, spec: Encoder | None, expected: int | None
) -> tuple[Encoder | None, tuple[str, ...]]:
    """Return the encoder of the features and notes for the user; None if scores replace a model.

    Args:
        spec: the data spec, used unless ``columns.features`` names the inputs.
        expected: the number of inputs of the network, if known.

    Raises:
        TableError: a column is missing, or the number of features is not the expected one.
        UsageError: a feature has another role.
    """
    encoder: Encoder
    note = ""
    if columns.features is not None:
        header.require(columns.features, "feature")
        encoder = NumericColumns(columns.features)
    elif spec is not None:
        check_spec_columns(header, columns, spec.columns)
        encoder = spec
    elif columns.score is not None and expected is None:
        return None, ()
    else:
        names, saved_index = header.feature_names(columns)
        encoder = NumericColumns(names)
        if saved_index:
            note = f"column {quoted_list(saved_index)} is left out as a saved row index"
    if not encoder.names:
        raise TableError(
            f"{header.file} has no column left as a feature; list the features, or ignore fewer "
            "columns."
        )
    if expected is not None and len(encoder.names) != expected:
        index = f" ({note}; rename it if it is a feature)" if note else ""
        raise TableError(
            f"{header.file} gives {plural(len(encoder.names), 'feature', 'features')}{index}, but "
            f"the network takes {expected}. " + _width_remedy(header, columns, encoder, expected)
        )
    return encoder, (note,) if note else ()


def check_spec_columns(header: Header, columns: Columns, names: Sequence[str]) -> None:
    """Check the columns that a data spec reads.

    Raises:
        TableError: a column is missing.
        UsageError: a column has another role.
    """
    role = "input of the data spec"
    columns.check_features(names, role)
    header.require(names, role)


def _width_remedy(header: Header, columns: Columns, encoder: Encoder, expected: int) -> str:
    lacking = expected - len(encoder.names)
    left_out = [n for n in columns.groups if n in header and n not in encoder.columns]
    if 0 < lacking <= len(left_out):
        some = "" if lacking == len(left_out) else f"{lacking} of "
        them = "the group column" if len(left_out) == 1 else "the group columns"
        return (
            f"With {some}{them} {quoted_list(left_out)} the number is right: list all {expected} "
            f"as features in the network's order, {some}{them} among them."
        )
    if lacking > 0:
        return (
            "Use the table as it was encoded for training, or describe the encoding in a data "
            "spec next to the model."
        )
    return "Ignore the other columns, or list the features in the network's order."


class FeatureMatrixBuilder:
    """Collects encoded rows in place, so that a large table is never in memory twice."""

    def __init__(self, file: str, encoder: Encoder) -> None:
        self.columns = encoder.columns
        self.text_columns = encoder.text_columns
        self._encoder = encoder
        self._file = file
        self._width = len(encoder.names)
        self._data = np.empty((0, self._width), np.float32)
        self._rows = 0
        self._missing = _InvalidValues("missing", "Fill", self._width)
        self._infinite = _InvalidValues("infinite or too large for float32", "Rescale", self._width)

    def add(self, chunk: pd.DataFrame) -> None:
        """Append rows."""
        end = self._rows + len(chunk)
        if end > len(self._data):
            capacity = max(end, len(self._data) * 5 // 4)
            self._data.resize((capacity, self._width), refcheck=False)
        new = self._data[self._rows : end]
        with np.errstate(over="ignore"):  # becomes infinite, and is counted as such
            new[:] = self._encoder.encode(chunk)
        if not np.isfinite(new).all():
            self._missing.count(np.isnan(new), self._rows)
            self._infinite.count(np.isinf(new), self._rows)
        self._rows = end

    def build(self, locate_row: Callable[[int], str]) -> np.ndarray:
        """Return all rows (N, D).

        Raises:
            TableError: a value is missing or infinite.
        """
        for invalid in (self._missing, self._infinite):
            invalid.refuse(self._file, self._encoder.names, locate_row)
        self._data.resize((self._rows, self._width), refcheck=False)
        return self._data


class _InvalidValues:
    """Counts one kind of value that no network can take, and finds its first row, by column."""

    def __init__(self, description: str, remedy: str, width: int) -> None:
        self._description, self._remedy = description, remedy
        self._counts = np.zeros(width, np.int64)
        self._first = np.zeros(width, np.int64)

    def count(self, invalid: np.ndarray, start: int) -> None:
        """Count the invalid values of rows (N, D), the first of which has the number ``start``."""
        new = (self._counts == 0) & invalid.any(axis=0)
        self._first[new] = start + invalid.argmax(axis=0)[new]
        self._counts += invalid.sum(axis=0)

    def refuse(self, file: str, names: Sequence[str], locate_row: Callable[[int], str]) -> None:
        """Raise ``TableError`` at the first column that has such values."""
        columns = np.flatnonzero(self._counts)
        if not len(columns):
            return
        first, others = int(columns[0]), len(columns) - 1
        values = plural(int(self._counts[first]), "value is", "values are")
        more = f"; {plural(others, 'other column has', 'other columns have')} such values too"
        raise TableError(
            f"{file}, column {names[first]!r}: {values} {self._description} (first: "
            f"{locate_row(int(self._first[first]))}){more if others else ''}. {self._remedy} them "
            "as for training, or remove the rows."
        )

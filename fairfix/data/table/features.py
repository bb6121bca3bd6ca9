"""The features of a table: which columns they are, and the float32 matrix they fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairfix.data.table.cell_values import counted, listed, numbers
from fairfix.data.table.columns import Columns, Header
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd


class Encoder(Protocol):
    """Turns columns into the inputs of a network, row by row; a data spec is one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once."""

    @property
    def text_columns(self) -> frozenset[str]:
        """Those of them it reads as text."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names (D,) of the inputs it gives."""

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the inputs (n, D) of the rows of ``frame``; ``CellError`` where it cannot."""


class PlainFeatures:
    """Numeric columns as they are."""

    text_columns: frozenset[str] = frozenset()

    def __init__(self, names: Sequence[str]) -> None:
        self.columns = self.names = tuple(names)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the columns side by side, (n, D) float32."""
        remedy = "leave the column out with --ignore or encode it with a data spec"
        block = np.empty((len(frame), len(self.columns)), np.float32)
        for place, name in enumerate(self.columns):
            block[:, place] = numbers(frame[name], remedy)
        return block


def choose_encoder(
    header: Header, columns: Columns, spec: Encoder | None, expected: int | None
) -> tuple[Encoder | None, tuple[str, ...]]:
    """Return what makes the features and what to say of it; None where scores replace a model.

    ``expected`` is the number of inputs of the network. Raises ``TableError`` when columns are
    not there or make another number of inputs, ``UsageError`` when they have another role.
    """
    encoder: Encoder
    left_out = ""
    if columns.features is not None:
        header.require(columns.features, "--features")
        encoder = PlainFeatures(columns.features)
    elif spec is not None:
        columns.check_features(spec.columns, "the data spec")
        header.require(spec.columns, "the data spec")
        encoder = spec
    elif columns.score is not None and expected is None:
        return None, ()
    else:
        names, saved_index = header.features(columns)
        encoder = PlainFeatures(names)
        if saved_index:
            left_out = f"column {listed(saved_index)} is left out as a saved row index"
    if not encoder.names:
        raise TableError(f"{header.file} has no column left to be a feature: see --features.")
    if expected is not None and len(encoder.names) != expected:
        raise TableError(
            f"{header.file} gives {counted(len(encoder.names), 'feature', 'features')}"
            f"{f' ({left_out}: rename it if it is none)' if left_out else ''} and the network "
            f"takes {expected}. " + _width_remedy(header, columns, encoder, expected)
        )
    return encoder, (left_out,) if left_out else ()


def _width_remedy(header: Header, columns: Columns, encoder: Encoder, expected: int) -> str:
    more = expected - len(encoder.names)
    left_out = [n for n in columns.groups if n in header and n not in encoder.columns]
    if 0 < more <= len(left_out):
        which = "" if more == len(left_out) else f"{more} of "
        them = "the group column" if len(left_out) == 1 else "the group columns"
        return (
            f"Adding {which}{them} {listed(left_out)} would make it right: list all {expected} in "
            f"the network's order with --features, {which}{them} among them."
        )
    if more > 0:
        return (
            "Give the table as it was encoded for training, or describe the encoding in a data "
            "spec beside the model."
        )
    return "Leave columns out with --ignore, or list those of the network with --features."


class FeatureRows:
    """Gathers encoded rows in place, so that a large table is never in memory twice."""

    def __init__(self, file: str, encoder: Encoder) -> None:
        self.columns = encoder.columns
        self.text_columns = encoder.text_columns
        self._encoder = encoder
        self._file = file
        self._width = len(encoder.names)
        self._data = np.empty((0, self._width), np.float32)
        self._rows = 0
        self._missing = _Faults("missing", "Fill", self._width)
        self._infinite = _Faults("infinite or too large for float32", "Scale", self._width)

    def add(self, chunk: pd.DataFrame) -> None:
        """Append the next rows."""
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

    def matrix(self, where: Callable[[int], str]) -> np.ndarray:
        """Return all rows (N, D). Raises ``TableError`` when a value is missing or infinite."""
        for faults in (self._missing, self._infinite):
            faults.refuse(self._file, self._encoder.names, where)
        self._data.resize((self._rows, self._width), refcheck=False)
        return self._data


class _Faults:
    """Counts values of one kind that no network can take: (D,) how many, and the first row."""

    def __init__(self, what: str, remedy: str, width: int) -> None:
        self._what, self._remedy = what, remedy
        self._counts = np.zeros(width, np.int64)
        self._first = np.zeros(width, np.int64)

    def count(self, bad: np.ndarray, start: int) -> None:
        """Take in the next rows (n, D), of which ``start`` is the first."""
        new = (self._counts == 0) & bad.any(axis=0)
        self._first[new] = start + bad.argmax(axis=0)[new]
        self._counts += bad.sum(axis=0)

    def refuse(self, file: str, names: Sequence[str], where: Callable[[int], str]) -> None:
        """Raise ``TableError`` at the first column that has such values."""
        columns = np.flatnonzero(self._counts)
        if not len(columns):
            return
        first, others = int(columns[0]), len(columns) - 1
        bad = counted(int(self._counts[first]), "value is", "values are")
        more = f"; {counted(others, 'other column has', 'other columns have')} such values too"
        raise TableError(
            f"{file}, column {names[first]!r}: {bad} {self._what} (first: "
            f"{where(int(self._first[first]))}){more if others else ''}. {self._remedy} them as "
            "for training, or remove the rows."
        )

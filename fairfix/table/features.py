"""The features of a table: which columns they are, and the float32 matrix they fill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fairfix.errors import TableError
from fairfix.table.columns import Columns, Header
from fairfix.table.values import counted, listed, numbers

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
    notes: tuple[str, ...] = ()
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
            notes = (f"column {listed(saved_index)} is left out as a saved row index",)
    if not encoder.names:
        raise TableError(f"{header.file} has no column left to be a feature: see --features.")
    if expected is not None and len(encoder.names) != expected:
        raise TableError(
            f"{header.file} gives {counted(len(encoder.names), 'feature', 'features')} and the "
            f"network takes {expected}. " + _width_remedy(header, columns, encoder, expected)
        )
    return encoder, notes


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
        self._bad = np.zeros(self._width, np.int64)
        self._first_bad = np.zeros(self._width, np.int64)

    def add(self, chunk: pd.DataFrame) -> None:
        """Append the next rows."""
        end = self._rows + len(chunk)
        if end > len(self._data):
            capacity = max(end, len(self._data) * 5 // 4)
            self._data.resize((capacity, self._width), refcheck=False)
        with np.errstate(over="ignore"):  # becomes infinite, and is counted as such
            self._data[self._rows : end] = self._encoder.encode(chunk)
        self._count_bad(~np.isfinite(self._data[self._rows : end]))
        self._rows = end

    def matrix(self, where: Callable[[int], str]) -> np.ndarray:
        """Return all rows (N, D). Raises ``TableError`` when a value is missing or infinite."""
        columns = np.flatnonzero(self._bad)
        if len(columns):
            first, others = int(columns[0]), len(columns) - 1
            bad = counted(int(self._bad[first]), "value is", "values are")
            line = where(int(self._first_bad[first]))
            more = f"; {counted(others, 'other column has', 'other columns have')} such values too"
            raise TableError(
                f"{self._file}, column {self._encoder.names[first]!r}: {bad} missing or not finite "
                f"(first: {line}){more if others else ''}. Fill them as for training, or remove "
                "the rows."
            )
        self._data.resize((self._rows, self._width), refcheck=False)
        return self._data

    def _count_bad(self, bad: np.ndarray) -> None:
        if bad.any():
            new = (self._bad == 0) & bad.any(axis=0)
            self._first_bad[new] = self._rows + bad.argmax(axis=0)[new]
            self._bad += bad.sum(axis=0)

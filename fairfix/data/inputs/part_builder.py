"""What all inputs of a network that are read with a table share: builders, options, bad rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from fairfix.data.memory_table import TableSource
from fairfix.models.inputs import Inputs, Part

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """How the files that a table names are read.

    Attributes:
        image_root: folder, zip or tar file with the images; None is the folder of the table.
        cache: folder for decoded images and tokens; None is the user's cache folder.
        on_bad_row: "fail" refuses a table with a row whose image, text or array entry cannot be
            used; "skip" leaves such rows out and counts them.
    """

    image_root: Path | None = None
    cache: Path | None = None
    on_bad_row: Literal["fail", "skip"] = "fail"


@dataclass(frozen=True)
class Source:
    """Where the inputs of one table come from.

    Attributes:
        table: its file, or the table in memory.
        folder: the folder of the data spec, to which its files are relative.
        confined: whether the files of the data spec must lie in its folder.
        options: how files are read.
    """

    table: TableSource
    folder: Path
    confined: bool
    options: InputOptions


@dataclass(frozen=True)
class TableRows:
    """The rows of a table that was read.

    Attributes:
        file: the table's name, for messages.
        count: number of rows, N.
        ids: (N,) object array of str; None without an id column.
        locate: from a data row, counted from 0, to its line in the file, for messages.
    """

    file: str
    count: int
    ids: np.ndarray | None
    locate: Callable[[int], str]


@dataclass(frozen=True)
class BuiltPart:
    """One input for all rows.

    Attributes:
        part: N rows; those of bad rows hold nothing of use.
        bad: why a row cannot be used, by row number.
        notes: for the user.
        sha256: hash of the file or files that it was read from; None without any.
        measured: whether rows that are equal in it are copies, as images are and codes are not.
    """

    part: Part
    bad: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sha256: str | None = None
    measured: bool = False


class PartBuilder(Protocol):
    """Collects what one input needs of each row of a table, chunk by chunk."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def text_columns(self) -> frozenset[str]:
        """Names of those columns that it reads as text."""
        ...

    def add(self, chunk: pd.DataFrame) -> None:
        """Append rows.

        Raises:
            CellError: a cell that cannot be used.
        """
        ...

    def build(self, rows: TableRows) -> BuiltPart:
        """Return the input for all rows.

        Raises:
            FairfixError: a file cannot be read, or does not fit the table.
        """
        ...


@dataclass(frozen=True)
class BuiltInputs:
    """What the network takes for the rows of a table that can be used.

    Attributes:
        inputs: of M rows.
        kept: (M,) int64 numbers of these rows; None if all can be used.
        notes: for the user.
        sha256: hashes of the files that inputs were read from, by the name of the input.
        measured: whether equal rows are copies of each other; see ``BuiltPart``.
    """

    inputs: Inputs
    kept: np.ndarray | None
    notes: tuple[str, ...]
    sha256: Mapping[str, str]
    measured: bool

    def take(self, rows: np.ndarray) -> BuiltInputs:
        """Return the inputs for some of the rows, by their numbers."""
        kept = rows if self.kept is None else self.kept[rows]
        return replace(self, inputs=self.inputs.take(torch.from_numpy(rows)), kept=kept)


class InputsBuilder(Protocol):
    """Collects what all inputs need of each row of a table; see ``PartBuilder``."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, without repetition."""
        ...

    @property
    def text_columns(self) -> frozenset[str]:
        """Names of those columns that it reads as text."""
        ...

    def add(self, chunk: pd.DataFrame) -> None:
        """Append rows; see ``PartBuilder``."""
        ...

    def build(self, rows: TableRows) -> BuiltInputs:
        """Return the inputs of all usable rows.

        Raises:
            FairfixError: see ``PartBuilder``.
            TableError: a row cannot be used, unless such rows are skipped.
        """
        ...

"""Tables in memory: data frames, Arrow tables and mappings of arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.lengths import unequal_lengths
from fairfix._utils.text import error_summary
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class MemoryTable:
    """Rows in memory, which are read as those of a Parquet file are.

    Attributes:
        name: for messages and reports.
        cells: the columns.
        arrays: inputs of the network, (N, ...) each, by name.
        by_name: whether ``forward`` takes the arrays by name.
    """

    name: str
    cells: pa.Table
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    by_name: bool = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        arrays = iter(self.arrays.values())
        return self.cells.num_rows if self.cells.num_columns else len(next(arrays, ()))

    @property
    def parent(self) -> Path:
        """The folder that paths in the cells are relative to: the current one."""
        return Path()

    @cached_property
    def sha256(self) -> str:
        """The hash of all cells and arrays."""
        import pyarrow as pa

        digest = hashlib.sha256()
        sink = pa.BufferOutputStream()
        cells = self.cells.combine_chunks()
        with pa.ipc.new_stream(sink, cells.schema.remove_metadata()) as stream:
            stream.write_table(cells.replace_schema_metadata())
        digest.update(sink.getvalue())
        for name, values in self.arrays.items():
            digest.update(f"\0{name}\0{values.dtype}\0{values.shape}\0".encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


TableSource = Path | MemoryTable
"""Where the rows of a table come from."""


def from_arrow(data: Any) -> MemoryTable:
    """Return the table of a pandas frame, or of any object with the Arrow PyCapsule protocol.

    Raises:
        TableError: if a column holds values of several types.
    """
    import pandas as pd
    import pyarrow as pa

    is_frame = isinstance(data, pd.DataFrame)
    name = "Arrow table" if isinstance(data, pa.Table) else "data frame"
    try:
        cells = pa.Table.from_pandas(data, preserve_index=False) if is_frame else pa.table(data)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise TableError(
            f"The {name} cannot be read as columns of one type each ({error_summary(error)}); "
            "convert the column to numbers or to text."
        ) from None
    return MemoryTable(name, cells)


def from_mapping(data: Mapping[str, Any]) -> MemoryTable:
    """Return the table of arrays by name.

    Those of one dimension are columns, and those of more are inputs of the network: a single one
    goes to ``forward`` by position, several by name.

    Raises:
        TableError: if lengths differ, or an array is of a type that cannot be used.
    """
    import pyarrow as pa

    columns: dict[str, pa.Array] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, given in data.items():
        values = given if _is_column(given) else as_array(given)
        if isinstance(values, np.ndarray) and values.ndim > 1:
            arrays[str(name)] = _numbers(str(name), values)
            continue
        try:
            columns[str(name)] = pa.array(values, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise TableError(
                f"The array {name!r} is not a column of one type ({error_summary(error)}); convert "
                "it to numbers or to text."
            ) from None
    if lengths := unequal_lengths(columns | arrays):
        raise TableError(f"The arrays have different lengths: {lengths}; give each one every row.")
    return MemoryTable("arrays", pa.table(columns), arrays, by_name=len(arrays) > 1)


def _is_column(values: Any) -> bool:
    """Whether this is a list of single values, of which numpy would make text if they differ."""
    if not isinstance(values, list | tuple):
        return False
    return not any(isinstance(each, list | tuple | np.ndarray | Tensor) for each in values)


def as_array(values: Any) -> np.ndarray:
    """Return a tensor, list, series or array as an array.

    Raises:
        TableError: if it is a single value.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        return np.asarray(values.numpy())
    array = np.asarray(values)
    if array.ndim == 0:
        raise TableError(f"{values!r} is a single value; give an array with one entry per row.")
    return array


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Raise TableError if an input of the network does not hold numbers."""
    if values.dtype.kind not in _NUMBERS:
        raise TableError(
            f"The array {name!r} of shape {values.shape} holds {values.dtype}; an input of a "
            "network needs numbers, and a column of a table has one dimension."
        )
    return values

"""The rows that a user gives, as a file or in memory."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from fairfix.data.memory_table import MemoryTable, TableSource, from_arrow, from_mapping
from fairfix.data.torch_dataset import is_dataset, read_dataset
from fairfix.errors import TableError

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.data import DataLoader, Dataset

    from fairfix.data.table.columns import Columns


class ArrowStream(Protocol):
    """Anything that exports its rows by the Arrow PyCapsule protocol, as polars and Arrow do."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Return the stream."""
        ...


Data: TypeAlias = (
    "str | PathLike[str] | pd.DataFrame | ArrowStream | Mapping[str, Any] | Dataset[Any]"
    " | DataLoader[Any] | MemoryTable"
)
"""What rows are read from."""


def table_source(data: object, columns: Columns) -> TableSource:
    """Return where rows come from.

    Args:
        data: a path, a data frame, an Arrow table, a mapping of arrays, or a PyTorch dataset or
            loader (``read_dataset``).
        columns: the names of the labels and the groups of a dataset.

    Raises:
        TableError: if the data cannot be read as a table.
    """
    if isinstance(data, MemoryTable):
        return data
    if isinstance(data, str | PathLike):
        return Path(data)
    if hasattr(data, "__arrow_c_stream__"):
        return from_arrow(data)
    if isinstance(data, Mapping):
        return from_mapping(data)
    if is_dataset(data):
        return read_dataset(data, columns.targets or (columns.label,), columns.groups)
    raise TableError(
        f"Rows cannot be read from a {type(data).__name__}; give a path, a data frame, a mapping "
        "of arrays, or a PyTorch dataset (collect a lazy frame first)."
    )

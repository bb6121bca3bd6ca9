"""Rows of PyTorch datasets and loaders, read by their index."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from fairfix._utils.text import error_summary, plural
from fairfix.data.memory_table import MemoryTable, as_array
from fairfix.errors import TableError

_BATCH = 64  # rows
_READINGS = 4  # of the first and of the last row, again


def is_dataset(data: object) -> bool:
    """Whether an object is a loader, or has rows that can be read by index."""
    if isinstance(data, np.ndarray | Tensor | Mapping):
        return False
    known = isinstance(data, DataLoader | IterableDataset)
    return known or (hasattr(data, "__getitem__") and hasattr(data, "__len__"))


def read_dataset(data: Any, labels: Sequence[str], groups: Sequence[str]) -> MemoryTable:
    """Read all rows of a dataset, or of the dataset of a loader, in the order of their index.

    Each row is (inputs, label, group). The inputs are a tensor, a tuple of tensors or a mapping of
    names to tensors; with several label or group columns, label or group is a tuple or a vector.

    Args:
        data: a dataset with ``__len__`` and ``__getitem__``, or a loader that draws all of its
            rows; its ``collate_fn`` joins rows.
        labels: names of the label columns.
        groups: names of the group columns.

    Raises:
        TableError: if rows are not of this form, change from one reading to the next, or cannot be
            read by index.
    """
    import pyarrow as pa

    rows, collate = _parts(data)
    name = type(rows).__name__
    if not len(rows):
        raise TableError(f"{name} has no rows; give a dataset with rows of every group.")

    def read(index: Sequence[int]) -> _Batch:
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                return _batch(collate([rows[each] for each in index]), name, labels, groups)
        except TableError:
            raise
        except Exception as error:  # the code of the dataset may raise anything
            raise TableError(
                f"{name}: rows {index[0]} to {index[-1]} cannot be read ({error_summary(error)}); "
                "each must be (inputs, label, group), with inputs of one shape."
            ) from None

    first = last = read(range(min(_BATCH, len(rows))))
    inputs = {key: np.empty((len(rows), *x.shape[1:]), x.dtype) for key, x in first.inputs.items()}
    parts: list[Sequence[np.ndarray]] = []
    for start, end in _ranges(len(rows)):
        last = first if start == 0 else read(range(start, end))
        last.check_like(first, name, end - start)
        parts.append(last.columns)
        for key, values in last.inputs.items():
            inputs[key][start:end] = values
    _check_repeatable(name, read, first, 0)
    _check_repeatable(name, read, last, len(rows) - 1)
    columns = {
        column: pa.array(np.concatenate(cells), from_pandas=True)
        for column, cells in zip([*labels, *groups], zip(*parts, strict=True), strict=True)
    }
    return MemoryTable(name, pa.table(columns), inputs, by_name=first.by_name)


class _Batch:
    """The inputs of some rows by name, and their labels and groups."""

    def __init__(
        self, inputs: Mapping[str, np.ndarray], columns: Sequence[np.ndarray], *, by_name: bool
    ) -> None:
        self.inputs, self.columns, self.by_name = inputs, columns, by_name

    def row(self, place: int) -> list[np.ndarray]:
        """Return everything that belongs to one row."""
        return [np.asarray(each[place]) for each in (*self.inputs.values(), *self.columns)]

    def check_like(self, first: _Batch, name: str, rows: int) -> None:
        """Raise TableError unless it has this many rows, with inputs as those of the first batch.

        Args:
            name: that of the dataset.
        """
        if {len(each) for each in (*self.inputs.values(), *self.columns)} != {rows}:
            raise TableError(
                f"{name}: {plural(rows, 'row becomes', 'rows become')} another number of rows; "
                "give a collate_fn that keeps each row once."
            )
        if self.inputs.keys() != first.inputs.keys():
            raise TableError(f"{name}: rows have different inputs; return the same for every row.")
        for key, values in self.inputs.items():
            if (shape := values.shape[1:]) != (known := first.inputs[key].shape[1:]):
                raise TableError(
                    f"{name}: rows of {key!r} have the shapes {known} and {shape}; pad all rows to "
                    "one shape."
                )


def _parts(data: Any) -> tuple[Any, Callable[[list[Any]], Any]]:
    """Return the dataset and the function that joins rows. Raises TableError if it has no order."""
    rows: Any = data.dataset if isinstance(data, DataLoader) else data
    if isinstance(rows, IterableDataset):
        raise TableError(
            f"{type(rows).__name__} is an IterableDataset, whose rows have no index; give a "
            "dataset with __getitem__ and __len__, or arrays."
        )
    if not isinstance(data, DataLoader):
        return rows, default_collate
    sampler = data.sampler if type(data.batch_sampler) is BatchSampler else data.batch_sampler
    whole = isinstance(sampler, SequentialSampler) or (
        isinstance(sampler, RandomSampler)
        and not sampler.replacement
        and sampler.num_samples == len(rows)
    )
    if not whole:
        what = "no batches" if sampler is None else f"the rows of a {type(sampler).__name__}"
        raise TableError(
            f"The loader draws {what}, but all rows of its dataset are read by index; give the "
            "dataset of the rows that are meant, as a torch.utils.data.Subset."
        )
    return rows, data.collate_fn


def _ranges(length: int) -> Iterator[tuple[int, int]]:
    return pairwise([*range(0, length, _BATCH), length])


def _batch(joined: Any, name: str, labels: Sequence[str], groups: Sequence[str]) -> _Batch:
    """Return a batch that the function of the loader made. Raises TableError for another form."""
    if not isinstance(joined, tuple | list) or len(joined) != 3:
        found = f"{len(joined)} parts" if isinstance(joined, tuple | list) else "one part"
        raise TableError(
            f"{name}: a row has {found}, but must be (inputs, label, group); wrap the dataset so "
            "that it returns the three."
        )
    inputs, label, group = joined
    by_name = isinstance(inputs, Mapping)
    if not by_name:
        listed = inputs if isinstance(inputs, tuple | list) else [inputs]
        inputs = {f"input_{place}": each for place, each in enumerate(listed)}
    values = {str(key): as_array(each) for key, each in inputs.items()}
    columns = [*_columns(label, labels, name, "label"), *_columns(group, groups, name, "group")]
    return _Batch(values, columns, by_name=by_name)


def _columns(values: Any, names: Sequence[str], dataset: str, role: str) -> list[np.ndarray]:
    """Return the labels or the groups of a batch, (n,) for each column.

    Raises:
        TableError: if a row has another number of them.
    """
    if isinstance(values, tuple | list) and not isinstance(values[0], str | int | float):
        found = [as_array(each) for each in values]
    else:
        array = as_array(values)
        found = [*array.T] if array.ndim == 2 else [array]
    if len(found) != len(names):
        raise TableError(
            f"{dataset}: a row has {len(found)} {role}s for "
            f"{plural(len(names), 'column', 'columns')}; return a tuple with one per column."
        )
    return [each[:, 0] if each.ndim == 2 and each.shape[1] == 1 else each for each in found]


def _check_repeatable(
    name: str, read: Callable[[Sequence[int]], _Batch], batch: _Batch, row: int
) -> None:
    """Raise TableError if a row is another one when it is read again."""
    first = batch.row(row % _BATCH)
    for _ in range(_READINGS):
        again = read([row]).row(0)
        if not all(map(_same, first, again)):
            raise TableError(
                f"{name}: row {row} is not the same when it is read again, as with random "
                "augmentation; turn that off for the rows to measure."
            )


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal; NaN, as of a missing label, equals itself."""
    return np.array_equal(one, other, equal_nan=one.dtype.kind == other.dtype.kind == "f")

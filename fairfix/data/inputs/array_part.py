"""An input that is an array from a file, aligned with the table by order or by id."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor

from fairfix._utils.strict_json import StrictModel
from fairfix._utils.text import did_you_mean, plural
from fairfix.data.inputs.array_file import SUFFIXES, StoredArray, read_array
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.data.inputs.part_builder import BuiltPart, Source, TableRows
from fairfix.data.inputs.pixel_scaling import scaled
from fairfix.data.inputs.spec_paths import find_table_file
from fairfix.data.memory_table import MemoryTable, TableSource
from fairfix.data.table.cell_values import normalized_text
from fairfix.errors import InputError
from fairfix.models.inputs import Part, Rows, TensorPart, digests_of

_IN_MEMORY = 1 << 30  # bytes; larger arrays are read batch by batch
_PIECE = 1 << 24  # bytes looked at together
_DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "uint8": torch.uint8,
    "int32": torch.int32,
    "int64": torch.int64,
}
DType = Literal["float16", "bfloat16", "float32", "float64", "uint8", "int32", "int64"]


class ArrayEntry(StrictModel):
    """An array of a file.

    Attributes:
        file: .npy, .npz or .safetensors; ``{table}`` is the table's name without its suffix.
        key: the name of the array in the file.
        align: "order" takes the rows as they come, "id" by the id column and ``KEY_ids``.
        shape: of one row; None keeps that of the file.
        dtype: what it is converted to; None keeps that of the file.
        scale, mean, std: make it float32: (value * scale - mean) / std; None leaves it alone. The
            last two are one number, or one per channel, the first dimension of a row.
    """

    kind: Literal["array"] = "array"
    file: str
    key: str | None = None
    align: Literal["order", "id"] = "order"
    shape: tuple[int, ...] | None = None
    dtype: DType | None = None
    scale: float | None = Field(None, gt=0)
    mean: tuple[float, ...] | None = Field(None, min_length=1)
    std: tuple[float, ...] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _check_scaling(self) -> ArrayEntry:
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if self.is_scaled and self.dtype is not None:
            raise ValueError("a scaled array is float32; remove dtype, or scale, mean and std")
        return self

    @property
    def is_scaled(self) -> bool:
        """Whether its values are scaled."""
        return not (self.scale is None and self.mean is None and self.std is None)

    @field_validator("file")
    @classmethod
    def _check_suffix(cls, file: str) -> str:
        if not file.lower().endswith(SUFFIXES):
            raise ValueError(f"must end in {', '.join(SUFFIXES)}, not {file!r}")
        return file

    @property
    def columns(self) -> tuple[str, ...]:
        """None: it reads no column, except that of ids."""
        return ()

    @property
    def text_columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        return self.model_dump(mode="json", exclude_none=True)

    def builder(self, name: str, source: Source) -> ArrayBuilder:
        """Return the builder of the input of this name."""
        return ArrayBuilder(name, self, source)


class ArrayBuilder:
    """Reads the array once the number and the ids of the rows are known.

    A table in memory may have the array itself, by its key or by the name of the input.
    """

    columns: tuple[str, ...] = ()
    text_columns: frozenset[str] = frozenset()

    def __init__(self, name: str, entry: ArrayEntry, source: Source) -> None:
        self._name, self._entry = name, entry
        self._path: Path | None = None
        self._given = _given_array(name, entry, source.table)
        if self._given is None:
            stem, confined = source.table.name.partition(".")[0], source.confined
            file = entry.file.replace("{table}", stem)
            self._path = find_table_file(file, source.folder, source.table, confined=confined)
        self._file = f"array {entry.key or name!r}" if self._path is None else self._path.name

    def add(self, chunk: pd.DataFrame) -> None:
        """Do nothing: no cell is needed."""

    def build(self, rows: TableRows) -> BuiltPart:
        """See ``PartBuilder``."""
        stored, sha256 = self._stored()
        source = stored.values
        dtype = source.dtype
        if dtype.kind not in "biuf":
            raise InputError(f"{self._file} holds {dtype}; an input needs numbers.")
        index, bad = self._align(stored, rows)
        part: Part
        shape = _row_shape(self._file, source.shape[1:], self._entry.shape)
        for numbers in (self._entry.mean, self._entry.std):
            if numbers is not None and len(numbers) not in (1, *shape[:1]):
                raise InputError(
                    f"A row of {self._file} has the shape {list(shape)}, but there are "
                    f"{len(numbers)} means or standard deviations; give one for each channel."
                )
        part = ArrayPart(self._name, source, index, shape, self._entry)
        if part.nbytes <= _IN_MEMORY:
            part = TensorPart(self._name, part.load(slice(None), torch.device("cpu"))[0])
        bad |= {row: reason for row, reason in self._not_finite(source, index) if row not in bad}
        measured = _tensor(source).is_floating_point()
        return BuiltPart(part, bad, sha256=sha256, measured=measured)

    def _stored(self) -> tuple[StoredArray, str]:
        """Return the array, and the hash of its file or of its values."""
        if self._given is not None:
            values = np.ascontiguousarray(self._given)
            return StoredArray(values, None), hashlib.sha256(values.data).hexdigest()
        assert self._path is not None
        with self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return read_array(self._path, self._entry.key), sha256

    def _align(self, stored: StoredArray, rows: TableRows) -> tuple[Tensor, dict[int, str]]:
        """Return the row of the array for each row of the table, and rows without one."""
        file, length = self._file, stored.values.shape[0]
        if length == 0:
            raise InputError(f"{file} has no rows; write one row per row of the table.")
        if self._entry.align == "order" or self._given is not None:
            if length != rows.count:
                raise InputError(
                    f"{file} has {plural(length, 'row', 'rows')}, but {rows.file} has "
                    f"{rows.count:,}; write one row per row of the table, or align by id."
                )
            return torch.arange(length), {}
        if rows.ids is None:
            raise InputError(f"{file} is aligned by id, but no id column is named; name it (--id).")
        if stored.ids is None:
            raise InputError(
                f"{file} has no ids; save them beside the array as {self._entry.key or 'KEY'}_ids, "
                "or align by order."
            )
        ids = [normalized_text(value) for value in stored.ids]
        repeated = [value for value, count in Counter(ids).items() if count > 1]
        if len(ids) != length or repeated:
            fault = f"the id {repeated[0]!r} twice" if repeated else f"{len(ids):,} ids"
            raise InputError(f"{file} has {fault} for {length:,} rows; each row needs its own id.")
        place = {value: row for row, value in enumerate(ids)}
        found = np.array([place.get(value, -1) for value in rows.ids], np.int64)
        lacking = np.flatnonzero(found < 0).tolist()
        bad = {row: f"{file} has no row of the id {rows.ids[row]!r}" for row in lacking}
        return torch.from_numpy(np.maximum(found, 0)), bad

    def _not_finite(self, source: MappedArray | np.ndarray, index: Tensor) -> list[tuple[int, str]]:
        """Return the rows of the table that have NaN or infinite values."""
        values = _tensor(source)
        if not values.is_floating_point():
            return []
        step = max(1, _PIECE // max(1, values[0].nbytes))
        pieces = (_rows(source, each) for each in torch.arange(len(values)).split(step))
        finite = torch.cat([each.isfinite().reshape(len(each), -1).all(1) for each in pieces])
        bad = (~finite[index]).nonzero().flatten().tolist()
        return [(row, f"{self._file} has a value that is not finite") for row in bad]


def _given_array(name: str, entry: ArrayEntry, table: TableSource) -> np.ndarray | None:
    """Return the array that a table in memory has; None if it is in a file.

    Raises:
        InputError: if it would be in a file of the table's name.
    """
    arrays = table.arrays if isinstance(table, MemoryTable) else {}
    for key in (entry.key or name, name):
        if key in arrays:
            return arrays[key]
    if isinstance(table, MemoryTable) and "{table}" in entry.file:
        wanted = entry.key or name
        raise InputError(
            f"The {table.name} given have no array {wanted!r}{did_you_mean(wanted, arrays)} Give "
            "it beside the columns, in a mapping of arrays."
        )
    return None


def _row_shape(
    file: str, stored: tuple[int, ...], wanted: tuple[int, ...] | None
) -> tuple[int, ...]:
    """Return the shape of one row. Raises InputError if it has another number of values."""
    if wanted is None:
        return stored
    if np.prod(stored) != np.prod(wanted):
        raise InputError(
            f"A row of {file} has the shape {list(stored)}, which cannot become {list(wanted)}; "
            "correct the shape."
        )
    return wanted


def _tensor(source: MappedArray | np.ndarray) -> Tensor:
    return source.tensor if isinstance(source, MappedArray) else torch.from_numpy(source)


def _rows(source: MappedArray | np.ndarray, index: Tensor) -> Tensor:
    return source.rows(index) if isinstance(source, MappedArray) else _tensor(source)[index]


class ArrayPart:
    """Rows of an array that need not be in memory.

    Args:
        key: name of the argument.
        source: (M, ...).
        index: (N,) int64, the row of the array for each row.
        shape: of one row.
        entry: says how it is converted and scaled.
    """

    def __init__(
        self,
        key: str,
        source: MappedArray | np.ndarray,
        index: Tensor,
        shape: tuple[int, ...],
        entry: ArrayEntry,
    ) -> None:
        self.keys = (key,)
        self._source, self._index, self._shape, self._entry = source, index, shape, entry
        self._dtype = _DTYPES[entry.dtype] if entry.dtype else None

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Size of all rows in bytes."""
        rows, values = len(self), _tensor(self._source)
        dtype = torch.float32 if self._entry.is_scaled else self._dtype or values.dtype
        size = dtype.itemsize
        return rows * int(np.prod(self._shape)) * size

    def take(self, index: Tensor) -> ArrayPart:
        """See ``Part.take``."""
        rows = self._index[index.cpu()]
        return ArrayPart(self.keys[0], self._source, rows, self._shape, self._entry)

    def to(self, device: torch.device) -> ArrayPart:
        """Return itself: the rows stay in their file."""
        return self

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """See ``Part.load``."""
        index = self._index[rows.cpu() if isinstance(rows, Tensor) else rows]
        values = _rows(self._source, index).reshape(len(index), *self._shape)
        entry, values = self._entry, values.to(device, self._dtype)
        if not entry.is_scaled:
            return (values,)
        scale = 1.0 if entry.scale is None else entry.scale
        return (scaled(values, scale, entry.mean or (0.0,), entry.std or (1.0,)),)

    def lengths(self) -> None:
        """Return None, for all rows have the same shape."""

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        cpu = torch.device("cpu")
        step = max(1, _PIECE * len(self) // max(1, self.nbytes))
        loaded = (self.load(rows, cpu)[0] for rows in torch.arange(len(self)).split(step))
        flat = (values.reshape(len(values), -1).view(torch.uint8).numpy() for values in loaded)
        return digests_of(row for values in flat for row in values)

"""Inputs that are made from cells of the table alone: numbers, and codes for embeddings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, Field, field_validator, model_validator

from fairfix._utils.strict_json import StrictModel
from fairfix.data.inputs.part_builder import BuiltPart, Source, TableRows
from fairfix.data.spec.data_spec import DataSpec, FeatureEntry
from fairfix.data.spec.encodings import category_name, check_distinct, look_up
from fairfix.data.table.cell_values import CellError, parse_numbers
from fairfix.data.table.features import FeatureMatrixBuilder
from fairfix.errors import UsageError
from fairfix.models.inputs import TensorPart

if TYPE_CHECKING:
    import pandas as pd

_MAX_INT = 2**31 - 1

Shape = tuple[Annotated[int, Field(ge=1)], ...]
"""The shape of one row."""


class NumbersEntry(StrictModel):
    """Numbers, one-hot categories and outputs of transformers, as in version 1 of the data spec.

    Attributes:
        entries: D inputs in order.
        shape: that the D numbers of a row get; None keeps (D,).
    """

    kind: Literal["numbers"] = "numbers"
    entries: tuple[FeatureEntry, ...] = Field(min_length=1)
    shape: Shape | None = None


@dataclass(frozen=True)
class NumbersInput:
    """The input of a ``NumbersEntry``."""

    spec: DataSpec
    shape: Shape | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return self.spec.columns

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of those columns that it reads as text."""
        return tuple(self.spec.text_columns)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        entries = self.spec.to_json()["features"]
        shape = {} if self.shape is None else {"shape": list(self.shape)}
        return {"kind": "numbers", "entries": entries, **shape}

    def builder(self, name: str, source: Source) -> NumbersBuilder:
        """Return the builder of the input of this name."""
        return NumbersBuilder(name, self, source.table.name)


class NumbersBuilder:
    """Builds the float32 matrix of numbers."""

    def __init__(self, name: str, numbers: NumbersInput, file: str) -> None:
        self._name, self._shape = name, numbers.shape
        self._matrix = FeatureMatrixBuilder(file, numbers.spec)
        self.columns = numbers.spec.columns
        self.text_columns = numbers.spec.text_columns
        check_shape(name, len(numbers.spec.names), numbers.shape)

    def add(self, chunk: pd.DataFrame) -> None:
        """See ``PartBuilder``."""
        self._matrix.add(chunk)

    def build(self, rows: TableRows) -> BuiltPart:
        """See ``PartBuilder``."""
        values = torch.from_numpy(self._matrix.build(rows.locate))
        shaped = values if self._shape is None else values.reshape(len(values), *self._shape)
        return BuiltPart(TensorPart(self._name, shaped))


class CodesColumn(StrictModel):
    """A column whose values become integers.

    Attributes:
        categories: K distinct values; None takes the whole numbers of the column itself.
        first: the integer of the first value; the others follow.
        unknown: the integer of other values; "error" refuses them.
    """

    column: str
    categories: tuple[Annotated[str, BeforeValidator(category_name)], ...] | None = Field(
        None, min_length=1
    )
    first: int = Field(0, ge=0, le=_MAX_INT)
    unknown: Annotated[int, Field(ge=0, le=_MAX_INT)] | Literal["error"] = "error"

    @field_validator("categories")
    @classmethod
    def _check_distinct(cls, categories: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_distinct(categories or ())
        return categories

    @model_validator(mode="after")
    def _check_categories(self) -> CodesColumn:
        if self.categories is None and (self.first or self.unknown != "error"):
            raise ValueError("has first or unknown, which need categories")
        return self

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the integers (N,) int64 of the rows of a frame.

        Raises:
            CellError: a value that is not a category, without ``unknown``, or no whole number.
        """
        if self.categories is None:
            return self._whole_numbers(frame)
        integers = np.arange(self.first, self.first + len(self.categories), dtype=np.int64)
        unknown = None if self.unknown == "error" else np.array([self.unknown], np.int64)
        return look_up(frame[self.column], self.categories, integers[:, None], unknown)[:, 0]

    def _whole_numbers(self, frame: pd.DataFrame) -> np.ndarray:
        remedy = "list its categories in a data spec"
        values = parse_numbers(frame[self.column], remedy)
        bad = np.flatnonzero(~((values >= 0) & (values <= _MAX_INT) & (values == np.floor(values))))
        if len(bad):
            found = frame[self.column].iloc[int(bad[0])]
            problem = f"{found!r} is not a whole number of at least 0; {remedy}."
            raise CellError(self.column, int(frame.index[int(bad[0])]), problem)
        return values.astype(np.int64)


class CodesEntry(StrictModel):
    """Integers, as embeddings take them.

    Attributes:
        codes: C columns in order.
        shape: that the C integers of a row get; None keeps (C,), [] is for a single column.
    """

    kind: Literal["codes"] = "codes"
    codes: tuple[CodesColumn, ...] = Field(min_length=1, alias="columns")
    shape: Shape | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        return tuple(each.column for each in self.codes)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Names of those columns that it reads as text: those with categories."""
        return tuple(each.column for each in self.codes if each.categories is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def builder(self, name: str, source: Source) -> CodesBuilder:
        """Return the builder of the input of this name."""
        return CodesBuilder(name, self)


class CodesBuilder:
    """Builds the int64 matrix of codes."""

    def __init__(self, name: str, entry: CodesEntry) -> None:
        self._name, self._entry = name, entry
        self._chunks: list[np.ndarray] = []
        self.columns = tuple(dict.fromkeys(entry.columns))
        self.text_columns = frozenset(entry.text_columns)
        check_shape(name, len(entry.codes), entry.shape)

    def add(self, chunk: pd.DataFrame) -> None:
        """See ``PartBuilder``."""
        self._chunks.append(np.column_stack([each.encode(chunk) for each in self._entry.codes]))

    def build(self, rows: TableRows) -> BuiltPart:
        """See ``PartBuilder``."""
        values = torch.from_numpy(np.concatenate(self._chunks))
        shape = self._entry.shape
        shaped = values if shape is None else values.reshape(len(values), *shape)
        return BuiltPart(TensorPart(self._name, shaped))


def check_shape(name: str, width: int, shape: Shape | None) -> None:
    """Raise UsageError if a row of ``width`` values cannot have a shape."""
    if shape is not None and math.prod(shape) != width:
        raise UsageError(
            f"The input {name!r} has {width} values a row, which cannot get the shape "
            f"{list(shape)}; correct the shape or the columns."
        )

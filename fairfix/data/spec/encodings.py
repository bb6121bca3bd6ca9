"""The encodings of one column: a standardized number, mapped or coded values, one-hot categories.

Each class is both the model of its entry in the file and the encoder of its column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from fairfix._utils.strict_json import StrictModel
from fairfix._utils.text import did_you_mean
from fairfix.data.table.cell_values import (
    CellError,
    comparison_key,
    factorize,
    normalized_text,
    parse_numbers,
)

if TYPE_CHECKING:
    import pandas as pd


MAX_CODE = 2**24  # larger integers are not exact in float32


class Encoding(Protocol):
    """Adjacent inputs of a network, computed from some columns of a table."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads."""
        ...

    @property
    def text_columns(self) -> tuple[str, ...]:
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

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return its inputs (N, D) in the table's values and units, (N, K), and K names."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return the entry of the file."""
        ...


class _ColumnEncoding(StrictModel):
    """An encoding of one column that is read as text."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def text_columns(self) -> tuple[str, ...]:
        return self.columns

    @property
    def names(self) -> tuple[str, ...]:
        return self.columns


class NumericEncoding(_ColumnEncoding):
    """A numeric column, standardized: (value - mean) / scale."""

    mean: float = 0.0
    scale: float = Field(1.0, gt=0)

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        return self.model_dump()

    @property
    def text_columns(self) -> tuple[str, ...]:
        return ()

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``."""
        cells = parse_numbers(frame[self.column], "it is numeric in the data spec")
        return ((cells - self.mean) / self.scale)[:, None]

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """See ``Encoding``."""
        values = inputs.astype(np.float64) * self.scale + self.mean
        error = np.finfo(np.float32).eps * np.abs(inputs) * self.scale  # the inputs are float32
        return _round_to(values, error), self.names


def _round_to(values: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return values rounded to the decimals that are certain within the errors."""
    known = np.maximum(error, np.finfo(np.float64).tiny)
    factor = 10.0 ** np.clip(np.floor(-np.log10(2 * known)), -9, 12)
    return np.where(error > 0, np.round(values * factor) / factor, values)


class MappedEncoding(_ColumnEncoding):
    """A column whose values are mapped to numbers, which are then standardized.

    Attributes:
        unknown: the number of other values; "error" refuses them.
    """

    map: dict[str, float] = Field(min_length=1)
    unknown: float | Literal["error"] = "error"
    mean: float = 0.0
    scale: float = Field(1.0, gt=0)

    @field_validator("map")
    @classmethod
    def _check_distinct(cls, numbers_by_value: dict[str, float]) -> dict[str, float]:
        check_distinct(numbers_by_value)
        return numbers_by_value

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        default = {"unknown"} if self.unknown == "error" else set()
        return self.model_dump(exclude=default)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``."""
        unknown = None if self.unknown == "error" else self._scaled([self.unknown])[0]
        return look_up(frame[self.column], list(self.map), self._scaled(self.map.values()), unknown)

    def _scaled(self, numbers: Iterable[float]) -> np.ndarray:
        """Return the inputs (K, 1) of mapped numbers."""
        return ((np.array(list(numbers)) - self.mean) / self.scale)[:, None]

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """See ``Encoding``."""
        return _indicators(self.column, self._scaled(self.map.values()), list(self.map), inputs)


def _indicators(
    column: str, coded: np.ndarray, values: Sequence[str], inputs: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return one column of 0 and 1 for each distinct code, and their names "column=value".

    Args:
        coded: (K, 1), the inputs of each value.
        inputs: (N, 1) float32.
    """
    by_code: dict[float, list[str]] = {}
    for code, value in zip(coded[:, 0].astype(np.float32).tolist(), values, strict=True):
        by_code.setdefault(code, []).append(value)
    found = inputs == np.array(list(by_code), np.float32)
    return found, tuple(f"{column}={' or '.join(same)}" for same in by_code.values())


def category_name(value: object) -> str:
    """Return a category of the file as a table would write it."""
    if not isinstance(value, str | int | float):
        raise ValueError("must be a string or a number")
    return normalized_text(value)


class CodeEncoding(_ColumnEncoding):
    """A column whose values become integers, as an embedding takes them.

    Attributes:
        codes: K distinct values.
        first: the integer of the first value; the others follow.
        unknown: the integer of other values; "error" refuses them.
    """

    codes: tuple[Annotated[str, BeforeValidator(category_name)], ...] = Field(min_length=1)
    first: int = Field(0, ge=0, le=MAX_CODE)
    unknown: Annotated[int, Field(ge=0, le=MAX_CODE)] | Literal["error"] = "error"

    @field_validator("codes")
    @classmethod
    def _check_distinct(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        check_distinct(codes)
        return codes

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        return {**self.model_dump(), "codes": list(self.codes)}

    @property
    def _integers(self) -> np.ndarray:
        """The inputs (K, 1) of the values."""
        return np.arange(self.first, self.first + len(self.codes))[:, None]

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``."""
        unknown = None if self.unknown == "error" else np.array([self.unknown])
        return look_up(frame[self.column], self.codes, self._integers, unknown)

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """See ``Encoding``."""
        return _indicators(self.column, self._integers, self.codes, inputs)


def _default(value: float) -> Any:
    """Return a field that has this number for each input unless the file has others."""
    return Field(default_factory=lambda fields: (value,) * _width(fields))


def _width(fields: dict[str, Any]) -> int:
    return len(fields["categories"]) - int(fields["drop_first"])


class OneHotEncoding(_ColumnEncoding):
    """One input per category, 1 for the rows of that category and 0 for the others, standardized.

    Attributes:
        categories: K distinct values.
        drop_first: whether the first category has no input.
        unknown: what becomes of other values: "error", or "zeros" for 0 in every input.
        mean, scale: one number per input.
    """

    categories: tuple[Annotated[str, BeforeValidator(category_name)], ...] = Field(min_length=1)
    drop_first: bool = False
    unknown: Literal["error", "zeros"] = "error"
    mean: tuple[float, ...] = _default(0.0)
    scale: tuple[Annotated[float, Field(gt=0)], ...] = _default(1.0)

    @field_validator("categories")
    @classmethod
    def _check_distinct(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        check_distinct(categories)
        return categories

    @field_validator("mean", "scale")
    @classmethod
    def _check_width(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if {"categories", "drop_first"} <= info.data.keys():
            width = _width(info.data)
            if len(values) != width:
                raise ValueError(f"must have {width} numbers, one per input, not {len(values)}")
        return values

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        return {
            "column": self.column,
            "categories": list(self.categories),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "drop_first": self.drop_first,
            "unknown": self.unknown,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The categories that have an input, as "column=category"."""
        return tuple(f"{self.column}={name}" for name in self.categories[self.drop_first :])

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``."""
        raw = np.eye(len(self.categories) + 1, len(self.categories))[:, self.drop_first :]
        rows = (raw - self.mean) / self.scale  # the last one is the unknown category
        unknown = rows[-1] if self.unknown == "zeros" else None
        return look_up(frame[self.column], self.categories, rows[:-1], unknown)

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """See ``Encoding``."""
        found = np.round(inputs * np.array(self.scale) + np.array(self.mean))
        if not self.drop_first or self.unknown == "zeros":
            return found, self.names
        first = 1 - found.sum(axis=1, keepdims=True)
        return np.hstack([first, found]), (f"{self.column}={self.categories[0]}", *self.names)


def look_up(
    cells: pd.Series[Any],
    values: Sequence[str],
    rows: np.ndarray,
    unknown: np.ndarray | None = None,
) -> np.ndarray:
    """Return the inputs (N, D) of the cells.

    Args:
        values: K known values.
        rows: (K, D), the inputs of each value.
        unknown: (D,), the inputs of any other value.

    Raises:
        CellError: another value, without ``unknown``.
    """
    position = {comparison_key(value): i for i, value in enumerate(values)}
    codes, texts = factorize(cells)
    # A null has code -1 and so takes the last entry: the empty text.
    positions = np.array([position.get(comparison_key(text), -1) for text in (*texts, "")])[codes]
    if unknown is None and (positions < 0).any():
        first = int(np.argmax(positions < 0))
        value = [*texts, ""][codes[first]]
        raise CellError(
            str(cells.name),
            int(cells.index[first]),
            f"{value!r} is not one of the {len(values)} values in the data spec"
            f"{did_you_mean(value, values)} Correct the cell or add the value to the data spec.",
        )
    table = rows if unknown is None else np.vstack([rows, unknown])
    return np.asarray(table[positions])


def check_distinct(values: Iterable[str]) -> None:
    repeated = [value for value, count in Counter(map(comparison_key, values)).items() if count > 1]
    if repeated:
        raise ValueError(
            f"has {repeated[0]!r} twice (1, 1.0 and true are the same value); remove one"
        )

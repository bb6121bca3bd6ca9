"""The encodings of one column: a standardized number, mapped values, one-hot categories.

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
        cells = parse_numbers(frame[self.column], "the data spec says it is numeric")
        return ((cells - self.mean) / self.scale)[:, None]


class MappedEncoding(_ColumnEncoding):
    """A column whose values are mapped to numbers, which are then standardized."""

    map: dict[str, float] = Field(min_length=1)
    mean: float = 0.0
    scale: float = Field(1.0, gt=0)

    @field_validator("map")
    @classmethod
    def _check_distinct(cls, numbers_by_value: dict[str, float]) -> dict[str, float]:
        _check_distinct(numbers_by_value)
        return numbers_by_value

    def to_json(self) -> dict[str, Any]:
        """See ``Encoding``."""
        return self.model_dump()

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Encoding``."""
        raw = np.array(list(self.map.values()))[:, None]
        return _look_up(frame[self.column], list(self.map), (raw - self.mean) / self.scale)


def _category_name(value: object) -> str:
    """Return a category of the file as a table would write it."""
    if not isinstance(value, str | int | float):
        raise ValueError("must be a string or a number")
    return normalized_text(value)


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

    categories: tuple[Annotated[str, BeforeValidator(_category_name)], ...] = Field(min_length=1)
    drop_first: bool = False
    unknown: Literal["error", "zeros"] = "error"
    mean: tuple[float, ...] = _default(0.0)
    scale: tuple[Annotated[float, Field(gt=0)], ...] = _default(1.0)

    @field_validator("categories")
    @classmethod
    def _check_distinct(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        _check_distinct(categories)
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
        return _look_up(frame[self.column], self.categories, rows[:-1], unknown)


def _look_up(
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


def _check_distinct(values: Iterable[str]) -> None:
    repeated = [value for value, count in Counter(map(comparison_key, values)).items() if count > 1]
    if repeated:
        raise ValueError(
            f"has {repeated[0]!r} twice (1, 1.0 and true are the same value); remove one"
        )

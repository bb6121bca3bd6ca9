"""The encodings of one column: a standardized number, one-hot categories, a map of values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fairfix.data.spec.json_node import Node
from fairfix.data.table.cell_values import CellError, distinct, meaning, numbers

if TYPE_CHECKING:
    import pandas as pd


class Entry(Protocol):
    """Some inputs of the network, side by side, made from some columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Those of them it reads as text."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names (d,) of the inputs it makes."""

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the inputs (n, d) of the rows of ``frame``; ``CellError`` where it cannot."""

    def to_json(self) -> dict[str, Any]:
        """Return what the file says of it."""


class _OneColumn:
    """What entries of one column have in common."""

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


@dataclass(frozen=True)
class Number(_OneColumn):
    """A numeric column, standardized: (value - mean) / scale."""

    column: str
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def from_json(cls, node: Node) -> Number:
        """Read ``{"column", "mean", "scale"}``; the last two are optional."""
        fields = node.fields("column", optional=("mean", "scale"))
        return cls(fields["column"].text(), *_mean_and_scale(fields))

    def to_json(self) -> dict[str, Any]:
        """See ``Entry``."""
        return {"column": self.column, "mean": self.mean, "scale": self.scale}

    @property
    def text_columns(self) -> tuple[str, ...]:
        return ()

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Entry``."""
        cells = numbers(frame[self.column], "the data spec says it is numeric")
        return ((cells - self.mean) / self.scale)[:, None]


@dataclass(frozen=True)
class Mapped(_OneColumn):
    """A column whose values each stand for a number, standardized like ``Number``."""

    column: str
    map: Mapping[str, float]
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def from_json(cls, node: Node) -> Mapped:
        """Read ``{"column", "map", "mean", "scale"}``; the last two are optional."""
        fields = node.fields("column", "map", optional=("mean", "scale"))
        numbers_by_value = {key: value.number() for key, value in fields["map"].entries()}
        _check_distinct(fields["map"], list(numbers_by_value))
        return cls(fields["column"].text(), numbers_by_value, *_mean_and_scale(fields))

    def to_json(self) -> dict[str, Any]:
        """See ``Entry``."""
        return {
            "column": self.column,
            "map": dict(self.map),
            "mean": self.mean,
            "scale": self.scale,
        }

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Entry``."""
        raw = np.array(list(self.map.values()))[:, None]
        return _look_up(frame[self.column], list(self.map), (raw - self.mean) / self.scale)


@dataclass(frozen=True)
class OneHot(_OneColumn):
    """One input a category, 1 where the column has that category and 0 elsewhere.

    With ``drop_first`` the first category has no input. ``mean`` and ``scale`` have one number an
    input. A value that is no category is an error, or all zeros with ``unknown_zeros``.
    """

    column: str
    categories: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    drop_first: bool = False
    unknown_zeros: bool = False

    @classmethod
    def from_json(cls, node: Node) -> OneHot:
        """Read ``{"column", "categories", "mean", "scale", "drop_first", "unknown"}``.

        Only the first two are required; ``unknown`` is "error" or "zeros".
        """
        fields = node.fields(
            "column", "categories", optional=("mean", "scale", "drop_first", "unknown")
        )
        categories = tuple(item.category() for item in fields["categories"].items())
        _check_distinct(fields["categories"], categories)
        drop_first = "drop_first" in fields and fields["drop_first"].flag()
        width = len(categories) - drop_first
        unknown = fields["unknown"].choice("error", "zeros") if "unknown" in fields else "error"
        return cls(
            column=fields["column"].text(),
            categories=categories,
            mean=_per_input(fields.get("mean"), width, Node.number, 0.0),
            scale=_per_input(fields.get("scale"), width, Node.positive, 1.0),
            drop_first=drop_first,
            unknown_zeros=unknown == "zeros",
        )

    def to_json(self) -> dict[str, Any]:
        """See ``Entry``."""
        return {
            "column": self.column,
            "categories": list(self.categories),
            "mean": list(self.mean),
            "scale": list(self.scale),
            "drop_first": self.drop_first,
            "unknown": "zeros" if self.unknown_zeros else "error",
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The categories with an input, as "column=category"."""
        return tuple(f"{self.column}={name}" for name in self.categories[self.drop_first :])

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Entry``."""
        raw = np.eye(len(self.categories) + 1, len(self.categories))[:, self.drop_first :]
        rows = (raw - self.mean) / self.scale  # the last one is the unknown category
        unknown = rows[-1] if self.unknown_zeros else None
        return _look_up(frame[self.column], self.categories, rows[:-1], unknown)


def _look_up(
    cells: pd.Series[Any],
    values: Sequence[str],
    rows: np.ndarray,
    unknown: np.ndarray | None = None,
) -> np.ndarray:
    """Return for each cell the one of ``rows`` (K, d) that belongs to its value, as (n, d).

    Raises ``CellError`` for other values unless there is a row (d,) for them.
    """
    place = {meaning(value): i for i, value in enumerate(values)}
    codes, texts = distinct(cells)
    # A null has code -1 and so takes the last entry: the empty text.
    places = np.array([place.get(meaning(text), -1) for text in (*texts, "")])[codes]
    if unknown is None and (places < 0).any():
        at = int(np.argmax(places < 0))
        found = [*texts, ""][codes[at]]
        near = get_close_matches(found, values, 1)
        hint = f", the nearest is {near[0]!r}" if near else ""
        problem = f"{found!r} is none of the {len(values)} values in the data spec{hint}."
        raise CellError(str(cells.name), int(cells.index[at]), problem)
    table = rows if unknown is None else np.vstack([rows, unknown])
    return np.asarray(table[places])


def _mean_and_scale(fields: Mapping[str, Node]) -> tuple[float, float]:
    mean = fields["mean"].number() if "mean" in fields else 0.0
    scale = fields["scale"].positive() if "scale" in fields else 1.0
    return mean, scale


def _per_input(
    node: Node | None, width: int, read: Callable[[Node], float], default: float
) -> tuple[float, ...]:
    """Return one number for each of the ``width`` inputs."""
    if node is None:
        return (default,) * width
    numbers_read = tuple(read(item) for item in node.items())
    if len(numbers_read) != width:
        raise node.error(f"{len(numbers_read)} numbers for {width} inputs.")
    return numbers_read


def _check_distinct(node: Node, values: Sequence[str]) -> None:
    doubles = [value for value, count in Counter(map(meaning, values)).items() if count > 1]
    if doubles:
        raise node.error(f"{doubles[0]!r} stands twice (1, 1.0 and true are the same value).")

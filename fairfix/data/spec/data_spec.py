"""Version 1 of the data spec: the matrix of numbers that it makes of a table's rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag, field_validator

from fairfix._utils.strict_json import StrictModel, validate
from fairfix.data.spec.encodings import (
    CodeEncoding,
    Encoding,
    MappedEncoding,
    NumericEncoding,
    OneHotEncoding,
)
from fairfix.data.spec.transformer_encoding import TransformerEncoding, TransformerEntry

if TYPE_CHECKING:
    import pandas as pd

_VERSION = 1


def _kind_of_entry(entry: Any) -> str:
    """Return the tag of an entry, by the first key that only its kind has."""
    keys = entry if isinstance(entry, dict) else ()
    kinds = ("transformer", "categories", "map", "codes")
    return next((kind for kind in kinds if kind in keys), "number")


FeatureEntry = Annotated[
    Annotated[TransformerEntry, Tag("transformer")]
    | Annotated[OneHotEncoding, Tag("categories")]
    | Annotated[MappedEncoding, Tag("map")]
    | Annotated[CodeEncoding, Tag("codes")]
    | Annotated[NumericEncoding, Tag("number")],
    Discriminator(_kind_of_entry),
]
"""An entry for one or more inputs; see ``DataSpecFile``."""


class DataSpecFile(StrictModel):
    """The file ``<model>.data.json`` of version 1.

    Attributes:
        version: 1.
        features: the inputs of the network in order. ``mean`` and ``scale`` are optional:

            - ``{"column": "age", "mean": 38.6, "scale": 13.7}``: (value - mean) / scale
            - ``{"column": "sex", "map": {"Male": 1, "Female": 0}, "unknown": 0.5, "mean": 0.7,
              "scale": 0.5}``: the number of a value; other values are an error unless ``unknown``
              is their number
            - ``{"column": "work", "codes": ["Private", ...], "first": 1, "unknown": 0}``: the index
              of a value in the list, counted from ``first`` (0); ``unknown`` as above
            - ``{"column": "work", "categories": ["Private", ...], "mean": [...], "scale": [...],
              "drop_first": false, "unknown": "error"}``: one input per category, or zeros for an
              unknown one with ``"unknown": "zeros"``
            - ``{"transformer": "prep.skops", "columns": [...], "text": [...]}``: a scikit-learn
              transformer saved by skops; columns under ``text`` reach it as text
    """

    version: int = _VERSION
    features: tuple[FeatureEntry, ...] = Field(min_length=1)

    @field_validator("version")
    @classmethod
    def _check_version(cls, version: int) -> int:
        if version != _VERSION:
            raise ValueError("must be 1 or 2, the versions that this fairfix reads")
        return version


@dataclass(frozen=True)
class DataSpec:
    """The inputs of a network in order, each computed from columns of a raw table."""

    features: tuple[Encoding, ...]

    @classmethod
    def from_json(
        cls, value: Any, *, file: str = "data spec", folder: Path = Path(), trust: bool = False
    ) -> DataSpec:
        """Check a parsed spec.

        Args:
            file: its name, for messages.
            folder: where the files of transformers are.
            trust: whether a transformer may hold types that could run code.

        Raises:
            TrustError, UsageError: see ``load_spec``.
        """
        return cls.of(validate(DataSpecFile, value, file).features, folder, trust=trust)

    @classmethod
    def of(
        cls, entries: Iterable[FeatureEntry], folder: Path = Path(), *, trust: bool = False
    ) -> DataSpec:
        """Return the spec of checked entries.

        Raises:
            TrustError, UsageError: see ``load_spec``.
        """
        return cls(
            tuple(
                TransformerEncoding.load(entry, folder, trust=trust)
                if isinstance(entry, TransformerEntry)
                else entry
                for entry in entries
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values, from which ``from_json`` makes the same spec."""
        return {"version": _VERSION, "features": [entry.to_json() for entry in self.features]}

    def in_table_units(self, inputs: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return inputs (N, D) in the values and units of the table, for reports.

        Numbers are as before standardization. Values that were mapped or coded become one column
        each, with 1 for the rows that have it. Outputs of a transformer are returned unchanged.

        Returns:
            (N, K) float32, and K names: the column, or "column=value".
        """
        parts: list[np.ndarray] = []
        names: list[str] = []
        start = 0
        for entry in self.features:
            end = start + len(entry.names)
            values, named = entry.in_table_units(inputs[:, start:end])
            parts.append(np.asarray(values, np.float32))
            names += named
            start = end
        return np.concatenate(parts, axis=1), tuple(names)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that it reads, without repetition."""
        return tuple(dict.fromkeys(name for entry in self.features for name in entry.columns))

    @property
    def text_columns(self) -> frozenset[str]:
        """Names of those columns that it reads as text."""
        return frozenset(name for entry in self.features for name in entry.text_columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Names (D,) of the inputs: the column, or "column=category"."""
        return tuple(name for entry in self.features for name in entry.names)

    @property
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """The inputs that are made from one column together, by number."""
        ends = np.cumsum([len(entry.names) for entry in self.features]).tolist()
        ranges = (range(a, b) for a, b in zip([0, *ends], ends, strict=False))
        return tuple(
            tuple(inputs)
            for entry, inputs in zip(self.features, ranges, strict=True)
            if len(inputs) > 1 and len(entry.columns) == 1
        )

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the inputs (N, D) float32 of the rows of a frame, whose index counts the rows.

        Raises:
            CellError: a value that the spec does not know.
        """
        inputs = np.empty((len(frame), len(self.names)), np.float32)
        start = 0
        for entry in self.features:
            end = start + len(entry.names)
            inputs[:, start:end] = entry.encode(frame)
            start = end
        return inputs

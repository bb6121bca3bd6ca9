"""The data spec as a whole: its file, and the inputs that it makes of a table's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Discriminator, Field, Tag, field_validator

from fairfix._utils.strict_json import StrictModel, read_json, validate
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


class DataSpecFile(StrictModel):
    """The file ``<model>.data.json``.

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
    features: tuple[
        Annotated[
            Annotated[TransformerEntry, Tag("transformer")]
            | Annotated[OneHotEncoding, Tag("categories")]
            | Annotated[MappedEncoding, Tag("map")]
            | Annotated[CodeEncoding, Tag("codes")]
            | Annotated[NumericEncoding, Tag("number")],
            Discriminator(_kind_of_entry),
        ],
        ...,
    ] = Field(min_length=1)

    @field_validator("version")
    @classmethod
    def _check_version(cls, version: int) -> int:
        if version != _VERSION:
            raise ValueError(f"must be {_VERSION}, the only one that this fairfix reads")
        return version


@dataclass(frozen=True)
class DataSpec:
    """The inputs of a network in order, each computed from columns of a raw table."""

    features: tuple[Encoding, ...]

    @classmethod
    def find(cls, model: Path, *, trust: bool = False) -> DataSpec | None:
        """Return the spec next to a model, ``<stem>.data.json``, or None without one.

        A debiased model, ``<stem>.debiased<suffix>``, takes the same inputs as the model it came
        from and shares its spec.

        Raises:
            TrustError, UsageError: see ``load``.
        """
        for stem in (model.stem, model.stem.removesuffix(".debiased")):
            path = model.with_name(f"{stem}.data.json")
            if path.is_file():
                return cls.load(path, trust=trust)
        return None

    @classmethod
    def load(cls, path: Path, *, trust: bool = False) -> DataSpec:
        """Read a spec file.

        Args:
            trust: whether a transformer may hold types that could run code.

        Raises:
            TrustError: a transformer holds such types, without ``trust``.
            UsageError: the file is not a spec; names the place in it.
        """
        return cls.from_json(read_json(path), file=path.name, folder=path.parent, trust=trust)

    @classmethod
    def from_json(
        cls, value: Any, *, file: str = "data spec", folder: Path = Path(), trust: bool = False
    ) -> DataSpec:
        """Check a parsed spec.

        Args:
            file: its name, for messages.
            folder: where the files of transformers are.
            trust: see ``load``.

        Raises:
            TrustError, UsageError: see ``load``.
        """
        return cls(
            tuple(
                TransformerEncoding.load(entry, folder, trust=trust)
                if isinstance(entry, TransformerEntry)
                else entry
                for entry in validate(DataSpecFile, value, file).features
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

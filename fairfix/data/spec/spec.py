"""The data spec as a whole: its file, and the rows it makes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairfix.data.spec.entries import Entry, Mapped, Number, OneHot
from fairfix.data.spec.json_node import Node
from fairfix.data.spec.transformer import Transformed
from fairfix.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_VERSION = 1


@dataclass(frozen=True)
class DataSpec:
    """The inputs of a network in order, each made from columns of a raw table.

    As a file it is ``{"version": 1, "features": [...]}`` with these entries, mean and scale
    always being optional:

    - ``{"column": "age", "mean": 38.6, "scale": 13.7}``: (value - mean) / scale
    - ``{"column": "sex", "map": {"Male": 1, "Female": 0}, "mean": 0.7, "scale": 0.5}``
    - ``{"column": "workclass", "categories": ["Private", ...], "mean": [...], "scale": [...],
      "drop_first": false, "unknown": "error"}``: one input a category, or zeros for an unknown
      one with ``"unknown": "zeros"``
    - ``{"transformer": "prep.skops", "columns": [...], "text": [...]}``: a scikit-learn
      transformer saved by skops, given the columns named under text as text
    """

    features: tuple[Entry, ...]

    @classmethod
    def find(cls, model: Path, *, trust: bool = False) -> DataSpec | None:
        """Return the spec beside the model, ``<stem>.data.json``, or None when there is none.

        A debiased model, ``<stem>.debiased<suffix>``, takes the same inputs as the model it came
        from and shares its spec.
        """
        for stem in (model.stem, model.stem.removesuffix(".debiased")):
            path = model.with_name(f"{stem}.data.json")
            if path.is_file():
                return cls.load(path, trust=trust)
        return None

    @classmethod
    def load(cls, path: Path, *, trust: bool = False) -> DataSpec:
        """Read a spec file. ``trust`` lets a transformer hold types that may run code.

        Raises ``UsageError`` with the place in the file when it is not a spec, ``TrustError``
        when a transformer would run foreign code.
        """
        try:
            value = json.loads(path.read_bytes())
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path.name} is not JSON: {error}.") from None
        return cls.from_json(value, file=path.name, folder=path.parent, trust=trust)

    @classmethod
    def from_json(
        cls, value: Any, *, file: str = "data spec", folder: Path = Path(), trust: bool = False
    ) -> DataSpec:
        """Check a parsed spec; ``file`` names it in messages, transformers are in ``folder``."""
        fields = Node(file, "", value).fields("features", optional=("version",))
        if "version" in fields and fields["version"].value != _VERSION:
            raise fields["version"].error(f"this fairfix reads version {_VERSION}.")
        entries = fields["features"].items()
        return cls(tuple(_entry(node, folder, trust=trust) for node in entries))

    def to_json(self) -> dict[str, Any]:
        """Return the spec as plain JSON values; ``from_json`` gives the same spec back."""
        return {"version": _VERSION, "features": [entry.to_json() for entry in self.features]}

    def unscaled(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs (N, D) as they were before they were standardized, float32.

        Those that a transformer makes stay as they are.
        """
        mean, scale = (
            np.concatenate(
                [np.broadcast_to(getattr(e, name, usual), len(e.names)) for e in self.features]
            )
            for name, usual in (("mean", 0.0), ("scale", 1.0))
        )
        return np.asarray(inputs * scale + mean, dtype=np.float32)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads, each once."""
        return tuple(dict.fromkeys(name for entry in self.features for name in entry.columns))

    @property
    def text_columns(self) -> frozenset[str]:
        """Those of them it reads as text."""
        return frozenset(name for entry in self.features for name in entry.text_columns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names (D,) of the inputs: the column, or "column=category"."""
        return tuple(name for entry in self.features for name in entry.names)

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Return the inputs (n, D) float32 of the rows of ``frame``, whose index counts them.

        Raises ``CellError`` at a value that the spec does not know.
        """
        made = np.empty((len(frame), len(self.names)), np.float32)
        start = 0
        for entry in self.features:
            end = start + len(entry.names)
            made[:, start:end] = entry.encode(frame)
            start = end
        return made


def _entry(node: Node, folder: Path, *, trust: bool) -> Entry:
    keys = node.value if isinstance(node.value, dict) else {}
    if "transformer" in keys:
        return Transformed.from_json(node, folder, trust=trust)
    if "categories" in keys:
        return OneHot.from_json(node)
    if "map" in keys:
        return Mapped.from_json(node)
    return Number.from_json(node)

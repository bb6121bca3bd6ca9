"""A scikit-learn transformer saved by skops, the one format for it that runs no foreign code."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairfix.data.spec.json_node import Node
from fairfix.data.table.cell_values import MISSING, listed, numbers
from fairfix.errors import TableError, TrustError, UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Transformed:
    """The outputs of a fitted transformer for ``columns``, in the order it was fitted with.

    Columns in ``text`` reach it as they are written, the others as numbers; missing cells reach
    it as NaN.
    """

    file: str
    columns: tuple[str, ...]
    text_columns: tuple[str, ...]
    transformer: Any
    names: tuple[str, ...]

    @classmethod
    def from_json(cls, node: Node, folder: Path, *, trust: bool) -> Transformed:
        """Read ``{"transformer": FILE, "columns": [...], "text": [...]}``; text is optional.

        ``FILE`` is relative to ``folder``. Raises ``TrustError`` when it needs types that skops
        does not know as harmless, unless ``trust``.
        """
        fields = node.fields("transformer", "columns", optional=("text",))
        columns = tuple(item.text() for item in fields["columns"].items())
        text = fields["text"].items(some=False) if "text" in fields else []
        text_columns = tuple(item.choice(*columns) for item in text)
        file = fields["transformer"].text()
        transformer = _load(folder / file, trust=trust)
        return cls(
            file=file,
            columns=columns,
            text_columns=text_columns,
            transformer=transformer,
            names=_names(transformer, file),
        )

    def to_json(self) -> dict[str, Any]:
        """See ``Entry``."""
        return {
            "transformer": self.file,
            "columns": list(self.columns),
            "text": list(self.text_columns),
        }

    def encode(self, frame: pd.DataFrame) -> np.ndarray:
        """See ``Entry``. Raises ``TableError`` with the transformer's words when it refuses."""
        cells = frame[list(self.columns)].copy()
        for name in self.columns:
            if name in self.text_columns:
                column = cells[name].astype(object)
                cells[name] = column.mask(column.isna() | column.isin(MISSING), np.nan)
            else:
                cells[name] = numbers(cells[name], f'name it under "text" for {self.file}')
        named = hasattr(self.transformer, "feature_names_in_")
        try:
            made = self.transformer.transform(cells if named else cells.to_numpy())
        except (ValueError, TypeError) as error:
            raise TableError(f"{self.file} cannot transform the table: {error}") from None
        dense = made.toarray() if hasattr(made, "toarray") else made
        return np.asarray(dense, dtype=np.float64)


def _load(path: Path, *, trust: bool) -> Any:
    try:
        import skops.io as skops
    except ModuleNotFoundError:
        raise UsageError(f"{path.name} needs the package skops: install it with pip.") from None

    if not path.is_file():
        raise UsageError(f"There is no file {path}, which the data spec names.")
    try:
        untrusted = skops.get_untrusted_types(file=path)
        if not untrusted or trust:
            transformer = skops.load(path, trusted=untrusted)
    except Exception as error:  # whatever a broken file makes of the parser
        raise UsageError(
            f"{path.name} cannot be read as an object saved by skops: {error}."
        ) from None
    if untrusted and not trust:
        raise TrustError(
            f"{path.name} holds types that may run code: {listed(untrusted)}. Allow them with "
            "--trust-checkpoint if the file is yours."
        )
    return transformer


def _names(transformer: Any, file: str) -> tuple[str, ...]:
    try:
        return tuple(map(str, transformer.get_feature_names_out()))
    except (AttributeError, ValueError):
        raise UsageError(
            f"{file} holds a {type(transformer).__name__}, not a fitted transformer that names its "
            "outputs."
        ) from None

"""The cells of one column as text, such as paths of images or texts to classify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fairfix.data.table.cell_values import factorize_as_written

if TYPE_CHECKING:
    import pandas as pd


class CellTexts:
    """Collects the cells of a column, chunk by chunk.

    Args:
        column: its name.
    """

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self.text_columns = frozenset(self.columns)
        self._parts: list[np.ndarray] = []

    def add(self, chunk: pd.DataFrame) -> None:
        """Append rows."""
        codes, texts = factorize_as_written(chunk[self.columns[0]])
        self._parts.append(np.array([*texts, ""], object)[codes])  # a null has code -1

    @property
    def texts(self) -> list[str]:
        """The text of each row, "" where the cell is empty."""
        return [text for part in self._parts for text in part]

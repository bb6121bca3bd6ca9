"""What a table holds once it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Group:
    """One protected attribute: ``ids`` (N,) int64 in 0..G-1 and the names (G,) they stand for.

    With two groups 0 is the unprivileged and 1 the privileged one.
    """

    column: str
    ids: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table read and checked; every array has one entry a row, in file order.

    ``features`` (N, D) float32, C-contiguous, or None where the scores stand in for a model;
    ``labels`` (N,) int64, 1 = favorable, or None where they are not needed and cannot be had;
    ``groups`` the protected attributes, the first being the one debiased;
    ``favorable`` and ``label_values`` as written in the table, in natural order;
    ``ids`` (N,) object array of str; ``weights`` (N,) float64, finite and not negative;
    ``scores`` (N,) float64 in [0, 1]; ``notes`` what was inferred and must be said.
    """

    path: Path
    sha256: str
    rows: int
    features: np.ndarray | None
    feature_names: tuple[str, ...]
    labels: np.ndarray | None
    groups: tuple[Group, ...]
    favorable: str
    label_values: tuple[str, ...]
    ids: np.ndarray | None
    weights: np.ndarray | None
    scores: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def group_names(self) -> dict[str, tuple[str, ...]]:
        """The names of each group column: what a second table needs to share the coding."""
        return {group.column: group.names for group in self.groups}

    def take(self, index: np.ndarray) -> Table:
        """Return the rows that ``index`` (row numbers or a mask) names, in its order."""
        rows = np.arange(self.rows)[index]

        def some(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            rows=len(rows),
            features=some(self.features),
            labels=some(self.labels),
            groups=tuple(replace(group, ids=group.ids[rows]) for group in self.groups),
            ids=some(self.ids),
            weights=some(self.weights),
            scores=some(self.scores),
        )

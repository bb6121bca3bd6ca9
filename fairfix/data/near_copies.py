"""Copies of rows within a table that noise, another label or a changed column do not hide.

Rows are compared by coarse values of most columns. Other rows that are near each other by chance
grow in number with the width of the bins of a measurement, at least in proportion; copies do not.
Their number in bins of double width therefore tells both apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from fairfix.data.coarse_rows import Grid, choose_grid, hash_codes

CHANCE_ERRORS = 3.0
"""Standard errors by which copies exceed equality by chance."""

STEPS = (32.0, 256.0, 2048.0)
"""Bins per standard deviation, tried from coarse to fine."""

MAX_CHANCE = 0.5
"""Pairs by chance in all pairs that are near; with more, finer bins are tried."""

MAX_FULLEST = 0.1
"""Share of rows in one bin; with more, the bin is too wide for the column."""

MAX_SHARED = 50
"""Rows that share a value which is still no usual value, such as a round price."""

MAX_MEASUREMENTS = 4
"""Columns of measurements in which a value of its own is looked for."""

_CHUNK_ROWS = 65_536


def copied(codes: np.ndarray) -> int:
    """Return how many rows have the cluster number of another row."""
    sizes = np.unique(codes, return_counts=True)[1]
    return int(sizes[sizes > 1].sum())


def near_copies(values: np.ndarray, columns: list[int]) -> np.ndarray | None:
    """Return a cluster number (N,) int64 of each row; None if there are no copies.

    Args:
        values: (N, D) finite.
        columns: those with measurements, that with the most values first.
    """
    if not columns:
        return None
    found = np.arange(len(values))
    exact: dict[int, np.ndarray] = {}
    pending: set[int] | None = None  # subsets for which bins were too wide
    for steps in STEPS:
        grid = choose_grid(values, steps)
        if grid is None:
            return None
        search = _Search.of(values, grid, columns, exact)
        too_wide = set()
        for left_out in range(-1, len(search.near)):
            if pending is not None and left_out not in pending:
                continue
            clusters, chance = search.copies(left_out)
            if clusters is not None:
                found = _joined(found, clusters)
            elif chance:
                too_wide.add(left_out)
        if not too_wide:
            break
        pending = too_wide
    return found if copied(found) else None


@dataclass(frozen=True)
class _Search:
    """A search for copies in bins of one width.

    Attributes:
        near, wide: hashes (N,) of the bins of each part of the columns; in ``wide`` the bins of
            measurements have double width.
        measured: (C,) whether a column of the grid holds measurements that its bins spread.
        exact: by measurement, (N,) numbers of its values; filled when needed.
    """

    values: np.ndarray
    grid: Grid
    measured: np.ndarray
    near: list[np.ndarray]
    wide: list[np.ndarray]
    exact: dict[int, np.ndarray]

    @classmethod
    def of(
        cls, values: np.ndarray, grid: Grid, columns: list[int], exact: dict[int, np.ndarray]
    ) -> _Search:
        measured = np.isin(grid.columns, columns) & (grid.fullest <= MAX_FULLEST)
        doubled = replace(grid, units=grid.units * np.where(measured, 2.0, 1.0))
        near, wide = _hashes_of_parts(grid, values), _hashes_of_parts(doubled, values)
        return cls(values, grid, measured, near, wide, exact)

    def copies(self, left_out: int) -> tuple[np.ndarray | None, bool]:
        """Return cluster numbers (N,) by most columns, and whether chance may hide copies.

        Args:
            left_out: number of the part of the columns that is left out; -1 for none.
        """
        parts = self.grid.parts()
        if left_out >= 0 and len(parts) == 1:
            return None, False
        kept = np.concatenate([part for k, part in enumerate(parts) if k != left_out])
        measured = kept[self.measured[kept]]
        if len(kept) < 2 or len(measured) < (1 if left_out < 0 else 2):
            return None, False
        near, wide = (_numbers(hashes, left_out) for hashes in (self.near, self.wide))
        if not copied(near):
            return None, False
        if not _exceed_chance(near, wide):
            return None, True
        own = np.zeros(len(near), bool)
        for column in self.grid.columns[measured[:MAX_MEASUREMENTS]].tolist():
            if column not in self.exact:
                self.exact[column] = np.unique(self.values[:, column], return_inverse=True)[1]
            own |= _of_one_cluster(self.exact[column], near)
        if not _exceed_chance(near[own], wide[own]):
            return None, False
        return np.where(own, near, near.max() + 1 + np.arange(len(near))), False


def _hashes_of_parts(grid: Grid, values: np.ndarray) -> list[np.ndarray]:
    """Return a hash (N,) of the bins of each part of the columns."""
    parts = grid.parts()
    factors = np.random.default_rng(1).integers(1, 2**62, len(parts), np.uint64) * np.uint64(2)
    found = [np.empty(len(values), np.uint64) for _ in parts]
    for start in range(0, len(values), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        codes = grid.codes(values[chunk])
        for hashes, part, factor in zip(found, parts, factors, strict=True):
            hashes[chunk] = hash_codes(codes[:, part]) * (factor + np.uint64(1))
    return found


def _numbers(hashes: list[np.ndarray], left_out: int) -> np.ndarray:
    """Return the number (N,) of the bins of each row, without those of one part."""
    total = sum(each for k, each in enumerate(hashes) if k != left_out)
    return np.unique(total, return_inverse=True)[1]


def _exceed_chance(near: np.ndarray, wide: np.ndarray) -> bool:
    """Whether chance explains neither all pairs of near rows nor most of them."""
    pairs = _pairs(near)
    chance = max(0.0, _pairs(wide) - pairs)
    beyond = pairs - chance > CHANCE_ERRORS * math.sqrt(pairs + chance)
    return beyond and chance <= MAX_CHANCE * pairs


def _pairs(codes: np.ndarray) -> float:
    sizes = np.bincount(codes).astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / 2)


def _of_one_cluster(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return which rows have an unusual value that only rows of their cluster have, (N,) bool."""
    n = int(values.max()) + 1
    low, high = np.full(n, len(clusters)), np.full(n, -1)
    np.minimum.at(low, values, clusters)
    np.maximum.at(high, values, clusters)
    return np.asarray(((low == high) & (np.bincount(values) <= MAX_SHARED))[values])


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return cluster numbers (N,) of rows that share a cluster in either clustering."""
    found = np.arange(len(first))
    while True:
        before = found
        for codes in (first, second):
            low = np.full(int(codes.max()) + 1, len(found))
            np.minimum.at(low, codes, found)
            found = low[codes]
        if (found == before).all():
            return found

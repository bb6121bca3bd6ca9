"""Rows by coarse values of most columns, so that a copy with small changes is the same row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fairfix._utils.row_hash import mixed_hashes

BITS = 96.0
"""Entropy at which no further columns are taken; 20,000 rows differ in about 30 bits."""

PARTS = 6
"""Parts of the columns; each is left out once."""

_MAX_COLUMNS = 512  # that are looked at, evenly spaced
_SAMPLE_ROWS = 20_000  # from which units are estimated
_CHUNK_VALUES = 2**22
_NOISE = 0.16  # of the largest value, divided by the steps: 0.5 % at 32 steps


@dataclass(frozen=True)
class Grid:
    """Columns and the bins of their values.

    Attributes:
        columns: (C,) int64 positions, ascending.
        origins, units: (C,) lower end of bin 0 and width of a bin.
        bits: (C,) entropy of the bins.
        fullest: (C,) share of the rows in the fullest bin.
    """

    columns: np.ndarray
    origins: np.ndarray
    units: np.ndarray
    bits: np.ndarray
    fullest: np.ndarray

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return the bins (N, C) int64 of values (N, D)."""
        found = np.empty((len(values), len(self.columns)), np.int64)
        step = max(1, _CHUNK_VALUES // max(1, len(self.columns)))
        for start in range(0, len(values), step):
            part = values[start : start + step, self.columns].astype(np.float64)
            bins = np.floor((part - self.origins) / self.units)
            found[start : start + step] = np.clip(bins, -(2**62), 2**62)
        return found

    def subsets(self) -> Iterator[np.ndarray]:
        """Yield the positions of all columns, then of all but one part of similar entropy."""
        every, parts = np.arange(len(self.columns)), self.parts()
        yield every
        if len(parts) > 1:
            yield from (np.delete(every, part) for part in parts)

    def parts(self) -> list[np.ndarray]:
        """Return the positions of the columns of each part."""
        ends = np.cumsum(self.bits)
        part = np.minimum((ends - self.bits / 2) / ends[-1] * PARTS, PARTS - 1).astype(int)
        return [np.flatnonzero(part == each) for each in np.unique(part)]


def choose_grid(values: np.ndarray, steps: float) -> Grid | None:
    """Return bins for the columns with the most entropy; None if all values are equal.

    A bin is as wide as the smallest difference of two values, or if that is wider, as a standard
    deviation or 16 % of the largest value, divided by ``steps``. The most frequent value lies in
    the middle of its bin.

    Args:
        values: (N, D) finite.
        steps: bins per standard deviation of a continuous column.
    """
    sample = np.linspace(0, len(values) - 1, min(len(values), _SAMPLE_ROWS)).astype(int)
    searched = np.unique(np.linspace(0, values.shape[1] - 1, _MAX_COLUMNS).astype(int))
    found = []
    for column in searched.tolist():
        here = values[sample, column].astype(np.float64)
        distinct, counts = np.unique(here, return_counts=True)
        if len(distinct) < 2:
            continue
        noise = _NOISE * float(np.abs(distinct).max())
        unit = max(float(np.diff(distinct).min()), max(float(here.std()), noise) / steps)
        origin = float(distinct[counts.argmax()]) - unit / 2
        shares = np.unique(np.floor((here - origin) / unit), return_counts=True)[1] / len(here)
        bits = float(-(shares * np.log2(shares)).sum())
        found.append((bits, column, origin, unit, float(shares.max())))
    found.sort(reverse=True)
    before = np.cumsum([0.0, *(each[0] for each in found)])[:-1]
    chosen = sorted(
        (each for each, sum_ in zip(found, before, strict=True) if sum_ < BITS),
        key=lambda each: each[1],
    )
    if not chosen:
        return None
    entropy, columns, *rest = (np.array(each) for each in zip(*chosen, strict=True))
    origins, units, fullest = rest
    return Grid(columns, origins, units, entropy, fullest)


def hash_codes(codes: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row of bins (N, C)."""
    return mixed_hashes(np.ascontiguousarray(codes).view(np.uint64))

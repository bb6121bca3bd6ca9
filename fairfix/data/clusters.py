"""Rows that are not independent: of one cluster, with one id, or copies of each other.

Equal rows are copies only where the table shows it: they agree in a column of measurements, in
which hardly any two other rows agree. Rows of a few categories and whole numbers repeat honestly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fairfix._utils.row_hash import mixed_hashes

MIN_VALUES = 50
"""Distinct values that a column of measurements exceeds."""

MIN_STEPS = 10_000
"""Steps between its smallest and largest value: 5 significant digits."""

CHANCE_ERRORS = 3.0
"""Standard errors by which copies exceed equality by chance."""

_MAX_COLUMNS = 256  # that are searched for measurements
_ON_GRID = 0.02  # steps by which round-off moves a value off its grid


@dataclass(frozen=True)
class Clustering:
    """The clusters of N rows.

    Attributes:
        codes: (N,) int64 number of the cluster; None if rows count as independent.
        note: what was found, without a full stop; empty if there is nothing to say.
        warns: whether the note is about rows that equal each other.
    """

    codes: np.ndarray | None
    note: str = ""
    warns: bool = False


INDEPENDENT = Clustering(None)


def find_clusters(
    named: np.ndarray | None, ids: np.ndarray | None, values: np.ndarray | None, labels: np.ndarray
) -> Clustering:
    """Return the clusters of rows: as named, else by repeated ids, else by copies.

    Args:
        named: (N,) values of a cluster column.
        ids: (N,) identifiers.
        values: (N, D) float32, what is known of a row besides its label.
        labels: (N,) 0/1.
    """
    for keys, source in ((named, "the cluster column"), (ids, "repeated ids")):
        if keys is None:
            continue
        codes = np.unique(keys.astype(str), return_inverse=True)[1].astype(np.int64)
        clusters = int(codes.max()) + 1
        if clusters < len(codes):
            return Clustering(codes, f"{len(codes):,} rows of {clusters:,} clusters, by {source}")
        if named is not None:
            return INDEPENDENT
    return INDEPENDENT if values is None else _copies(values, labels)


def _copies(values: np.ndarray, labels: np.ndarray) -> Clustering:
    """Return copies of rows as clusters, if they are more than chance explains."""
    values = values.reshape(len(values), -1)
    hashes = _hashes(values) * np.uint64(2) + labels.astype(np.uint64)
    _, first, code, size = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    repeated = int(size[size > 1].sum())
    if not repeated:
        return INDEPENDENT
    n, distinct = len(values), values[first]
    column = _measurements(distinct)
    rows = f"{repeated:,} of {n:,} rows equal another row"
    honest = Clustering(
        None, f"{rows} and count as independent; name persons with several rows by --cluster", True
    )
    if column is None:
        return honest
    alone = ~_shared(distinct[:, column])  # the value belongs to one distinct row
    copied = alone & (size > 1)
    rest = np.delete(distinct, column, axis=1)
    chance = float((~alone).mean() * _shared(_hashes(rest)).mean()) * n
    if not size[copied].sum() > chance + CHANCE_ERRORS * math.sqrt(max(chance, 1.0)):
        return honest
    codes = np.where(copied[code], code, len(first) + np.arange(n)).astype(np.int64)
    clusters = len(np.unique(codes))
    note = (
        f"{int(size[copied].sum()):,} of {n:,} rows are copies of another row, so that "
        f"they count as {clusters:,} independent rows"
    )
    return Clustering(codes, note, True)


def _shared(values: np.ndarray) -> np.ndarray:
    """Return which values (M,) occur more than once, (M,) bool."""
    _, position, number = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(number[position] > 1)


def _hashes(values: np.ndarray) -> np.ndarray:
    """Return a 64-bit hash of each row of float32 values, (N,)."""
    found = np.empty(len(values), np.uint64)
    step = max(1, 2**20 // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        part = np.ascontiguousarray(values[start : start + step] + np.float32(0.0), np.float32)
        found[start : start + step] = mixed_hashes(part.view(np.uint32).astype(np.uint64))
    return found


def _measurements(distinct: np.ndarray) -> int | None:
    """Return the column with the most distinct values, if it holds measurements.

    Those are more than 50 values that are neither whole numbers nor, shifted and scaled, on a grid
    of fewer than 10,000 steps.
    """
    best, most = None, MIN_VALUES
    for column in np.unique(np.linspace(0, distinct.shape[1] - 1, _MAX_COLUMNS).astype(int)):
        values = np.unique(distinct[:, column].astype(np.float64))
        whole = bool((values == np.rint(values)).all())
        if len(values) > most and not whole and _grid_steps(values) >= MIN_STEPS:
            best, most = int(column), len(values)
    return best


def _grid_steps(values: np.ndarray) -> float:
    """Return the steps from the first to the last of ascending values on their common grid.

    The step is found as by Euclid's algorithm; from 10,000 steps on the search ends.
    """
    span, step = values[-1] - values[0], float(np.diff(values).min())
    while span / step < MIN_STEPS:
        steps = (values - values[0]) / step
        off = np.abs(steps - np.rint(steps))
        if (off < _ON_GRID).all():
            break
        step *= float(off[off >= _ON_GRID].min())
    return float(span / step)

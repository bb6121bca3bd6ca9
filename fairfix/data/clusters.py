"""Rows that are not independent: of one cluster, with one id, or copies of each other.

Equal rows are copies only where the table shows it: they agree in a column of measurements, in
which hardly any two other rows agree. Rows of a few categories and whole numbers repeat honestly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fairfix._utils.row_hash import mixed_hashes
from fairfix.data.measurements import measurements
from fairfix.data.near_copies import CHANCE_ERRORS, copied, near_copies


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
        values: (N, D) float32, the values of a row besides its label.
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


def scores_again(scores: np.ndarray, labels: np.ndarray) -> Clustering:
    """Return a warning if scores (N,) repeat with their labels, which does not show copies."""
    if not measurements(scores[:, None]):
        return INDEPENDENT
    rows = np.column_stack([scores, labels])
    sizes = np.unique(rows, axis=0, return_counts=True)[1]
    repeated = int(sizes[sizes > 1].sum())
    if not repeated:
        return INDEPENDENT
    return Clustering(
        None,
        f"{repeated:,} of {len(scores):,} rows have the score and label of another row, and it is "
        "unchecked whether they are copies; name persons with several rows by --cluster",
        True,
    )


def equal_inputs(digests: np.ndarray, labels: np.ndarray, *, copies: bool) -> Clustering:
    """Return rows that are equal in inputs of any kind and in their labels.

    Args:
        digests: (N, 16) uint8, a hash of each row's inputs.
        labels: (N,) 0/1.
        copies: whether equal inputs show copies, as equal images do and equal short texts do not.
    """
    rows = np.column_stack([digests, labels.astype(np.uint8)])
    _, codes, size = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    repeated = int(size[size > 1].sum())
    if not repeated:
        return INDEPENDENT
    if not copies:
        return Clustering(None, _honest(repeated, len(rows)), True)
    return Clustering(codes.astype(np.int64), _copied(repeated, len(rows), len(size)), True)


def _honest(repeated: int, n: int) -> str:
    return (
        f"{repeated:,} of {n:,} rows equal another row and count as independent; name persons with "
        "several rows by --cluster"
    )


def _copied(repeated: int, n: int, clusters: int) -> str:
    return (
        f"{repeated:,} of {n:,} rows are copies of another row, so that they count as {clusters:,} "
        "independent rows"
    )


def _copies(values: np.ndarray, labels: np.ndarray) -> Clustering:
    """Return copies of rows as clusters, if they are more than chance explains."""
    values = values.reshape(len(values), -1)
    columns = measurements(values)
    equal = _equal_rows(values, labels, columns)
    alike = near_copies(values, columns)
    if alike is None or (equal.codes is not None and copied(alike) <= copied(equal.codes)):
        return equal
    note = (
        f"{copied(alike):,} of {len(values):,} rows are copies of another row, some with small "
        f"changes, so that they count as {len(np.unique(alike)):,} independent rows"
    )
    return Clustering(alike, note, True)


def _equal_rows(values: np.ndarray, labels: np.ndarray, columns: list[int]) -> Clustering:
    """Return rows that are equal, label included.

    Args:
        columns: those with measurements, that with the most values first.
    """
    hashes = _hashes(values) * np.uint64(2) + labels.astype(np.uint64)
    _, first, code, size = np.unique(
        hashes, return_index=True, return_inverse=True, return_counts=True
    )
    repeated = int(size[size > 1].sum())
    if not repeated:
        return INDEPENDENT
    n, distinct = len(values), values[first]
    honest = Clustering(None, _honest(repeated, n), True)
    if not columns:
        return honest
    alone = ~_shared(distinct[:, columns[0]])  # the value belongs to one distinct row
    equal = alone & (size > 1)
    rest = np.delete(distinct, columns[0], axis=1)
    chance = float((~alone).mean() * _shared(_hashes(rest)).mean()) * n
    if not size[equal].sum() > chance + CHANCE_ERRORS * math.sqrt(max(chance, 1.0)):
        return honest
    codes = np.where(equal[code], code, len(first) + np.arange(n)).astype(np.int64)
    return Clustering(codes, _copied(copied(codes), n, len(np.unique(codes))), True)


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

"""Hashes of rows, 64 bits a row: keyed by BLAKE2b, and fast ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import cast

import numpy as np

_CHUNK_BYTES = 2**24


def row_hashes(rows: Iterable[bytes], key: bytes) -> np.ndarray:
    """Return the hash of each row, (N,) uint64: the digest's bytes as a little-endian number.

    Args:
        rows: the content of each row.
        key: at most 64 bytes.
    """
    keyed = hashlib.blake2b(digest_size=8, key=key)

    def digest(row: bytes) -> bytes:
        hash_ = keyed.copy()  # faster than hashing the key again for every row
        hash_.update(row)
        return hash_.digest()

    return np.frombuffer(b"".join(map(digest, rows)), dtype="<u8").astype(np.uint64)


def bytes_of_rows(matrix: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of each row of a matrix (N, ...), in memory order, chunk by chunk."""
    width = matrix[0].nbytes if len(matrix) else 0
    if width == 0:
        yield from [b""] * len(matrix)
        return
    step = max(1, _CHUNK_BYTES // width)
    for start in range(0, len(matrix), step):
        part = np.ascontiguousarray(matrix[start : start + step]).reshape(-1)
        yield from cast(list[bytes], part.view(np.dtype((np.void, width))).tolist())


def mixed_hashes(rows: np.ndarray) -> np.ndarray:
    """Return a fast hash (N,) of each row of uint64 (N, C), for comparisons within one process."""
    multipliers = np.random.default_rng(0).integers(1, 2**63, rows.shape[1], np.uint64)
    multipliers = multipliers * np.uint64(2) + np.uint64(1)
    found = np.empty(len(rows), np.uint64)
    step = max(1, _CHUNK_BYTES // max(1, 8 * rows.shape[1]))
    for start in range(0, len(rows), step):
        bits = (rows[start : start + step] + np.uint64(1)) * multipliers
        found[start : start + step] = (bits ^ (bits >> np.uint64(29))).sum(1, dtype=np.uint64)
    return found

"""Fingerprints of the rows that a rule was tuned on, to detect the same rows in a test table.

A row is identified by its features and label, or by its id where there are no features. Groups are
left out, since runs may take them from different columns. The fingerprints are salted hashes. The
salt keeps the hashes of two reports from matching; it is not a secret, so anyone who has a row can
tell whether the rule was tuned on it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from fairfix._utils.row_hash import bytes_of_rows, row_hashes
from fairfix._utils.strict_json import StrictModel, validate
from fairfix.data.problem import Problem
from fairfix.errors import UsageError

TARGET_HASHES = 20_000  # hashes kept of a table with more distinct rows, approximately
MIN_UNIQUE_SHARE = 0.1  # with fewer unique rows, equal rows are no evidence of reuse
_CHUNK_ROWS = 65_536
_HASH_RANGE = 2**64


class RowFingerprints(StrictModel):
    """The fingerprints of the rows that a rule was tuned on, as the report holds them."""

    version: Literal[1] = Field(description="Version of the fingerprints.")
    salt: str = Field(description="Key of the hash: any text.")
    share: float = Field(
        gt=0, le=1, description="Share of the hash range that is kept; 1 keeps every row."
    )
    basis: Literal["features", "ids"] = Field(
        description="What identifies a row: its features and label, or its id."
    )
    repeated: float = Field(
        ge=0,
        le=1,
        description="Share of all rows that equal another row. A new table of the same kind has "
        "about this share of rows that equal a tuned row by chance.",
    )
    hashes: tuple[Annotated[str, Field(pattern="^[0-9a-f]{16}$")], ...] = Field(
        description="Hashes of the distinct rows in the share (BLAKE2b, 64 bits), ascending."
    )

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprints as plain JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: object, source: str = "report") -> RowFingerprints:
        """Check the fingerprints of a report.

        Args:
            source: name of the file and of the place in it, for messages.

        Raises:
            UsageError: names the first value that is wrong.
        """
        try:
            return validate(cls, data, source)
        except UsageError as error:
            remedy = "Use the report as it was written, or debias again."
            raise UsageError(f"{error} {remedy}") from None


@dataclass(frozen=True)
class Overlap:
    """How many rows of a table equal rows that a rule was tuned on.

    Attributes:
        share_of_rows: share of the compared rows, in [0, 1]; NaN if none could be compared.
        rows_compared: rows of the table whose hash is in the kept share; 0 also if the rows lack
            the basis of the fingerprints.
        by_chance: the share that new rows of the same kind would have, in [0, 1].
    """

    share_of_rows: float
    rows_compared: int
    by_chance: float

    @property
    def reused(self) -> float:
        """Estimated share of rows that the rule was tuned on, corrected for equality by chance.

        In [0, 1]; NaN if no row was compared, or if nearly all rows equal another one anyway.
        """
        if self.by_chance > 1 - MIN_UNIQUE_SHARE:
            return math.nan
        beyond = (self.share_of_rows - self.by_chance) / (1 - self.by_chance)
        return beyond if math.isnan(beyond) else max(0.0, beyond)

    @property
    def description(self) -> str:
        """The result in words, without a full stop."""
        if self.rows_compared == 0:
            return "no row could be compared with the rows that the rule was tuned on"
        if self.by_chance > 1 - MIN_UNIQUE_SHARE:
            return (
                f"{self.by_chance:.1%} of the rows that the rule was tuned on equal another of "
                "them, so equal rows do not show reuse"
            )
        return (
            f"{self.share_of_rows:.1%} of {self.rows_compared:,} compared rows equal a row that "
            f"the rule was tuned on, {self.by_chance:.1%} expected by chance"
        )


def fingerprint_rows(problem: Problem, salt: str) -> RowFingerprints | None:
    """Return the fingerprints of a problem's rows; None if they have neither features nor ids."""
    basis: Literal["features", "ids"] = "features" if problem.features is not None else "ids"
    hashes = _row_hashes(problem, basis, salt)
    if hashes is None:
        return None
    distinct, counts = np.unique(hashes, return_counts=True)
    share = min(1.0, TARGET_HASHES / len(distinct))
    return RowFingerprints(
        version=1,
        salt=salt,
        share=share,
        basis=basis,
        repeated=float(counts[counts > 1].sum() / counts.sum()),
        hashes=tuple(f"{value:016x}" for value in _in_share(distinct, share).tolist()),
    )


def overlap(tuned: RowFingerprints, problem: Problem) -> Overlap:
    """Return how many of a problem's rows equal rows that a rule was tuned on.

    If the fingerprints keep a share below 1, this is estimated on the rows whose hash is in it.
    """
    hashes = _row_hashes(problem, tuned.basis, tuned.salt)
    if hashes is None:
        return Overlap(math.nan, 0, tuned.repeated)
    compared = _in_share(hashes, tuned.share)
    if not len(compared):
        return Overlap(math.nan, 0, tuned.repeated)
    tuned_hashes = np.array([int(value, 16) for value in tuned.hashes], np.uint64)
    share_of_rows = float(np.isin(compared, tuned_hashes).mean())
    return Overlap(share_of_rows, len(compared), tuned.repeated)


def _in_share(hashes: np.ndarray, share: float) -> np.ndarray:
    """Return the hashes in the lowest ``share`` of the hash range."""
    return hashes if share >= 1 else hashes[hashes < np.uint64(int(share * _HASH_RANGE))]


def _row_hashes(problem: Problem, basis: str, salt: str) -> np.ndarray | None:
    """Return (N,) uint64, one hash per row; None if the rows lack the basis."""
    rows: Iterable[bytes]
    if basis == "features":
        if problem.features is None or not problem.labeled:
            return None
        rows = _feature_rows(problem.features.cpu().numpy(), problem.labels.cpu().numpy())
    else:
        if problem.ids is None:
            return None
        rows = (str(each).encode() for each in problem.ids)
    key = hashlib.blake2b(salt.encode()).digest()  # allows a salt of any length
    return row_hashes(rows, key).byteswap()


def _feature_rows(features: np.ndarray, labels: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of each row: its features and its label as little-endian float32."""
    for start in range(0, len(labels), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        part = features[chunk]
        rows = np.concatenate([part.reshape(len(part), -1), labels[chunk, None]], 1)
        yield from bytes_of_rows((rows + 0.0).astype("<f4"))  # -0.0 + 0.0 is 0.0

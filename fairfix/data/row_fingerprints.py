"""Fingerprints of the rows that a rule was tuned on, to detect the same rows in a test table.

A row is identified by its features, rounded to 4 significant digits, and its label, or by its id
where there are no features. A second set of fingerprints identifies rows by id and label. Groups
are left out, since runs may take them from different columns. The fingerprints are salted hashes.
The salt keeps the hashes of two reports from matching; it is not a secret, so anyone who has a row
can tell whether the rule was tuned on it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import Field
from torch import Tensor

from fairfix._utils.row_hash import bytes_of_rows, row_hashes
from fairfix._utils.strict_json import StrictModel, validate
from fairfix.errors import UsageError
from fairfix.models.inputs import Inputs

VERSION: Literal[2] = 2
DIGITS = 4  # significant digits; other tools write at least 6, and a changed last digit is lost
TARGET_HASHES = 20_000  # hashes kept of a table with more distinct rows, approximately
MIN_UNIQUE_SHARE = 0.1  # with fewer unique rows, equal rows are no evidence of reuse
MAX_EXCESS = 0.05  # share of reused rows beyond chance that is tolerated
STANDARD_ERRORS = 3.0  # by which the share has to exceed chance
Basis = Literal["features", "ids", "ids and labels"]
_CHUNK_ROWS = 65_536
_CHANCE = 20  # hashes that a table may lack by chance, besides half of those expected
_HASH_RANGE = 2**64


class IdentifiedRows(Protocol):
    """Rows with what tells them apart: a ``Problem`` or ``TrainingRows``."""

    @property
    def scores(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def labeled(self) -> bool: ...
    @property
    def inputs(self) -> Inputs | None: ...
    @property
    def features(self) -> Tensor | None: ...
    @property
    def ids(self) -> np.ndarray | None: ...


class RowFingerprints(StrictModel):
    """The fingerprints of the rows that a rule was tuned on, as the report holds them."""

    version: Literal[2] = Field(description="Version of the fingerprints.")
    salt: str = Field(description="Key of the hash: any text.")
    share: float = Field(
        gt=0, le=1, description="Share of the hash range that is kept; 1 keeps every row."
    )
    basis: Basis = Field(
        description="What identifies a row: its features, rounded to 4 significant digits, and its "
        "label; its id; or its id and label."
    )
    rows: int = Field(ge=1, description="Number of rows.")
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
        remedy = "Use the report as it was written, or debias again."
        try:
            found = validate(cls, data, source)
        except UsageError as error:
            raise UsageError(f"{error} {remedy}") from None
        expected = found.share * found.rows * (1 - found.repeated)
        if len(found.hashes) < expected / 2 - _CHANCE:
            raise UsageError(
                f"{source} has {len(found.hashes)} hashes where about {expected:.0f} belong. "
                f"{remedy}"
            )
        return found


@dataclass(frozen=True)
class Overlap:
    """How many rows of a table equal rows that a rule was tuned on.

    Attributes:
        share_of_rows: share of the compared rows, in [0, 1]; NaN if none could be compared.
        rows_compared: rows of the table whose hash is in the kept share; 0 also if the rows lack
            the basis of the fingerprints.
        by_chance: the share that new rows of the same kind would have, in [0, 1].
        rows_tuned: rows from which ``by_chance`` is known; 0 if it is exact.
        design_effect: factor on the variances for rows that are equal among themselves.
        nearly: whether rows were compared by coarse values of most columns.
    """

    share_of_rows: float
    rows_compared: int
    by_chance: float
    rows_tuned: int = 0
    design_effect: float = 1.0
    nearly: bool = False

    @property
    def known(self) -> bool:
        """Whether rows were compared and equal rows are evidence of reuse."""
        return self.rows_compared > 0 and self.by_chance <= 1 - MIN_UNIQUE_SHARE

    @property
    def beyond_chance(self) -> bool:
        """Whether the share exceeds chance by more than 3 standard errors."""
        if not self.known:
            return False
        share, chance = self.share_of_rows, self.by_chance
        variance = share * (1 - share) / self.rows_compared
        if self.rows_tuned:
            variance += chance * (1 - chance) / self.rows_tuned
        return share - chance > STANDARD_ERRORS * math.sqrt(self.design_effect * variance)

    @property
    def too_many(self) -> bool:
        """Whether the share also exceeds chance by more than 5 points, which is not tolerated."""
        return self.beyond_chance and self.share_of_rows - self.by_chance > MAX_EXCESS

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
            f"{self.share_of_rows:.1%} of {self.rows_compared:,} compared rows "
            f"{'nearly ' if self.nearly else ''}equal a row that the rule was tuned on, "
            f"{self.by_chance:.1%} expected by chance"
        )


def fingerprint_rows(problem: IdentifiedRows, salt: str) -> RowFingerprints | None:
    """Return the fingerprints of a problem's rows; None if they have neither features nor ids."""
    basis: Basis = "features" if problem.inputs is not None else "ids"
    return _fingerprints(_row_hashes(problem, basis, salt), basis, salt)


def fingerprint_ids(problem: IdentifiedRows, salt: str) -> RowFingerprints | None:
    """Return the fingerprints of a problem's ids with their labels; None without ids or labels."""
    if problem.ids is None or not problem.labeled:
        return None
    labels = problem.labels.cpu().numpy()
    return _fingerprints(_labeled_ids(problem.ids, labels, salt), "ids and labels", salt)


def _fingerprints(hashes: np.ndarray | None, basis: Basis, salt: str) -> RowFingerprints | None:
    if hashes is None:
        return None
    distinct, counts = np.unique(hashes, return_counts=True)
    share = min(1.0, TARGET_HASHES / len(distinct))
    return RowFingerprints(
        version=VERSION,
        salt=salt,
        share=share,
        basis=basis,
        rows=len(hashes),
        repeated=float(counts[counts > 1].sum() / counts.sum()),
        hashes=tuple(f"{value:016x}" for value in in_share(distinct, share).tolist()),
    )


def overlap(tuned: RowFingerprints, problem: IdentifiedRows) -> Overlap:
    """Return how many of a problem's rows equal rows that a rule was tuned on.

    If the fingerprints keep a share below 1, this is estimated on the rows whose hash is in it.
    """
    hashes = _row_hashes(problem, tuned.basis, tuned.salt)
    if hashes is None:
        return Overlap(math.nan, 0, tuned.repeated)
    compared = in_share(hashes, tuned.share)
    if not len(compared):
        return Overlap(math.nan, 0, tuned.repeated)
    share_of_rows = float(np.isin(compared, _hashes_of(tuned)).mean())
    return Overlap(share_of_rows, len(compared), tuned.repeated, tuned.rows)


def id_overlap(tuned: RowFingerprints, problem: IdentifiedRows) -> Overlap:
    """Return how many of a problem's rows have the id of a row that a rule was tuned on.

    Tables that number their rows anew share ids without sharing rows. Equal ids therefore count
    only if they agree in the label, or disagree, more often than by chance.
    """
    if problem.ids is None or not problem.labeled:
        return Overlap(math.nan, 0, 0.0)
    labels, known = problem.labels.cpu().numpy(), _hashes_of(tuned)
    same, other = (
        np.isin(compared, known)
        for compared in (
            in_share(_labeled_ids(problem.ids, each, tuned.salt), tuned.share)
            for each in (labels, 1 - labels)
        )
    )
    if not len(same):
        return Overlap(math.nan, 0, 0.0)
    favorable, known_ids = labels.mean(), int(same.sum() + other.sum())
    by_chance = float(favorable**2 + (1 - favorable) ** 2)
    for found, chance in ((same, by_chance), (other, 1 - by_chance)):
        agreement = Overlap(float(found.sum() / max(1, known_ids)), known_ids, chance)
        if agreement.beyond_chance:
            return Overlap(float(found.mean()), len(found), 0.0)
    return Overlap(0.0, len(same), 0.0)


def _hashes_of(tuned: RowFingerprints) -> np.ndarray:
    return np.array([int(value, 16) for value in tuned.hashes], np.uint64)


def _labeled_ids(ids: np.ndarray, labels: np.ndarray, salt: str) -> np.ndarray:
    rows = (f"{label} {row_id}".encode() for row_id, label in zip(ids, labels, strict=True))
    return _hashed(rows, salt)


def in_share(hashes: np.ndarray, share: float) -> np.ndarray:
    """Return the hashes in the lowest ``share`` of the hash range."""
    return hashes if share >= 1 else hashes[hashes < np.uint64(int(share * _HASH_RANGE))]


def _row_hashes(problem: IdentifiedRows, basis: str, salt: str) -> np.ndarray | None:
    """Return (N,) uint64, one hash per row; None if the rows lack the basis."""
    rows: Iterable[bytes]
    if basis == "features":
        if problem.inputs is None or not problem.labeled:
            return None
        labels = problem.labels.cpu().numpy()
        if problem.features is None:
            seen = np.hstack([problem.inputs.digests(), labels[:, None].astype(np.uint8)])
            rows = bytes_of_rows(seen)
        else:
            rows = _feature_rows(problem.features.cpu().numpy(), labels)
    else:
        if problem.ids is None:
            return None
        rows = (str(each).encode() for each in problem.ids)
    return _hashed(rows, salt)


def _hashed(rows: Iterable[bytes], salt: str) -> np.ndarray:
    key = hashlib.blake2b(salt.encode()).digest()  # allows a salt of any length
    return row_hashes(rows, key).byteswap()


def _feature_rows(features: np.ndarray, labels: np.ndarray) -> Iterator[bytes]:
    """Yield the bytes of each row: rounded features and the label as little-endian float32."""
    for start in range(0, len(labels), _CHUNK_ROWS):
        chunk = slice(start, start + _CHUNK_ROWS)
        part = _rounded(features[chunk].astype(np.float64))
        rows = np.concatenate([part.reshape(len(part), -1), labels[chunk, None]], 1)
        yield from bytes_of_rows((rows + 0.0).astype("<f4"))  # -0.0 + 0.0 is 0.0


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return values rounded to 4 significant digits, float64."""
    size = np.abs(values)
    exponent = np.floor(np.log10(size, out=np.zeros_like(size), where=size > 0))
    unit = 10.0 ** (exponent - (DIGITS - 1))
    return np.asarray(np.round(values / unit) * unit)

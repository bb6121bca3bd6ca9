"""Which rows a rule was fitted on, as salted hashes, so that no table is judged by its own rule.

A row is its features and its label, or its id where scores stand in for features. Groups are left
out: which column they come from differs between runs, and a row stays the same row. The salt keeps
hashes of different reports apart; it hides nothing, for whoever has a row and the fingerprint can
tell whether the rule was fitted on it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairfix.data.problem import Problem
from fairfix.errors import UsageError

VERSION = 1
KEPT = 20_000  # hashes of a fingerprint, about
TELLING = 0.1  # under this share of rows without a twin, rows do not tell themselves apart
_CHUNK = 65_536
_RANGE = 2**64
_HEX = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Fingerprint:
    """The rows that a rule was fitted on.

    Attributes:
        salt: any text.
        share: of the range of hashes that is kept, in (0, 1]; 1 = every row.
        hashes: of the distinct rows in that share, 16 hexadecimal digits each, rising.
        basis: what a row is known by, "features" (and label) or "ids".
        repeated: share of all the rows that equal another of them. As much of any table of the
            same kind equals one of these rows by chance.
    """

    salt: str
    share: float
    hashes: tuple[str, ...]
    basis: str
    repeated: float

    def to_json(self) -> dict[str, Any]:
        """The fingerprint as it is written to disk."""
        return {
            "version": VERSION,
            "salt": self.salt,
            "share": self.share,
            "basis": self.basis,
            "repeated": self.repeated,
            "hashes": list(self.hashes),
        }

    @classmethod
    def from_json(cls, data: object, source: str = "report") -> Fingerprint:
        """The fingerprint that ``to_json`` wrote.

        Raises:
            UsageError: naming ``source`` and what is wrong with it.
        """
        fault = _fault(data)
        if fault is not None:
            raise UsageError(
                f"{source}: the hashes of its fitting rows cannot be read, for {fault}. Give the "
                "report as it was written, or debias again."
            )
        assert isinstance(data, dict)
        return cls(
            salt=data["salt"],
            share=float(data["share"]),
            hashes=tuple(data["hashes"]),
            basis=data["basis"],
            repeated=float(data["repeated"]),
        )


@dataclass(frozen=True)
class Overlap:
    """How much of a table stands among the rows of a fingerprint.

    Attributes:
        share_of_rows: of the rows compared, NaN when none could be.
        rows_compared: rows of the table whose hash lies in the fingerprint's share; 0 also when
            its rows lack what the fingerprint knows rows by.
        by_chance: the share that new rows of the same kind would show.
    """

    share_of_rows: float
    rows_compared: int
    by_chance: float

    @property
    def reused(self) -> float:
        """Share of rows that the rule was fitted on, those that merely look alike taken off.

        In [0, 1]; NaN when no rows were compared, or when most look alike anyway.
        """
        if self.by_chance > 1 - TELLING:
            return math.nan
        beyond = (self.share_of_rows - self.by_chance) / (1 - self.by_chance)
        return beyond if math.isnan(beyond) else max(0.0, beyond)

    @property
    def sentence(self) -> str:
        """What was found, without a full stop."""
        if self.rows_compared == 0:
            return "no row could be compared with the rows that the rule was fitted on"
        if self.by_chance > 1 - TELLING:
            return (
                f"{self.by_chance:.1%} of the rows that the rule was fitted on equal another of "
                "them, so that equal rows do not tell whether they were used"
            )
        return (
            f"{self.share_of_rows:.1%} of {self.rows_compared:,} rows compared equal a row that "
            f"the rule was fitted on, where chance alone makes {self.by_chance:.1%} likely"
        )


def fingerprint(problem: Problem, salt: str) -> Fingerprint | None:
    """The fingerprint of a problem's rows; None when they have neither features nor ids."""
    basis = "features" if problem.features is not None else "ids"
    found = _hashes(problem, basis, salt)
    if found is None:
        return None
    distinct, times = np.unique(found, return_counts=True)
    share = min(1.0, KEPT / len(distinct))
    return Fingerprint(
        salt=salt,
        share=share,
        hashes=tuple(f"{value:016x}" for value in _within(distinct, share).tolist()),
        basis=basis,
        repeated=float(times[times > 1].sum() / times.sum()),
    )


def overlap(known: Fingerprint, problem: Problem) -> Overlap:
    """How much of a problem's rows stands among the rows of ``known``.

    With a ``share`` below 1 it is estimated on the rows whose hash lies in that share.
    """
    found = _hashes(problem, known.basis, known.salt)
    if found is None:
        return Overlap(math.nan, 0, known.repeated)
    compared = _within(found, known.share)
    if not len(compared):
        return Overlap(math.nan, 0, known.repeated)
    kept = np.array([int(value, 16) for value in known.hashes], np.uint64)
    return Overlap(float(np.isin(compared, kept).mean()), len(compared), known.repeated)


def _within(hashes: np.ndarray, share: float) -> np.ndarray:
    """Those hashes that lie in the lowest ``share`` of their range."""
    return hashes if share >= 1 else hashes[hashes < np.uint64(int(share * _RANGE))]


def _hashes(problem: Problem, basis: str, salt: str) -> np.ndarray | None:
    """(N,) uint64, one a row; None when the rows lack the basis."""
    rows: Iterable[bytes]
    if basis == "features":
        if problem.features is None:
            return None
        rows = _feature_rows(problem.features.cpu().numpy(), problem.labels.cpu().numpy())
    else:
        if problem.ids is None:
            return None
        rows = (str(each).encode() for each in problem.ids)
    key = hashlib.blake2b(salt.encode()).digest()  # a salt of any length
    raw = b"".join(hashlib.blake2b(row, digest_size=8, key=key).digest() for row in rows)
    return np.frombuffer(raw, ">u8").astype(np.uint64)


def _feature_rows(features: np.ndarray, labels: np.ndarray) -> Iterator[bytes]:
    """The bytes of each row: its features and its label as little-endian float32."""
    for start in range(0, len(labels), _CHUNK):
        here = slice(start, start + _CHUNK)
        part = features[here]
        rows = np.concatenate([part.reshape(len(part), -1), labels[here, None]], 1)
        raw = (rows + 0.0).astype("<f4").tobytes()  # -0.0 + 0.0 is 0.0
        width = len(raw) // len(part)
        yield from (raw[i : i + width] for i in range(0, len(raw), width))


def _fault(data: object) -> str | None:
    """What keeps JSON data from being a fingerprint; None when it is one."""
    if not isinstance(data, dict):
        return "they are no JSON object"
    if data.get("version") != VERSION:
        return f"their version is {data.get('version')!r} where this fairfix reads {VERSION}"
    if not isinstance(data.get("salt"), str):
        return "the salt is no text"
    if data.get("basis") not in ("features", "ids"):
        return f"the basis {data.get('basis')!r} is neither 'features' nor 'ids'"
    share, repeated = data.get("share"), data.get("repeated")
    if not (_is_share(share) and share):
        return f"the share {share!r} is no number above 0 and up to 1"
    if not _is_share(repeated):
        return f"the repeated share {repeated!r} is no number from 0 to 1"
    hashes = data.get("hashes")
    if not isinstance(hashes, list) or not all(map(_is_hash, hashes)):
        return "the hashes are no list of 16 hexadecimal digits each"
    return None


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None

"""Fingerprints of tuned rows that small changes do not hide: coarse values of most columns.

A row is identified by the bins of its values, without its label and without one part of the
columns, each part in turn. Noise, flipped labels and a changed column leave most of these hashes
as they were. Rows without features are identified by their score, and by id and score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fairfix._utils.row_hash import row_hashes
from fairfix._utils.strict_json import StrictModel, validate
from fairfix.data.coarse_rows import Grid, choose_grid, hash_codes
from fairfix.data.row_fingerprints import IdentifiedRows, Overlap, in_share
from fairfix.errors import UsageError

TARGET_HASHES = 3_000  # kept of each part, approximately
MAX_CHANCE = 0.5  # parts in which more rows are nearly equal by chance are not kept
STEPS = (32.0, 256.0, 2048.0)  # bins per standard deviation, tried from coarse to fine
SCORE_UNIT = 1e-5  # that identifies a score
SCORE_UNIT_WITH_ID = 0.02


class CoarsePart(StrictModel):
    """The fingerprints by some of the columns."""

    columns: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        description="Positions in the lists of columns, origins, and units."
    )
    ids: bool = Field(description="Whether the id belongs to the hash.")
    by_chance: float = Field(
        ge=0, le=1, description="Share of rows that equal a tuned row by chance."
    )
    share: float = Field(gt=0, le=1, description="Share of the hash range that is kept.")
    hashes: tuple[Annotated[str, Field(pattern="^[0-9a-f]{16}$")], ...] = Field(
        description="Hashes of the distinct rows in the share (BLAKE2b, 64 bits), ascending."
    )


class CoarseFingerprints(StrictModel):
    """The fingerprints of tuned rows by coarse values of most columns."""

    salt: str = Field(description="Key of the hash: any text.")
    rows: int = Field(ge=1, description="Number of rows.")
    columns: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        description="Positions of the features; 0 for the score of rows without features."
    )
    origins: tuple[float, ...] = Field(description="Lower end of bin 0 of each column.")
    units: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        description="Width of the bins of each column."
    )
    parts: tuple[CoarsePart, ...] = Field(description="The fingerprints by some of the columns.")

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprints as plain JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, data: object, source: str = "report") -> CoarseFingerprints:
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
        n = len(found.columns)
        if not len(found.origins) == len(found.units) == n:
            raise UsageError(f"{source}: columns, origins and units differ in length. {remedy}")
        if any(position >= n for part in found.parts for position in part.columns):
            raise UsageError(f"{source}: a part names a column that is not listed. {remedy}")
        return found

    @property
    def grid(self) -> Grid:
        """The columns and bins."""
        origins, units = np.array(self.origins), np.array(self.units)
        ones = np.ones(len(self.columns))
        return Grid(np.array(self.columns, np.int64), origins, units, ones, ones)


@dataclass(frozen=True)
class _Part:
    """Positions of columns in the grid, whether ids belong to the hash, and what chance explains.

    ``by_chance`` is None if it is the share of tuned rows that equal another one.
    """

    columns: np.ndarray
    ids: bool = False
    by_chance: float | None = None


def fingerprint_coarsely(problem: IdentifiedRows, salt: str) -> CoarseFingerprints | None:
    """Return the coarse fingerprints of a problem's rows; None if rows are not distinguishable.

    Inputs that are not columns of numbers, such as images, have none.
    """
    if problem.features is None and problem.inputs is not None:
        return None
    values, ids = _values(problem), problem.ids
    if problem.features is None:
        grid, parts = _of_scores(values, ids)
        kept = _kept(grid.codes(values), parts, ids, salt)
    else:
        kept = ()
        for steps in STEPS:
            finer = choose_grid(values, steps)
            if finer is None:
                return None
            parts = [_Part(columns) for columns in finer.subsets()]
            found = _kept(finer.codes(values), parts, None, salt)
            if len(found) > len(kept):
                grid, kept = finer, found
            if len(kept) == len(parts):
                break
    if not kept:
        return None
    return CoarseFingerprints(
        salt=salt,
        rows=len(values),
        columns=tuple(grid.columns.tolist()),
        origins=tuple(grid.origins.tolist()),
        units=tuple(grid.units.tolist()),
        parts=kept,
    )


def _of_scores(values: np.ndarray, ids: np.ndarray | None) -> tuple[Grid, list[_Part]]:
    """Return the bins of scores, fine ones and coarse ones, and the parts that use them."""
    units = np.array([SCORE_UNIT, SCORE_UNIT_WITH_ID])
    grid = Grid(np.zeros(2, np.int64), -units / 2, units, np.ones(2), np.ones(2))
    parts = [_Part(np.array([0]))]
    if ids is not None:
        counts = np.unique(grid.codes(values)[:, 1], return_counts=True)[1]
        same = float(((counts / len(values)) ** 2).sum())  # two rows that an id has by chance
        parts.append(_Part(np.array([1]), True, same))
    return grid, parts


def _kept(
    codes: np.ndarray, parts: list[_Part], ids: np.ndarray | None, salt: str
) -> tuple[CoarsePart, ...]:
    """Return the fingerprints of the parts in which few rows are nearly equal by chance."""
    found = []
    for part in parts:
        hashes = _mixed(codes, part.columns, ids if part.ids else None)
        distinct, counts = np.unique(hashes, return_counts=True)
        chance = part.by_chance
        if chance is None:
            chance = float(counts[counts > 1].sum() / counts.sum())
        if chance > MAX_CHANCE:
            continue
        share = min(1.0, TARGET_HASHES / len(distinct))
        salted = np.sort(_salted(in_share(distinct, share), salt))
        found.append(
            CoarsePart(
                columns=tuple(part.columns.tolist()),
                ids=part.ids,
                by_chance=chance,
                share=share,
                hashes=tuple(f"{value:016x}" for value in salted.tolist()),
            )
        )
    return tuple(found)


def coarse_overlaps(tuned: CoarseFingerprints, problem: IdentifiedRows) -> list[Overlap]:
    """Return how many of a problem's rows nearly equal rows that a rule was tuned on, by part.

    An excess over chance that is tolerated counts as none: nearly equal rows are weaker evidence
    than equal ones, and there are several parts.
    """
    values, grid = _values(problem), tuned.grid
    if len(grid.columns) and int(grid.columns.max()) >= values.shape[1]:
        return []
    codes = grid.codes(values)
    return [
        found if found.too_many else replace(found, share_of_rows=min(chance, share))
        for found in _overlaps(tuned, codes, problem.ids)
        for chance, share in [(found.by_chance, found.share_of_rows)]
    ]


def _overlaps(
    tuned: CoarseFingerprints, codes: np.ndarray, ids: np.ndarray | None
) -> Iterator[Overlap]:
    for part in tuned.parts:
        if part.ids and ids is None:
            continue
        hashes = _mixed(codes, np.array(part.columns, np.int64), ids if part.ids else None)
        distinct, counts = np.unique(in_share(hashes, part.share), return_counts=True)
        if not len(distinct):
            continue
        known = np.array([int(value, 16) for value in part.hashes], np.uint64)
        equal = np.isin(_salted(distinct, tuned.salt), known)
        n = int(counts.sum())
        share = float(counts[equal].sum() / n)
        # Equal rows are found together or not at all, so that they are clusters.
        spread = float(((counts * (equal - share)) ** 2).sum())
        binomial = n * share * (1 - share)
        effect = max(1.0, spread / binomial) if binomial > 0 else 1.0
        yield Overlap(share, n, part.by_chance, tuned.rows, effect, nearly=True)


def _values(problem: IdentifiedRows) -> np.ndarray:
    """Return what identifies the rows, (N, D): their features, else their scores."""
    values = problem.scores if problem.features is None else problem.features
    found = values.cpu().numpy()
    return found.reshape(len(found), -1)


def _mixed(codes: np.ndarray, columns: np.ndarray, ids: np.ndarray | None) -> np.ndarray:
    """Return (N,) uint64, a fast hash of some of the bins and of the ids."""
    kept = codes[:, columns]
    if ids is not None:
        hashed = row_hashes((str(each).encode() for each in ids), b"").view(np.int64)
        kept = np.column_stack([kept, hashed])
    # An odd multiplier and a shift spread the hashes evenly over their range.
    mixed = hash_codes(np.ascontiguousarray(kept)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


def _salted(hashes: np.ndarray, salt: str) -> np.ndarray:
    key = hashlib.blake2b(salt.encode()).digest()
    return row_hashes((each.tobytes() for each in hashes.astype("<u8")), key).byteswap()

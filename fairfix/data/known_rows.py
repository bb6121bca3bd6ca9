"""Everything that recognizes rows which a rule was made with, in another table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairfix.data.coarse_fingerprints import (
    CoarseFingerprints,
    coarse_overlaps,
    fingerprint_coarsely,
)
from fairfix.data.row_fingerprints import (
    VERSION,
    IdentifiedRows,
    Overlap,
    RowFingerprints,
    fingerprint_ids,
    fingerprint_rows,
    id_overlap,
    overlap,
)


@dataclass(frozen=True)
class KnownRows:
    """The fingerprints of a table's rows, each None if it cannot tell the rows apart.

    Attributes:
        rows: by features and labels, else by ids.
        ids: by ids and labels.
        values: by coarse values of most columns, or by scores.
    """

    rows: RowFingerprints | None
    ids: RowFingerprints | None
    values: CoarseFingerprints | None

    @classmethod
    def of(cls, rows: IdentifiedRows, salt: str) -> KnownRows:
        """Make the fingerprints of rows; ``salt`` keeps those of two reports from matching."""
        return cls(
            fingerprint_rows(rows, salt),
            fingerprint_ids(rows, salt),
            fingerprint_coarsely(rows, salt),
        )

    @classmethod
    def from_json(cls, report: Mapping[str, Any], source: str) -> KnownRows:
        """Read the fingerprints of a report; those of earlier versions are left out.

        Args:
            report: with the keys of ``to_json``, as far as there are fingerprints.
            source: name of the file, for messages.

        Raises:
            UsageError: names the first value that is wrong.
        """
        rows, ids = (_row_fingerprints(report, key, source) for key in ("tuned_rows", "tuned_ids"))
        values = report.get("tuned_values")
        if values is not None:
            values = CoarseFingerprints.from_json(values, f"{source}, tuned_values")
        return cls(rows, ids, values)

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprints as plain JSON values."""
        return {
            "tuned_rows": self.rows and self.rows.to_json(),
            "tuned_ids": self.ids and self.ids.to_json(),
            "tuned_values": self.values and self.values.to_json(),
        }

    def overlaps(self, rows: IdentifiedRows) -> list[Overlap]:
        """Return how many of these rows are known: by values, by ids, and by most columns."""
        found = []
        if self.rows is not None:
            found.append(overlap(self.rows, rows))
        if self.ids is not None:
            found.append(id_overlap(self.ids, rows))
        if self.values is not None:
            found += coarse_overlaps(self.values, rows)
        return found


def _row_fingerprints(report: Mapping[str, Any], key: str, source: str) -> RowFingerprints | None:
    known = report.get(key)
    if known is None or (isinstance(known, dict) and known.get("version") in range(1, VERSION)):
        return None
    return RowFingerprints.from_json(known, f"{source}, {key}")

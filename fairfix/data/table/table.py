"""The contents of a table: features, labels, groups, weights, scores and ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from fairfix.data.memory_table import TableSource
from fairfix.models.inputs import Inputs


@dataclass(frozen=True)
class Group:
    """The groups of the rows by one protected attribute.

    Attributes:
        column: the group column.
        ids: (N,) int64 in 0..G-1; of two groups, 0 is unprivileged and 1 privileged. -1 for rows
            that count for performance alone; in all columns of a table the same rows.
        names: the names of the G groups.
        unmerged: the groups before all but the reference group, ``names[1]``, were merged; None if
            none were.
    """

    column: str
    ids: np.ndarray
    names: tuple[str, ...]
    unmerged: Group | None = None

    def take(self, rows: np.ndarray) -> Group:
        """Return the groups of a subset of the rows, given by row numbers (M,)."""
        unmerged = None if self.unmerged is None else self.unmerged.take(rows)
        return replace(self, ids=self.ids[rows], unmerged=unmerged)

    def without(self, rows: np.ndarray) -> Group:
        """Return the groups with some rows, (N,) bool, in none."""
        unmerged = None if self.unmerged is None else self.unmerged.without(rows)
        return replace(self, ids=np.where(rows, -1, self.ids), unmerged=unmerged)


@dataclass(frozen=True)
class Table:
    """A table that was read and checked. Arrays have one entry per row, in file order.

    Attributes:
        source, sha256: where the rows come from, and its hash.
        rows: the number of rows, N.
        features: (N, D) float32, C-contiguous, finite; None where scores replace a model, or the
            network takes other inputs.
        feature_names: the D names.
        labels: (N,) int64, 1 = favorable, 0 = unfavorable; None where they are not required and
            missing or unusable.
        groups: the protected attributes; the first is the one debiased.
        favorable: the favorable label value, as written in the table; several in a list with
            commas.
        label_values: all label values as written, in natural order.
        ids: (N,) object array of str.
        weights: (N,) float64, finite and not negative.
        scores: (N,) float64 in [0, 1].
        notes: what was inferred or left out, for the user.
        clusters: (N,) int64; rows with the same number are not independent. None if all are.
        repeats: a warning of rows that equal each other, without a full stop; "" if none do.
        other_inputs: what the network takes that is not one matrix of numbers; None if it is one.
        file_rows: (N,) int64 numbers of the rows in the file, if some of it were left out.
        label_codes: (N,) int64 positions in ``label_values``; None without ``labels``.
        input_sha256: hashes of files that inputs were read from, by the name of the input.
    """

    source: TableSource
    sha256: str
    rows: int
    features: np.ndarray | None
    feature_names: tuple[str, ...]
    labels: np.ndarray | None
    groups: tuple[Group, ...]
    favorable: str
    label_values: tuple[str, ...]
    ids: np.ndarray | None
    weights: np.ndarray | None
    scores: np.ndarray | None
    notes: tuple[str, ...]
    clusters: np.ndarray | None = None
    repeats: str = ""
    other_inputs: Inputs | None = None
    file_rows: np.ndarray | None = None
    label_codes: np.ndarray | None = None
    input_sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the file, or what the rows in memory are."""
        return self.source.name

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that the rows come from, if they do."""
        return (self.source,) if isinstance(self.source, Path) else ()

    @property
    def inputs(self) -> Inputs | None:
        """What the network takes for the rows; None where scores replace a model."""
        if self.features is None:
            return self.other_inputs
        return Inputs.of(torch.from_numpy(self.features))

    @property
    def group_names(self) -> dict[str, tuple[str, ...]]:
        """The group names by column, with which a second table gets the same group ids."""
        return {group.column: group.names for group in self.groups}

    @property
    def grouped(self) -> Table:
        """The rows with a group; the table itself if all have one."""
        known = np.all([group.ids >= 0 for group in self.groups], axis=0)
        return self if known.all() else self.take(known)

    def take(self, index: np.ndarray) -> Table:
        """Return a subset of the rows, given by row numbers (M,) or a mask (N,), in its order."""
        rows, others = np.arange(self.rows)[index], self.other_inputs

        def subset(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            rows=len(rows),
            features=subset(self.features),
            labels=subset(self.labels),
            groups=tuple(group.take(rows) for group in self.groups),
            ids=subset(self.ids),
            weights=subset(self.weights),
            scores=subset(self.scores),
            clusters=subset(self.clusters),
            other_inputs=None if others is None else others.take(torch.from_numpy(rows)),
            file_rows=subset(self.file_rows),
            label_codes=subset(self.label_codes),
        )

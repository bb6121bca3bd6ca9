"""Reading a table: from a path and the meaning of its columns to a checked ``Table``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from fairfix.data.table.cell_values import counted
from fairfix.data.table.collect import Cells, Roles, gather
from fairfix.data.table.columns import Columns, Header
from fairfix.data.table.features import Encoder, choose_encoder
from fairfix.data.table.groups import GroupRules, code_group
from fairfix.data.table.labels import Labels, code_labels
from fairfix.data.table.open_table import open_source, sha256_of
from fairfix.data.table.table import Group, Table
from fairfix.errors import TableError, UsageError


def read_table(
    path: str | PathLike[str],
    columns: Columns,
    *,
    spec: Encoder | None = None,
    require_labels: bool = True,
    require_groups: bool = True,
    label_values: Sequence[str] | None = None,
    group_names: Mapping[str, Sequence[str]] | None = None,
    expected_features: int | None = None,
) -> Table:
    """Read and check a table (.csv, .csv.gz or .parquet).

    ``spec`` encodes raw columns, unless ``columns.features`` names the inputs themselves;
    ``expected_features`` is how many inputs the network takes. ``label_values`` and
    ``group_names`` (by column) of an earlier ``Table`` keep its coding and refuse values that it
    never had. Labels or groups that are not required are left out where the column is absent,
    and with a note where it cannot be used; where labels are not required, one group is enough.
    Features are None when ``columns.score`` is set and nothing asks for features.

    Raises ``TableError`` when the file cannot be read or its contents do not allow this, and
    ``UsageError`` when a column has two roles.
    """
    path = Path(path)
    source = open_source(path)
    header = source.header
    roles = _roles(header, columns, require_labels, require_groups)
    encoder, feature_notes = choose_encoder(header, columns, spec, expected_features)
    cells = gather(source, roles, encoder)
    labels, label_notes = _labels(cells, roles, columns, label_values, require_labels)
    rules = [
        GroupRules(
            privileged=None if place else columns.privileged,
            known=(group_names or {}).get(name),
            keep_missing=columns.missing_group == "keep",
            one_is_enough=not require_labels,
        )
        for place, name in enumerate(roles.groups)
    ]
    groups, group_notes = _groups(cells, roles, rules, labels, require_groups)
    return Table(
        path=path,
        sha256=sha256_of(path),
        rows=cells.rows,
        features=cells.features,
        feature_names=() if encoder is None else encoder.names,
        labels=None if labels is None else labels.labels,
        groups=groups,
        favorable=(columns.favorable or "1") if labels is None else labels.favorable,
        label_values=tuple(label_values or ()) if labels is None else labels.names,
        ids=cells.ids,
        weights=cells.weights,
        scores=cells.scores,
        notes=(*feature_notes, *label_notes, *group_notes, *_id_notes(cells.ids, roles.id)),
    )


def _roles(header: Header, columns: Columns, require_labels: bool, require_groups: bool) -> Roles:
    """Return the columns to read. Raises ``TableError`` when one that is needed is not there."""
    if require_groups and not columns.groups:
        raise UsageError("Name the column of the protected attribute with --group.")
    optional = {columns.label} if not require_labels else set()
    optional |= set(columns.groups) if not require_groups else set()
    for option, name in columns.roles():
        if name not in optional:
            header.require([name], option)
    return Roles(
        label=columns.label if columns.label in header else None,
        groups=tuple(name for name in columns.groups if name in header),
        id=columns.id,
        weight=columns.weight,
        score=columns.score,
    )


def _labels(
    cells: Cells,
    roles: Roles,
    columns: Columns,
    known: Sequence[str] | None,
    required: bool,
) -> tuple[Labels | None, tuple[str, ...]]:
    if roles.label is None:
        return None, ()
    try:
        labels = code_labels(cells.values[roles.label], columns.favorable, known)
    except TableError as error:
        if required:
            raise
        return None, (f"labels are left out: {error}",)
    return labels, labels.notes


def _groups(
    cells: Cells,
    roles: Roles,
    rules: Sequence[GroupRules],
    labels: Labels | None,
    required: bool,
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    known_labels = None if labels is None else labels.labels
    try:
        coded = [
            code_group(cells.values[name], rule, known_labels, cells.weights)
            for name, rule in zip(roles.groups, rules, strict=True)
        ]
    except TableError as error:
        if required:
            raise
        return (), (f"groups are left out: {error}",)
    return tuple(group for group, _ in coded), tuple(note for _, notes in coded for note in notes)


def _id_notes(ids: np.ndarray | None, column: str | None) -> tuple[str, ...]:
    repeated = 0 if ids is None else len(ids) - len(set(ids))
    if not repeated:
        return ()
    rows = counted(repeated, "row repeats", "rows repeat")
    return (f"id {column!r}: {rows} the id of an earlier row",)

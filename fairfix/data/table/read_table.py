"""Read a table: from a path and the roles of its columns to a checked ``Table``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fairfix._utils.text import did_you_mean, plural
from fairfix.data.clusters import (
    INDEPENDENT,
    Clustering,
    equal_inputs,
    find_clusters,
    scores_again,
)
from fairfix.data.inputs import InputOptions
from fairfix.data.memory_table import TableSource
from fairfix.data.table.columns import Columns, Header
from fairfix.data.table.features import (
    Encoder,
    InputsEncoder,
    check_spec_columns,
    choose_encoder,
)
from fairfix.data.table.groups import GroupOptions, encode_group, only_complete
from fairfix.data.table.labels import EncodedLabels, encode_labels
from fairfix.data.table.open_table import open_table, sha256_of
from fairfix.data.table.read_columns import ColumnData, ColumnRoles, read_columns, take_rows
from fairfix.data.table.table import Group, Table
from fairfix.errors import TableError, UsageError
from fairfix.models.inputs import Inputs, TensorPart

_MAX_WIDTH = 1000  # of inputs that are searched for copies


def read_table(
    source: TableSource,
    columns: Columns,
    *,
    spec: Encoder | InputsEncoder | None = None,
    input_options: InputOptions | None = None,
    require_labels: bool = True,
    allow_no_labels: bool = False,
    require_groups: bool = True,
    read_labels: bool = True,
    read_groups: bool = True,
    label_values: Sequence[str] | None = None,
    group_names: Mapping[str, Sequence[str]] | None = None,
    expected_features: int | None = None,
) -> Table:
    """Read and check a table: a file (.csv, .csv.gz or .parquet), or one in memory.

    Args:
        spec: encodes raw columns, unless ``columns.features`` names the inputs. Features are None
            if ``columns.score`` is set and nothing asks for features.
        input_options: how the files that the table names are read.
        require_labels: whether labels are needed. Otherwise they are left out if the column is
            missing, and with a note if it cannot be used; one group is enough then.
        allow_no_labels: lets the table lack the label column, unless another has a similar name, or
            its values, with a note; labels that cannot be used are still an error.
        require_groups: whether groups are needed; otherwise as for ``require_labels``.
        read_labels, read_groups: whether they are read; otherwise their columns are only known not
            to be features.
        label_values: those of an earlier ``Table``, whose encoding is kept; other values are
            refused.
        group_names: by column, likewise.
        expected_features: the number of inputs of the network.

    Raises:
        TableError: the file cannot be read, or its contents do not allow this.
        UsageError: a column has two roles, or no group column is named.
    """
    reader = open_table(source)
    header = reader.header
    no_labels = allow_no_labels and _lacks_labels(header, columns)
    roles = _find_roles(header, columns, require_labels and not no_labels, require_groups)
    roles = replace(
        roles,
        label=roles.label if read_labels else None,
        groups=roles.groups if read_groups else (),
    )
    builder, encoder = None, None
    feature_notes: tuple[str, ...] = ()
    if isinstance(spec, InputsEncoder) and columns.features is None:
        check_spec_columns(header, columns, spec.columns)
        builder = spec.start(source, input_options or InputOptions())
    else:
        matrix = None if isinstance(spec, InputsEncoder) else spec
        encoder, feature_notes = choose_encoder(header, columns, matrix, expected_features)
    data = read_columns(reader, roles, encoder, builder)
    data, labeled, target_notes = _of_target(data, roles, columns)
    inputs = data.inputs
    if allow_no_labels and roles.label is not None and not data.categorical[roles.label].values:
        roles, no_labels = replace(roles, label=None), True
    labels, label_notes = _labels(data, roles, columns, label_values, require_labels)
    if no_labels:
        label_notes = (
            f"without {'values in' if columns.label in header else 'a column'} {columns.label!r}, "
            "figures that need labels are undefined; name the label column with --label",
        )
    options = [
        GroupOptions(
            privileged=None if position else columns.privileged,
            reference=None if position else columns.reference,
            known=(group_names or {}).get(name),
            missing=columns.missing_group,
            allow_one_group=not require_labels,
            infer_privileged=read_labels,
        )
        for position, name in enumerate(roles.groups)
    ]
    groups, group_notes = _groups(data, roles, options, labels, require_groups)
    found = _clusters(data, labels) if require_groups else INDEPENDENT
    return Table(
        source=source,
        sha256=sha256_of(source),
        rows=data.rows,
        features=data.features,
        feature_names=() if encoder is None else encoder.names,
        labels=None if labels is None else labels.labels,
        groups=groups,
        favorable=(columns.favorable or "1") if labels is None else labels.favorable,
        label_codes=None if labels is None else labels.codes,
        label_values=tuple(label_values or ()) if labels is None else labels.values,
        ids=data.ids,
        weights=data.weights,
        scores=data.scores,
        notes=(
            *reader.notes,
            *feature_notes,
            *(() if inputs is None else inputs.notes),
            *target_notes,
            *label_notes,
            *group_notes,
            *_id_notes(data.ids, roles.id),
            *((found.note,) if roles.cluster is not None and found.note else ()),
        ),
        clusters=found.codes,
        repeats=found.note if found.warns else "",
        other_inputs=None if inputs is None else inputs.inputs,
        file_rows=labeled if inputs is None else inputs.kept,
        input_sha256={} if inputs is None else inputs.sha256,
    )


def _of_target(
    data: ColumnData, roles: ColumnRoles, columns: Columns
) -> tuple[ColumnData, np.ndarray | None, tuple[str, ...]]:
    """Return the rows that have the label, their numbers, and a note, if one of several is read.

    All rows stay if none has it.
    """
    if not columns.targets or roles.label is None:
        return data, None, ()
    labeled = np.flatnonzero(data.categorical[roles.label].codes >= 0)
    left_out = data.rows - len(labeled)
    if left_out in (0, data.rows):
        return data, None, ()
    rows = plural(left_out, "row", "rows")
    note = f"label {roles.label!r}: {rows} without a value are left out for this label"
    return take_rows(data, labeled), labeled, (note,)


def _clusters(data: ColumnData, labels: EncodedLabels | None) -> Clustering:
    """Return the clusters of rows, which evidence on groups needs."""
    known = np.zeros(data.rows, np.int64) if labels is None else labels.labels
    values = data.features if data.inputs is None else _matrix(data.inputs.inputs)
    found = find_clusters(data.clusters, data.ids, values, known)
    if data.inputs is not None and values is None and data.clusters is None and not found.note:
        return equal_inputs(data.inputs.inputs.digests(), known, copies=data.inputs.measured)
    alone = data.clusters is None and data.ids is None and values is None
    return scores_again(data.scores, known) if alone and data.scores is not None else found


def _matrix(inputs: Inputs) -> np.ndarray | None:
    """Return inputs that are a few numbers a row side by side, (N, D) float32; else None."""
    parts = [part.values for part in inputs.parts if isinstance(part, TensorPart)]
    width = sum(math.prod(values.shape[1:]) for values in parts)
    if len(parts) < len(inputs.parts) or width > _MAX_WIDTH:
        return None
    return np.hstack([values.reshape(len(inputs), -1).float().numpy() for values in parts])


def _find_roles(
    header: Header, columns: Columns, require_labels: bool, require_groups: bool
) -> ColumnRoles:
    """Return the columns to read. Raises ``TableError`` if a required one is missing."""
    if require_groups and not columns.groups:
        raise UsageError("No group column is named; name the column of the protected attribute.")
    optional = {columns.label, *columns.targets} if not require_labels else set()
    optional |= set(columns.groups) if not require_groups else set()
    optional |= {str(columns.cluster)} if not require_labels else set()
    for role, name in columns.roles():
        if name not in optional:
            header.require([name], role)
    return ColumnRoles(
        label=columns.label if columns.label in header else None,
        groups=tuple(name for name in columns.groups if name in header),
        id=columns.id,
        weight=columns.weight,
        score=columns.score,
        cluster=columns.cluster if columns.cluster in header else None,
    )


def _lacks_labels(header: Header, columns: Columns) -> bool:
    """Return whether the table has neither the label column nor one of a similar name."""
    if columns.label in header:
        return False
    taken = {name for _, name in columns.roles()} | {*columns.ignore, *(columns.features or ())}
    return not did_you_mean(columns.label, set(header.names) - taken, "")


def _labels(
    data: ColumnData,
    roles: ColumnRoles,
    columns: Columns,
    known: Sequence[str] | None,
    required: bool,
) -> tuple[EncodedLabels | None, tuple[str, ...]]:
    if roles.label is None:
        return None, ()
    try:
        labels = encode_labels(
            data.categorical[roles.label], columns.favorable, columns.unfavorable, known
        )
    except TableError as error:
        if required:
            raise
        return None, (f"labels are left out: {error}",)
    return labels, labels.notes


def _groups(
    data: ColumnData,
    roles: ColumnRoles,
    options: Sequence[GroupOptions],
    labels: EncodedLabels | None,
    required: bool,
) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    known_labels = None if labels is None else labels.labels
    try:
        encoded = [
            encode_group(data.categorical[name], each, known_labels, data.weights)
            for name, each in zip(roles.groups, options, strict=True)
        ]
    except TableError as error:
        if required:
            raise
        return (), (f"groups are left out: {error}",)
    notes = tuple(note for _, notes in encoded for note in notes)
    if not encoded:
        return (), notes
    groups, unknown = only_complete([group for group, _ in encoded])
    return groups, (*notes, *unknown)


def _id_notes(ids: np.ndarray | None, column: str | None) -> tuple[str, ...]:
    repeated = 0 if ids is None else len(ids) - len(set(ids))
    if not repeated:
        return ()
    rows = plural(repeated, "row repeats", "rows repeat")
    return (f"id {column!r}: {rows} the id of an earlier row",)

"""Encode a group column as group ids, and infer which of two groups is privileged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairfix._utils.text import did_you_mean, plural, quoted_list
from fairfix.data.table.categorical_column import CategoricalColumn
from fairfix.data.table.cell_values import comparison_key, equal_values, spelling_key
from fairfix.data.table.columns import MissingGroup
from fairfix.data.table.table import Group
from fairfix.errors import TableError

MISSING_GROUP = "(missing)"

MIN_MEAN_ROWS = 5
"""Fewest rows a group, on average, in a column of more than ``FEW_GROUPS`` groups."""

FEW_GROUPS = 12


def only_complete(groups: Sequence[Group]) -> tuple[tuple[Group, ...], tuple[str, ...]]:
    """Return the groups without rows that lack the value of any column, and a note on those."""
    lacks = np.any([group.ids < 0 for group in groups], axis=0)
    if not lacks.any():
        return tuple(groups), ()
    columns = " or ".join(repr(group.column) for group in groups)
    rows = plural(int(lacks.sum()), "row", "rows")
    note = f"{rows} without a value of {columns} count for performance alone, not for gaps"
    return tuple(group.without(lacks) for group in groups), (note,)


def others_name(reference: str) -> str:
    """Return the name of the group of all rows that are not in the reference group."""
    return f"not {reference}"


def merged_reference(names: Sequence[str]) -> str | None:
    """Return the reference group if these are the names of all others and of it."""
    return names[1] if len(names) == 2 and names[0] == others_name(names[1]) else None


@dataclass(frozen=True)
class GroupOptions:
    """How to encode one group column.

    Attributes:
        privileged: the privileged value; None infers it.
        reference: the privileged value, compared with all others as one group.
        known: the group names of an earlier table, whose ids are kept.
        missing: rows without a value are an error, a group, or have the group -1, which counts
            for performance alone.
        allow_one_group: whether a single group is enough, where no gap is measured.
        infer_privileged: whether one of two groups is inferred to be privileged, and noted.
    """

    privileged: str | None = None
    reference: str | None = None
    known: Sequence[str] | None = None
    missing: MissingGroup = "error"
    allow_one_group: bool = False
    infer_privileged: bool = True


def encode_group(
    column: CategoricalColumn,
    options: GroupOptions,
    labels: np.ndarray | None,
    weights: np.ndarray | None,
) -> tuple[Group, tuple[str, ...]]:
    """Return the group of each row, and notes on what was inferred.

    With a reference group there are two groups: all others, and that one. Of two groups the
    privileged one is, in this order: the one named, 1 where the other is 0, the one with the higher
    favorable base rate.

    Args:
        labels: (N,) 0/1, for the base rates.
        weights: (N,) row weights, for the base rates.

    Raises:
        TableError: a value is missing or unknown, two values differ only in spelling, or the
            column has only one group, or so many that it looks like an identifier.
    """
    column.refuse_twins()
    column, notes = _with_missing_group(column, options.missing)
    if len(column.values) < 2 and not options.allow_one_group:
        raise TableError(
            f"{column.place} has only the value {quoted_list(column.values)}; a fairness gap needs "
            "at least two groups."
        )
    reference = None if options.known is None else merged_reference(options.known)
    if reference is None and options.reference is not None and len(column.values) > 2:
        reference = _find(column, options.reference, "reference group")
    unmerged = None
    if reference is not None:
        if len(column.values) > 2:
            unmerged = Group(column.column, column.codes, column.values)
        column, note = _merge_others(column, reference)
        notes += note
    if options.known is not None:
        ids = column.codes_into(options.known)
        return Group(column.column, ids, tuple(options.known), unmerged), notes
    _check_not_identifier(column)
    if len(column.values) == 2 and options.infer_privileged:
        privileged = options.privileged or options.reference
        names, note = _order_two_groups(column, privileged, labels, weights)
        notes += note
    else:
        names = column.values
    if len(names) > 2:
        _refuse_privileged_of_many(column, options.privileged)
    return Group(column.column, column.codes_into(names), names, unmerged), notes


def _with_missing_group(
    column: CategoricalColumn, treatment: MissingGroup
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    missing = column.missing_message()
    if missing is None or treatment == "performance-only":
        return column, ()
    if treatment == "error":
        raise TableError(
            f"{missing}; remove these rows, or set missing_group to 'keep' to make them a group, "
            "or to 'performance-only' to leave them out of gaps."
        )
    same = [text for text in column.values if spelling_key(text) == spelling_key(MISSING_GROUP)]
    if same:
        raise TableError(
            f"{missing}, and others have the value {same[0]!r}, the name of the group that rows "
            "without a value form; rename that value."
        )
    codes = np.where(column.codes < 0, len(column.values), column.codes)
    completed = replace(column, codes=codes, values=(*column.values, MISSING_GROUP))
    rows = plural(int((column.codes < 0).sum()), "row", "rows")
    note = f"group {column.column!r}: {rows} without a value form the group {MISSING_GROUP!r}"
    return completed, (note,)


def _check_not_identifier(column: CategoricalColumn) -> None:
    rows, groups = int((column.codes >= 0).sum()), len(column.values)
    if groups > FEW_GROUPS and rows < MIN_MEAN_ROWS * groups:
        raise TableError(
            f"{column.place} has {groups:,} values in {rows:,} rows, fewer than {MIN_MEAN_ROWS} "
            "rows a group on average; put values into bins, or name another column with --group."
        )


def _merge_others(
    column: CategoricalColumn, reference: str
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    """Return the column with one group of all others and the reference group, and a note."""
    is_reference = np.array([equal_values(value, reference) for value in column.values])
    names = (others_name(reference), reference)
    codes = np.append(is_reference.astype(np.int64), -1)[column.codes]
    merged = replace(column, codes=codes, values=names)
    others = [v for v, same in zip(column.values, is_reference, strict=True) if not same]
    note = f"group {column.column!r}: {quoted_list(others)} form the group {names[0]!r}"
    return merged, (note,) if len(others) > 1 else ()


def _find(column: CategoricalColumn, value: str, role: str) -> str:
    name = column.find(value)
    if name is None:
        raise TableError(
            f"{column.place} has no value {value!r} ({role}){did_you_mean(value, column.values)} "
            f"Its values: {quoted_list(column.values)}."
        )
    return name


def _refuse_privileged_of_many(column: CategoricalColumn, privileged: str | None) -> None:
    if privileged is None or len(column.values) < 2:
        return
    name = _find(column, privileged, "privileged group")
    raise TableError(
        f"{column.place} has {len(column.values)} groups, between which a gap is the largest rate "
        f"minus the smallest, whichever is privileged. Use --reference {name!r} to compare that "
        "group with all others together, or leave out --privileged."
    )


def _order_two_groups(
    column: CategoricalColumn,
    privileged: str | None,
    labels: np.ndarray | None,
    weights: np.ndarray | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the two names, unprivileged first, and a note if that was inferred."""
    first, second = column.values
    if privileged is not None:
        return _with_last(column, _find(column, privileged, "privileged group")), ()
    if [comparison_key(first), comparison_key(second)] == ["0", "1"]:
        return column.values, ()
    if labels is None:
        note = (
            f"group {column.column!r}: without labels the privileged group cannot be inferred; "
            f"{second!r} is used"
        )
        return column.values, (note,)
    one, other = (_base_rate(labels, weights, column.codes == code) for code in (0, 1))
    chosen, high, low = (first, one, other) if one > other else (second, other, one)
    reason = "is higher" if high > low else "is not lower"
    note = (
        f"group {column.column!r}: {chosen!r} is taken as privileged because its favorable base "
        f"rate {reason} ({high:.3g} vs. {low:.3g})"
    )
    return _with_last(column, chosen), (note,)


def _with_last(column: CategoricalColumn, name: str) -> tuple[str, ...]:
    return (*(other for other in column.values if other != name), name)


def _base_rate(labels: np.ndarray, weights: np.ndarray | None, rows: np.ndarray) -> float:
    """Return the weighted share of favorable labels, NaN if the weights of the rows are 0."""
    weight = np.ones(len(labels)) if weights is None else weights
    total = float(weight[rows].sum())
    return float(weight[rows] @ labels[rows]) / total if total > 0 else float("nan")

"""Encode a group column as group ids, and infer which of two groups is privileged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairfix._utils.text import did_you_mean, plural, quoted_list
from fairfix.data.table.categorical_column import CategoricalColumn
from fairfix.data.table.cell_values import comparison_key, spelling_key
from fairfix.data.table.table import Group
from fairfix.errors import TableError

MISSING_GROUP = "(missing)"

MIN_MEAN_ROWS = 5
"""Fewest rows a group, on average, in a column of more than ``FEW_GROUPS`` groups."""

FEW_GROUPS = 12


@dataclass(frozen=True)
class GroupOptions:
    """How to encode one group column.

    Attributes:
        privileged: the privileged value; None infers it.
        known: the group names of an earlier table, whose ids are kept.
        keep_missing: whether rows without a value are a group, rather than an error.
        allow_one_group: whether a single group is enough, where no gap is measured.
    """

    privileged: str | None = None
    known: Sequence[str] | None = None
    keep_missing: bool = False
    allow_one_group: bool = False


def encode_group(
    column: CategoricalColumn,
    options: GroupOptions,
    labels: np.ndarray | None,
    weights: np.ndarray | None,
) -> tuple[Group, tuple[str, ...]]:
    """Return the group of each row, and notes on what was inferred.

    Of two groups the privileged one is, in this order: the one named, the value 1 beside 0, the
    one with the higher favorable base rate.

    Args:
        labels: (N,) 0/1, for the base rates.
        weights: (N,) row weights, for the base rates.

    Raises:
        TableError: a value is missing or unknown, two values differ only in spelling, or the
            column has only one group, or so many that it looks like an identifier.
    """
    column.refuse_twins()
    column, notes = _with_missing_group(column, options.keep_missing)
    if len(column.values) < 2 and not options.allow_one_group:
        raise TableError(
            f"{column.place} has only the value {quoted_list(column.values)}; a fairness gap needs "
            "at least two groups."
        )
    if options.known is not None:
        return Group(column.column, column.codes_into(options.known), tuple(options.known)), notes
    _check_not_identifier(column)
    if len(column.values) == 2:
        names, note = _order_two_groups(column, options.privileged, labels, weights)
        notes += note
    else:
        names = column.values
        notes += _note_unused_privileged(column, options.privileged)
    return Group(column.column, column.codes_into(names), names), notes


def _with_missing_group(
    column: CategoricalColumn, keep: bool
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    missing = column.missing_message()
    if missing is None:
        return column, ()
    if not keep:
        raise TableError(
            f"{missing}; remove these rows, or set missing_group to 'keep' to make them a group."
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
    rows, groups = len(column.codes), len(column.values)
    if groups > FEW_GROUPS and rows < MIN_MEAN_ROWS * groups:
        raise TableError(
            f"{column.place} has {groups:,} values in {rows:,} rows, fewer than {MIN_MEAN_ROWS} "
            "rows a group on average; put values into bins, or name another column with --group."
        )


def _find_privileged(column: CategoricalColumn, privileged: str) -> str:
    name = column.find(privileged)
    if name is None:
        raise TableError(
            f"{column.place} has no value {privileged!r} (privileged group)"
            f"{did_you_mean(privileged, column.values)} Its values: {quoted_list(column.values)}."
        )
    return name


def _note_unused_privileged(column: CategoricalColumn, privileged: str | None) -> tuple[str, ...]:
    if privileged is None or len(column.values) < 2:
        return ()
    name = _find_privileged(column, privileged)
    return (
        f"group {column.column!r}: with {len(column.values)} groups each gap is the largest rate "
        f"minus the smallest, so naming {name!r} as privileged has no effect",
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
        return _with_last(column, _find_privileged(column, privileged)), ()
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

"""From the values of a group column to group ids, and which of two groups is privileged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairfix.data.table.category_codes import Values
from fairfix.data.table.cell_values import counted, listed, meaning
from fairfix.data.table.table import Group
from fairfix.errors import TableError

MISSING_GROUP = "(missing)"


@dataclass(frozen=True)
class GroupRules:
    """How to read one group column.

    ``privileged`` as the user named it; ``known`` the names of an earlier table, whose coding is
    kept; ``keep_missing`` makes rows without a value a group; ``one_is_enough`` where nothing is
    compared.
    """

    privileged: str | None = None
    known: Sequence[str] | None = None
    keep_missing: bool = False
    one_is_enough: bool = False


def code_group(
    values: Values, rules: GroupRules, labels: np.ndarray | None, weights: np.ndarray | None
) -> tuple[Group, tuple[str, ...]]:
    """Return the group and what was inferred.

    ``labels`` and ``weights`` (N,) tell two groups apart when nothing else does. Raises
    ``TableError`` for missing or unknown values and for a column of one group only.
    """
    values, notes = _with_missing(values, rules.keep_missing)
    if len(values.names) < 2 and not rules.one_is_enough:
        raise TableError(
            f"{values.place} holds only {listed(values.names)}: at least two groups are needed."
        )
    if rules.known is not None:
        names = tuple(rules.known)
    elif len(values.names) == 2:
        names, note = _two(values, rules.privileged, labels, weights)
        notes += note
    else:
        names = values.names
        notes += _many(values, rules.privileged)
    return Group(values.column, values.codes_into(names), names), notes


def _with_missing(values: Values, keep: bool) -> tuple[Values, tuple[str, ...]]:
    missing = values.missing()
    if missing is None:
        return values, ()
    if not keep:
        raise TableError(
            f"{missing}: remove such rows or make them a group of their own with "
            "--missing-group keep."
        )
    codes = np.where(values.codes < 0, len(values.names), values.codes)
    settled = replace(values, codes=codes, names=(*values.names, MISSING_GROUP))
    without = counted(int((values.codes < 0).sum()), "row", "rows")
    note = f"group {values.column!r}: {without} without a value make up {MISSING_GROUP!r}"
    return settled, (note,)


def _named(values: Values, privileged: str) -> str:
    name = values.find(privileged)
    if name is None:
        raise TableError(
            f"{values.place} has no value {privileged!r} (--privileged): it holds "
            f"{listed(values.names)}."
        )
    return name


def _many(values: Values, privileged: str | None) -> tuple[str, ...]:
    if privileged is None or len(values.names) < 2:
        return ()
    return (
        f"group {values.column!r}: with {len(values.names)} groups every gap is the largest minus "
        f"the smallest, and --privileged {_named(values, privileged)} changes nothing",
    )


def _two(
    values: Values,
    privileged: str | None,
    labels: np.ndarray | None,
    weights: np.ndarray | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the two names, unprivileged first, and a note when that was inferred."""
    first, second = values.names
    if privileged is not None:
        return _last(values, _named(values, privileged)), ()
    if [meaning(first), meaning(second)] == ["0", "1"]:
        return values.names, ()
    if labels is None:
        note = f"group {values.column!r}: no privileged group is known; {second!r} stands for it"
        return values.names, (note,)
    one, other = (_share(labels, weights, values.codes == code) for code in (0, 1))
    chosen, high, low = (first, one, other) if one > other else (second, other, one)
    reason = "is higher" if high > low else "is no lower"
    note = (
        f"group {values.column!r}: {chosen!r} is taken as privileged because its favorable share "
        f"{reason} ({high:.3g} against {low:.3g})"
    )
    return _last(values, chosen), (note,)


def _last(values: Values, name: str) -> tuple[str, ...]:
    return (*(other for other in values.names if other != name), name)


def _share(labels: np.ndarray, weights: np.ndarray | None, rows: np.ndarray) -> float:
    """Return the weighted share of favorable labels, NaN where the rows weigh nothing."""
    weight = np.ones(len(labels)) if weights is None else weights
    total = float(weight[rows].sum())
    return float(weight[rows] @ labels[rows]) / total if total > 0 else float("nan")

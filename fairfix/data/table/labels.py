"""Encode the label column as 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairfix._utils.name_list import joined_names, split_names
from fairfix._utils.text import did_you_mean, quoted_list
from fairfix.data.table.categorical_column import CategoricalColumn
from fairfix.data.table.cell_values import equal_values
from fairfix.errors import TableError

#: As the unfavorable value: every label value other than the favorable one.
ALL_OTHERS = "others"


@dataclass(frozen=True)
class EncodedLabels:
    """The labels of the rows.

    Attributes:
        labels: (N,) int64, 1 = favorable.
        favorable: the favorable value, as written in the table; several as ``joined_names``.
        values: all values as written, in natural order.
        notes: what the user should know.
        codes: (N,) int64 positions in ``values``.
    """

    labels: np.ndarray
    favorable: str
    values: tuple[str, ...]
    notes: tuple[str, ...]
    codes: np.ndarray


def encode_labels(
    column: CategoricalColumn,
    favorable: str | None,
    unfavorable: Sequence[str],
    known: Sequence[str] | None,
) -> EncodedLabels:
    """Encode the label column.

    Args:
        favorable: the favorable value, or several as ``split_names`` reads them; None means 1.
        unfavorable: the unfavorable values, or "others"; () if there are only two values, or all
            others of several favorable ones.
        known: the values of an earlier table, if there is one; all others are unfavorable.

    Raises:
        TableError: a value is missing or unknown, two values differ only in spelling, there is
            only one value, or it is not clear which ones are favorable and unfavorable.
    """
    column.refuse_twins()
    missing = column.missing_message()
    if missing:
        raise TableError(f"{missing}; add the labels or remove the rows.")
    if len(column.values) < 2:
        raise TableError(
            f"{column.place} has only the value {quoted_list(column.values)}; rows of both "
            "outcomes are needed."
        )
    values = column.values if known is None else tuple(known)
    chosen = _favorable_values(column.place, values, favorable, known is not None)
    if known is None:
        _check_unfavorable(column.place, values, chosen, unfavorable)
    places = [values.index(value) for value in chosen]
    codes = column.codes_into(values)
    labels = np.isin(codes, places).astype(np.int64)
    notes: tuple[str, ...] = ()
    if len(values) > 2:
        others = [value for value in values if value not in chosen]
        notes = (f"label {column.column!r}: {quoted_list(others)} count as unfavorable",)
    return EncodedLabels(labels, joined_names(chosen, values), values, notes, codes)


def favorable_among(favorable: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return the values that a text names, in their order; () if it names any other.

    Args:
        favorable: one of the values, or several as ``split_names`` reads them.
    """
    if any(equal_values(value, favorable) for value in values):
        wanted: tuple[str, ...] = (favorable,)
    else:
        wanted = split_names(favorable)
    found = tuple(value for value in values if any(equal_values(value, w) for w in wanted))
    known = all(any(equal_values(value, w) for value in values) for w in wanted)
    return found if known else ()


def _favorable_values(
    place: str, values: tuple[str, ...], favorable: str | None, known: bool
) -> tuple[str, ...]:
    wanted = "1" if favorable is None else favorable
    match = favorable_among(wanted, values)
    if favorable is None and (len(values) > 2 or not match):
        if len(values) > 2:
            raise TableError(_undecided(place, values))
        raise TableError(
            f"{place} has the values {quoted_list(values)}; set favorable to one of them."
        )
    if not match and known:
        raise TableError(
            f"The favorable value {wanted!r} is not among the label values that are known from the "
            f"rule or the other table, {quoted_list(values)}; name one of them."
        )
    if not match:
        raise TableError(
            f"{place} has no value {wanted!r} (favorable value){did_you_mean(wanted, values)} Its "
            f"values: {quoted_list(values)}."
        )
    if len(match) == len(values) > 1:
        raise TableError(
            f"{place} has the values {quoted_list(values)}, and all of them are named favorable; "
            "leave one out."
        )
    return match


def _check_unfavorable(
    place: str, values: tuple[str, ...], favorable: Sequence[str], unfavorable: Sequence[str]
) -> None:
    """Raise ``TableError`` unless every value that is not favorable is unfavorable."""
    others = [value for value in values if value not in favorable]
    if len(favorable) > 1 and not unfavorable:
        return
    named = []
    for wanted in unfavorable:
        match = next((value for value in others if equal_values(value, wanted)), None)
        if match is None and wanted == ALL_OTHERS:
            return
        if match is None:
            raise TableError(
                f"{place} has no value {wanted!r} (unfavorable value)"
                f"{did_you_mean(wanted, others)} Its other values: {quoted_list(others)}."
            )
        named.append(match)
    rest = [value for value in others if value not in named]
    if rest and (named or len(values) > 2):
        raise TableError(_undecided(place, values))


def _undecided(place: str, values: tuple[str, ...]) -> str:
    return (
        f"{place} has the values {quoted_list(values)}; name the favorable one with --favorable "
        f"and those that count as unfavorable with --unfavorable, where {ALL_OTHERS!r} takes all "
        "the others."
    )

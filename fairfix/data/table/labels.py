"""Encode the label column as 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
        favorable: the favorable value, as written in the table.
        values: all values as written, in natural order.
        notes: what the user should know.
    """

    labels: np.ndarray
    favorable: str
    values: tuple[str, ...]
    notes: tuple[str, ...]


def encode_labels(
    column: CategoricalColumn,
    favorable: str | None,
    unfavorable: Sequence[str],
    known: Sequence[str] | None,
) -> EncodedLabels:
    """Encode the label column.

    Args:
        favorable: the favorable value; None means 1.
        unfavorable: the unfavorable values, or "others"; () if there are only two values.
        known: the values of an earlier table, if there is one; all but one are unfavorable.

    Raises:
        TableError: a value is missing or unknown, two values differ only in spelling, there is
            only one value, or it is not clear which ones are favorable and unfavorable.
    """
    column.refuse_twins()
    missing = column.missing_message()
    if missing:
        raise TableError(f"{missing}; add the labels or remove the rows.")
    values = column.values if known is None else tuple(known)
    chosen = _favorable_value(column.place, values, favorable, known is not None)
    if known is None:
        _check_unfavorable(column.place, values, chosen, unfavorable)
    labels = (column.codes_into(values) == values.index(chosen)).astype(np.int64)
    if len(column.values) < 2:
        raise TableError(
            f"{column.place} has only the value {quoted_list(column.values)}; rows of both "
            "outcomes are needed."
        )
    notes: tuple[str, ...] = ()
    if len(values) > 2:
        others = [value for value in values if value != chosen]
        notes = (f"label {column.column!r}: {quoted_list(others)} count as unfavorable",)
    return EncodedLabels(labels, chosen, values, notes)


def _favorable_value(
    place: str, values: tuple[str, ...], favorable: str | None, known: bool
) -> str:
    wanted = "1" if favorable is None else favorable
    match = next((value for value in values if equal_values(value, wanted)), None)
    if favorable is None and (len(values) > 2 or match is None):
        if len(values) > 2:
            raise TableError(_undecided(place, values))
        raise TableError(
            f"{place} has the values {quoted_list(values)}; set favorable to one of them."
        )
    if match is None and known:
        raise TableError(
            f"The favorable value {wanted!r} is not among the label values that are known from the "
            f"rule or the other table, {quoted_list(values)}; name one of them."
        )
    if match is None:
        raise TableError(
            f"{place} has no value {wanted!r} (favorable value){did_you_mean(wanted, values)} Its "
            f"values: {quoted_list(values)}."
        )
    return match


def _check_unfavorable(
    place: str, values: tuple[str, ...], favorable: str, unfavorable: Sequence[str]
) -> None:
    """Raise ``TableError`` unless every value other than the favorable one is unfavorable."""
    others = [value for value in values if value != favorable]
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

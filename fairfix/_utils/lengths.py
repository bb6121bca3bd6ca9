"""Compare the lengths of columns that have one entry per row."""

from __future__ import annotations

from collections.abc import Mapping, Sized


def unequal_lengths(columns: Mapping[str, Sized | None]) -> str:
    """Return the lengths by name, ``"scores 5, labels 4"``; empty if all are equal.

    Args:
        columns: those that are None are left out.
    """
    lengths = {name: len(values) for name, values in columns.items() if values is not None}
    if len(set(lengths.values())) < 2:
        return ""
    return ", ".join(f"{name} {length}" for name, length in lengths.items())

"""A small group whose standard error makes a rule cautious up to the point of being useless."""

from __future__ import annotations

from fairfix.data.table.groups import MISSING_GROUP

SHARE = 0.25
"""Rows of the smallest group in those of the next one, up to which it decides the error."""


def small_group_sentence(column: str, rows: dict[str, int]) -> str | None:
    """Return which group decides the standard error of a gap, without a full stop, or None.

    Args:
        column: the group column.
        rows: validation rows by group.
    """
    (smallest, fewest), (_, next_) = sorted(rows.items(), key=lambda each: each[1])[:2]
    if fewest > SHARE * next_:
        return None
    remedy = "merge it with another group"
    if smallest == MISSING_GROUP:
        remedy += ", leave out its rows instead of --missing-group keep,"
    total = sum(rows.values())
    return (
        f"group {smallest!r} of {column!r} has {fewest:,} of {total:,} validation rows and decides "
        "the standard error of the gap, for which the rule gives up performance; "
        f"{remedy} or give more of its rows"
    )

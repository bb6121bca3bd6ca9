"""Columns of a table as a few values each, so that rows can be described by them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from fairfix.data.table import Group

OTHER, RARE = "(other)", "(rare)"
COMMON = 12  # values that a category keeps at most


@dataclass(frozen=True)
class Bucketed:
    """One column: ``codes`` (N,) int64 in 0..V-1 and the V values they stand for.

    ``ordered`` says that the values are numbers that rise. Where they are intervals, ``edges``
    (V - 1,) is where each but the last ends, that end included.
    """

    column: str
    codes: np.ndarray
    values: tuple[str, ...]
    ordered: bool = False
    edges: tuple[float, ...] | None = None

    @property
    def sets(self) -> np.ndarray:
        """The sets of values that a condition may allow, (S, V) bool, none empty, none full.

        Runs of neighbors where they are ordered, else one value or all but one.
        """
        size = len(self.values)
        if self.ordered:
            found = [
                [low <= code <= high for code in range(size)]
                for low in range(size)
                for high in range(low, size)
                if high - low + 1 < size
            ]
            return np.array(found, bool).reshape(-1, size)
        single = np.eye(size, dtype=bool)
        return single if size == 2 else np.concatenate([single, ~single])

    def describe(self, codes: Collection[int]) -> str:
        """The values of ``codes``, at least one and not all of them, in words."""
        chosen = sorted(codes)
        if self.edges is not None:
            return " or ".join(self._interval(low, high) for low, high in _runs(chosen))
        left_out = [code for code in range(len(self.values)) if code not in codes]
        if len(left_out) < len(chosen) - 1:
            return "not " + " or ".join(self.values[code] for code in left_out)
        return " or ".join(self.values[code] for code in chosen)

    def _interval(self, low: int, high: int) -> str:
        assert self.edges is not None
        if low == 0:
            return f"up to {self.edges[high]:.4g}"
        if high == len(self.edges):
            return f"above {self.edges[low - 1]:.4g}"
        return f"{self.edges[low - 1]:.4g} to {self.edges[high]:.4g}"


def bucketed(
    groups: Sequence[Group],
    features: np.ndarray | None,
    names: Sequence[str],
    *,
    bins: int = 5,
    rare: int = 30,
) -> tuple[Bucketed, ...]:
    """The protected columns and the features (N, D) called ``names``, as a few values each.

    Inputs "column=category" that exclude each other become one column again; a number of more
    than ``bins`` values falls into at most that many intervals of about equal rows; categories of
    fewer than ``rare`` rows, and those beyond the 12 largest, are taken together. Left out are
    columns of one value, and those that have the name of an earlier one or part the rows alike.
    """
    found = [Bucketed(group.column, group.ids, group.names) for group in groups]
    if features is not None:
        flat = features.reshape(len(features), -1)
        sets = _one_hot_sets(flat, names)
        found += [_categories(flat, column, places, names) for column, places in sets.items()]
        used = {place for places in sets.values() for place in places}
        found += [
            _number(flat[:, place], name, bins)
            for place, name in enumerate(names)
            if place not in used
        ]
    kept: list[Bucketed] = []
    for each in found:
        column = each if each.ordered else _compact(_lumped(each, rare))
        if len(column.values) > 1 and not any(_repeats(column, other) for other in kept):
            kept.append(column)
    return tuple(kept)


def _runs(codes: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of neighbors in rising ``codes``."""
    starts = [c for i, c in enumerate(codes) if i == 0 or codes[i - 1] != c - 1]
    ends = [c for i, c in enumerate(codes) if i == len(codes) - 1 or codes[i + 1] != c + 1]
    return list(zip(starts, ends, strict=True))


def _one_hot_sets(features: np.ndarray, names: Sequence[str]) -> dict[str, list[int]]:
    """The places of two-valued inputs "column=category", at most one of them high in a row."""
    sets: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        column, equals, _ = name.partition("=")
        if equals:
            sets.setdefault(column, []).append(place)
    return {
        column: places
        for column, places in sets.items()
        if len(places) > 1
        and all(_is_two_valued(features[:, place]) for place in places)
        and int(_high(features[:, places]).sum(1).max()) <= 1
    }


def _is_two_valued(x: np.ndarray) -> bool:
    return bool(((x == x.min()) | (x == x.max())).all())


def _high(block: np.ndarray) -> np.ndarray:
    """Whether each input has the higher of its two values; it may be standardized."""
    found: np.ndarray = block > (block.min(0) + block.max(0)) / 2
    return found


def _categories(
    features: np.ndarray, column: str, places: Sequence[int], names: Sequence[str]
) -> Bucketed:
    high = _high(features[:, places])
    codes = np.where(high.any(1), high.argmax(1), len(places))
    values = (names[place].partition("=")[2] for place in places)
    return Bucketed(column, codes, (*values, OTHER))


def _number(x: np.ndarray, name: str, bins: int) -> Bucketed:
    distinct = np.unique(x)
    if len(distinct) <= bins:
        values = tuple(f"{value:.4g}" for value in distinct)
        return Bucketed(name, np.searchsorted(distinct, x), values, ordered=True)
    shares = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(x, shares, method="inverted_cdf"))
    edges = edges[edges < distinct[-1]]
    codes = np.searchsorted(edges, x)
    return Bucketed(name, codes, ("",) * (len(edges) + 1), True, tuple(edges.tolist()))


def _lumped(column: Bucketed, rare: int) -> Bucketed:
    """The values of few rows as one, where there are several."""
    rows = np.bincount(column.codes, minlength=len(column.values))
    few = rows < rare
    few[np.argsort(-rows, kind="stable")[COMMON:]] = True
    if few.sum() < 2:
        return column
    codes = np.where(few[column.codes], len(few), column.codes)
    return Bucketed(column.column, codes, (*column.values, RARE))


def _compact(column: Bucketed) -> Bucketed:
    """Only the values that rows have."""
    used, codes = np.unique(column.codes, return_inverse=True)
    return Bucketed(column.column, codes, tuple(column.values[code] for code in used))


def _repeats(one: Bucketed, other: Bucketed) -> bool:
    """Whether two columns have one name, or part the rows alike."""
    if one.column == other.column:
        return True
    if len(one.values) != len(other.values):
        return False
    pairs = one.codes * len(other.values) + other.codes
    return len(np.unique(pairs)) == len(one.values)

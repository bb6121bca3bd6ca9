"""Discretization of table columns into a few values each, for describing subgroups."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group

OTHER, RARE = "(other)", "(rare)"
PROBED_ROWS = 1000
MAX_CATEGORIES = 12
"""Most values of a categorical column; the others are merged."""

MAX_INPUTS = 1000
"""Most inputs that are binned; the result names how many are left out."""


@dataclass(frozen=True)
class BinnedColumn:
    """A column with a few values.

    Attributes:
        codes: (N,) int in 0..V-1, indices of ``values``.
        values: V names.
        ordered: whether the values are increasing numbers or intervals.
        edges: (V - 1,) upper ends (included) of all intervals but the last; None if the values are
            not intervals.
    """

    column: str
    codes: np.ndarray
    values: tuple[str, ...]
    ordered: bool = False
    edges: tuple[float, ...] | None = None

    @property
    def sets(self) -> np.ndarray:
        """The sets of values that a condition may allow, (S, V) bool, none empty, none full.

        Runs of consecutive values if they are ordered, else one value or all but one.
        """
        size = len(self.values)
        if self.ordered:
            runs = [
                [low <= code <= high for code in range(size)]
                for low in range(size)
                for high in range(low, size)
                if high - low + 1 < size
            ]
            return np.array(runs, bool).reshape(-1, size)
        single = np.eye(size, dtype=bool)
        return single if size == 2 else np.concatenate([single, ~single])

    def describe(self, codes: Collection[int]) -> str:
        """Return the values of ``codes``, at least one and not all of them, in words."""
        chosen = sorted(codes)
        if self.edges is not None:
            return " or ".join(self._interval(low, high) for low, high in _runs(chosen))
        excluded = [code for code in range(len(self.values)) if code not in codes]
        if len(excluded) < len(chosen) - 1:
            return "not " + " or ".join(self.values[code] for code in excluded)
        return " or ".join(self.values[code] for code in chosen)

    def _interval(self, low: int, high: int) -> str:
        assert self.edges is not None
        if low == 0:
            return f"up to {_text(self.edges[high])}"
        if high == len(self.edges):
            return f"above {_text(self.edges[low - 1])}"
        return f"{_text(self.edges[low - 1])} to {_text(self.edges[high])}"


def bin_columns(
    groups: Sequence[Group],
    features: np.ndarray | None,
    names: Sequence[str],
    *,
    bins: int = 5,
    rare: int = 30,
) -> tuple[BinnedColumn, ...]:
    """Return group columns and features with a few values each.

    One-hot inputs ("column=category") become one column again; numbers with more than ``bins``
    values become intervals with about equal numbers of rows; rare categories, and those beyond the
    12 largest, are merged. Columns with one value are dropped, and those that have the name or the
    partition of an earlier one.

    Args:
        features: (N, D), or None.
        names: D names of the features.
        bins: most intervals of a number.
        rare: rows below which a category is merged.
    """
    columns = [BinnedColumn(group.column, group.ids, group.names) for group in groups]
    if features is not None:
        flat = features.reshape(len(features), -1)
        one_hot = _one_hot_sets(flat, names)
        columns += [_category(flat, column, indices, names) for column, indices in one_hot.items()]
        used = {index for indices in one_hot.values() for index in indices}
        columns += [
            _number(flat[:, index], name, bins)
            for index, name in enumerate(names)
            if index not in used
        ]
    kept: dict[str, BinnedColumn] = {}
    partitions: set[bytes] = set()
    for each in columns:
        column = each if each.ordered else _drop_unused(_merge_rare(each, rare))
        partition = _partition(column)
        if len(column.values) > 1 and column.column not in kept and partition not in partitions:
            kept[column.column] = column
            partitions.add(partition)
    return tuple(kept.values())


def _text(number: float) -> str:
    """Return an integer in full, and another number with four significant digits."""
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e9 else f"{number:.4g}"


def _runs(codes: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and last of each run of consecutive ``codes``, which are increasing."""
    starts = [c for i, c in enumerate(codes) if i == 0 or codes[i - 1] != c - 1]
    ends = [c for i, c in enumerate(codes) if i == len(codes) - 1 or codes[i + 1] != c + 1]
    return list(zip(starts, ends, strict=True))


def _one_hot_sets(features: np.ndarray, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of one-hot inputs "column=category" by column.

    They are two-valued, with at most one high value in each row.
    """
    by_column: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        column, equals, _ = name.partition("=")
        if equals:
            by_column.setdefault(column, []).append(index)
    return {
        column: indices
        for column, indices in by_column.items()
        if len(indices) > 1
        and all(_is_two_valued(features[:, index]) for index in indices)
        and int(_is_high(features[:, indices]).sum(1).max()) <= 1
    }


def _is_two_valued(x: np.ndarray) -> bool:
    return bool(((x == x.min()) | (x == x.max())).all())


def _is_high(inputs: np.ndarray) -> np.ndarray:
    """Return where two-valued inputs, possibly standardized, have their higher value."""
    high: np.ndarray = inputs > (inputs.min(0) + inputs.max(0)) / 2
    return high


def _category(
    features: np.ndarray, column: str, indices: Sequence[int], names: Sequence[str]
) -> BinnedColumn:
    """Return the column of one-hot inputs."""
    high = _is_high(features[:, indices])
    codes = np.where(high.any(1), high.argmax(1), len(indices))
    values = (names[index].partition("=")[2] for index in indices)
    return BinnedColumn(column, codes, (*values, OTHER))


def _number(x: np.ndarray, name: str, bins: int) -> BinnedColumn:
    few = len(np.unique(x[:PROBED_ROWS])) <= bins  # spares sorting all rows of a number
    distinct = np.unique(x) if few else x
    if few and len(distinct) <= bins:
        values = tuple(map(_text, distinct.tolist()))
        return BinnedColumn(name, np.searchsorted(distinct, x), values, ordered=True)
    levels = np.arange(1, bins) / bins
    edges = np.unique(np.quantile(x, levels, method="inverted_cdf"))
    edges = edges[edges < x.max()]
    codes = np.searchsorted(edges, x).astype(np.int8)
    return BinnedColumn(name, codes, ("",) * (len(edges) + 1), True, tuple(edges.tolist()))


def _merge_rare(column: BinnedColumn, rare: int) -> BinnedColumn:
    """Merge rare values into one, if there are several."""
    rows = np.bincount(column.codes, minlength=len(column.values))
    few = rows < rare
    few[np.argsort(-rows, kind="stable")[MAX_CATEGORIES:]] = True
    if few.sum() < 2:
        return column
    codes = np.where(few[column.codes], len(few), column.codes)
    return BinnedColumn(column.column, codes, (*column.values, RARE))


def _drop_unused(column: BinnedColumn) -> BinnedColumn:
    """Drop values that no row has."""
    used, codes = np.unique(column.codes, return_inverse=True)
    return BinnedColumn(column.column, codes, tuple(column.values[code] for code in used))


def _partition(column: BinnedColumn) -> bytes:
    """Return a hash that is equal for columns that divide the rows into the same sets."""
    size = len(column.values)
    first = [int(np.argmax(column.codes == code)) for code in range(size)]
    rank = np.empty(size, np.uint8)
    rank[np.argsort(first)] = np.arange(size)
    return hashlib.blake2b(rank[column.codes].tobytes()).digest()


def choose_inputs(
    problem: Problem, decisions: Tensor, names: Sequence[str], rows: np.ndarray
) -> tuple[np.ndarray | None, Sequence[str], int]:
    """Return the inputs to bin, (N, D), their names, and the number of inputs left out.

    Of more than 1,000 those are taken whose correlation with the decisions is strongest on
    ``rows``, the rows of the search; inputs of one categorical column stay together. Inputs that
    are not columns, such as images, are not binned.
    """
    if problem.features is None or not names:
        return None, (), 0 if problem.inputs is None else len(names)
    features = problem.features.cpu().numpy()
    if len(names) <= MAX_INPUTS:
        return features, names, 0
    strength = _correlations(features[rows], decisions.cpu().numpy()[rows])
    columns = [name.partition("=")[0] for name in names]
    strongest: dict[str, float] = {}
    for column, value in zip(columns, strength.tolist(), strict=True):
        strongest[column] = max(value, strongest.get(column, 0.0))
    order = sorted(range(len(names)), key=lambda i: (-strongest[columns[i]], columns[i], i))
    kept = sorted(order[:MAX_INPUTS])
    return features[:, kept], [names[i] for i in kept], len(names) - len(kept)


def _correlations(features: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Return the absolute correlation of each input, (D,), with decisions (N,); 0 if constant."""
    decided = decisions - decisions.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        values = abs(decided @ (features - features.mean(0))) / features.std(0)
    return np.asarray(np.nan_to_num(values, nan=0.0, posinf=0.0))

"""The subgroup whose rate departs most from the overall one, over all conjunctions of up to three.

Every choice of up to three columns is looked at in full: one contingency table of its values holds
the counts of all the subgroups that its conditions name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import log, prod
from typing import Literal

import numpy as np
from scipy.special import xlog1py, xlogy

LENGTH = 3

Direction = Literal["higher", "lower"]
Conditions = dict[int, frozenset[int]]


def strongest(
    codes: np.ndarray, sets: Sequence[np.ndarray], hits: np.ndarray, least: int
) -> dict[Direction, Conditions]:
    """The strongest subgroup of a higher and of a lower rate than overall, where there is one.

    Strength is the log likelihood ratio of a rate of its own against the overall rate, less the
    logarithm of how many subgroups of as many conditions there are: longer conjunctions are many
    more than short ones, and have to depart by that much more.

    Args:
        codes: (N, C) int, the value of each column in 0..V_c-1.
        sets: for each column the sets of values that a condition may allow, (S_c, V_c) bool.
        hits: (N,) bool, whose rate is looked at; neither all alike.
        least: rows that a subgroup, and the rest, must have.
    """
    best: dict[Direction, tuple[float, Conditions]] = {}
    rate = float(hits.mean())
    for length in range(1, min(LENGTH, len(sets)) + 1):
        choices = list(combinations(range(len(sets)), length))
        price = log(sum(prod(len(sets[column]) for column in columns) for columns in choices))
        for columns in choices:
            rows, hit = _counts(codes, sets, hits, columns)
            strength = log_likelihood_ratio(hit, rows, rate) - price
            allowed = (rows >= least) & (rows <= len(hits) - least)
            for direction, side in _sides(hit > rows * rate):
                here = np.where(side & allowed, strength, -np.inf)
                place = int(here.argmax())
                top = float(here.flat[place])
                if top > (best[direction][0] if direction in best else -np.inf):
                    best[direction] = top, _conditions(sets, columns, here.shape, place)
    return {direction: conditions for direction, (_, conditions) in best.items()}


def inside(conditions: Mapping[int, frozenset[int]], codes: np.ndarray) -> np.ndarray:
    """Which rows of ``codes`` (N, C) meet all the conditions, (N,) bool."""
    rows = np.ones(len(codes), bool)
    for column, values in conditions.items():
        rows &= np.isin(codes[:, column], sorted(values))
    return rows


def log_likelihood_ratio(hits: np.ndarray, rows: np.ndarray, rate: float) -> np.ndarray:
    """Of a rate of its own against ``rate`` in (0, 1), for ``hits`` of ``rows``; 0 without rows."""
    own = hits / np.maximum(rows, 1)
    misses = rows - hits
    ratio: np.ndarray = xlogy(hits, own / rate) + xlog1py(misses, -own) - misses * np.log1p(-rate)
    return ratio


def _counts(
    codes: np.ndarray, sets: Sequence[np.ndarray], hits: np.ndarray, columns: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and hits of every subgroup with a condition on each of the columns, (S_a, S_b, ...)."""
    widths = [sets[column].shape[1] for column in columns]
    cell = np.zeros(len(codes), np.int64)
    for column, width in zip(columns, widths, strict=True):
        cell = cell * width + codes[:, column]
    tables = [np.bincount(cell[which], minlength=prod(widths)) for which in (slice(None), hits)]
    counts = np.stack(tables).reshape(2, *widths).astype(float)
    for column in columns:  # each product moves the next axis of values to the end, as sets
        counts = np.tensordot(counts, sets[column].astype(float), axes=([1], [1]))
    return counts[0], counts[1]


def _sides(higher: np.ndarray) -> Iterator[tuple[Direction, np.ndarray]]:
    yield "higher", higher
    yield "lower", ~higher


def _conditions(
    sets: Sequence[np.ndarray], columns: Sequence[int], shape: tuple[int, ...], place: int
) -> Conditions:
    chosen = np.unravel_index(place, shape)
    return {
        column: frozenset(np.flatnonzero(sets[column][int(i)]).tolist())
        for column, i in zip(columns, chosen, strict=True)
    }

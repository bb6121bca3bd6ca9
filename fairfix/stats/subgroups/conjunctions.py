"""Exhaustive search for the subgroup with the most deviating rate, with up to three conditions.

For every choice of up to three columns, one contingency table of their values gives the counts of
all subgroups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import log, prod
from typing import Literal

import numpy as np
from scipy.special import xlog1py, xlogy

MAX_CONDITIONS = 3

Direction = Literal["higher", "lower"]
Conditions = dict[int, frozenset[int]]


def find_strongest(
    codes: np.ndarray, sets: Sequence[np.ndarray], hits: np.ndarray, min_rows: int
) -> dict[Direction, Conditions]:
    """Return the best-scoring subgroup with a higher rate than overall, and with a lower one.

    The score is the log-likelihood ratio of a rate of the subgroup's own against the overall rate,
    minus the logarithm of the number of subgroups with as many conditions.

    Args:
        codes: (N, C) int, the value of each column in 0..V_c-1.
        sets: for each column the sets of values that a condition may allow, (S_c, V_c) bool.
        hits: (N,) bool, whose rate is compared; neither all True nor all False.
        min_rows: fewest rows of a subgroup and of the rest.

    Returns:
        Conditions by direction; a direction without a subgroup is missing.
    """
    best: dict[Direction, tuple[float, Conditions]] = {}
    rate = float(hits.mean())
    for length in range(1, min(MAX_CONDITIONS, len(sets)) + 1):
        choices = list(combinations(range(len(sets)), length))
        penalty = log(sum(prod(len(sets[column]) for column in columns) for columns in choices))
        for columns in choices:
            rows, hit = _counts(codes, sets, hits, columns)
            scores = log_likelihood_ratio(hit, rows, rate) - penalty
            allowed = (rows >= min_rows) & (rows <= len(hits) - min_rows)
            for direction, side in _directions(hit > rows * rate):
                candidates = np.where(side & allowed, scores, -np.inf)
                index = int(candidates.argmax())
                score = float(candidates.flat[index])
                if score > (best[direction][0] if direction in best else -np.inf):
                    best[direction] = score, _conditions(sets, columns, candidates.shape, index)
    return {direction: conditions for direction, (_, conditions) in best.items()}


def in_subgroup(conditions: Mapping[int, frozenset[int]], codes: np.ndarray) -> np.ndarray:
    """Return which rows of ``codes`` (N, C) meet all conditions, (N,) bool."""
    rows = np.ones(len(codes), bool)
    for column, values in conditions.items():
        rows &= np.isin(codes[:, column], sorted(values))
    return rows


def log_likelihood_ratio(hits: np.ndarray, rows: np.ndarray, rate: float) -> np.ndarray:
    """Return the log-likelihood ratio of hits / rows against ``rate`` in (0, 1); 0 without rows."""
    own = hits / np.maximum(rows, 1)
    misses = rows - hits
    ratio: np.ndarray = xlogy(hits, own / rate) + xlog1py(misses, -own) - misses * np.log1p(-rate)
    return ratio


def _counts(
    codes: np.ndarray, sets: Sequence[np.ndarray], hits: np.ndarray, columns: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and hits of every subgroup with one condition per column, (S_a, S_b, ...)."""
    widths = [sets[column].shape[1] for column in columns]
    value = np.zeros(len(codes), np.int64)
    for column, width in zip(columns, widths, strict=True):
        value = value * width + codes[:, column]
    tables = [np.bincount(value[rows], minlength=prod(widths)) for rows in (slice(None), hits)]
    counts = np.stack(tables).reshape(2, *widths).astype(float)
    for column in columns:  # each product replaces the first axis of values by a last axis of sets
        counts = np.tensordot(counts, sets[column].astype(float), axes=([1], [1]))
    return counts[0], counts[1]


def _directions(higher: np.ndarray) -> Iterator[tuple[Direction, np.ndarray]]:
    yield "higher", higher
    yield "lower", ~higher


def _conditions(
    sets: Sequence[np.ndarray], columns: Sequence[int], shape: tuple[int, ...], index: int
) -> Conditions:
    chosen = np.unravel_index(index, shape)
    return {
        column: frozenset(np.flatnonzero(sets[column][int(i)]).tolist())
        for column, i in zip(columns, chosen, strict=True)
    }

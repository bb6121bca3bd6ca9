"""Find the inputs of a network that hold the protected attribute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from torch import Tensor

Block = tuple[int, ...]
"""Feature columns that were made from one column of the table, such as a one-hot code."""

CHANCE = 1e-9
"""Probability by chance below which inputs are taken to determine the group."""
REVEALING_AUC = 0.99
"""Area under the ROC curve from which an input all but determines the group."""
LIKELY_AUC = 0.9
"""Area in a sample of the rows from which all rows are looked at."""
_SAMPLE = 256  # rows that exclude most columns


def protected_inputs(
    features: Tensor | None, groups: Tensor, n_groups: int, blocks: Sequence[Block] = ()
) -> tuple[int, ...]:
    """Return the feature columns that determine the group of every row, alone or together.

    Every value of such a column, or of a block, occurs in one group only, and by chance that would
    be the case with a probability of at most 1e-9. A column of distinct numbers counts if it
    separates the groups into at most 2 G + 1 ranges, as an age does. Columns of two values, such as
    a one-hot code, count if each has a value that occurs in one group only and all rows without
    such a value are in one group.

    Args:
        features: (N, D); None for anything else, such as images.
        groups: (N,) in 0..G-1.
        n_groups: number of groups G.
        blocks: columns that were made from one column of the table.

    Returns:
        Column numbers, ascending; those of a block only if no column of it suffices.
    """
    if features is None:
        return ()
    values, group = features.detach().cpu().numpy(), groups.cpu().numpy()
    single = {
        column
        for column in _candidates(values, group, n_groups)
        if _determines(values[:, column], group, n_groups)
    }
    joint = [
        block
        for block in blocks
        if not single & set(block) and _determines(_codes(values[:, block]), group, n_groups)
    ]
    rest = [column for column in range(values.shape[1]) if column not in single]
    return tuple(sorted(single.union(*joint, _indicators(values, group, rest))))


def _indicators(values: np.ndarray, groups: np.ndarray, columns: Sequence[int]) -> list[int]:
    """Return the columns of two values that together determine the group; none if they do not."""
    rows = _sample(len(groups))
    sample, group = values[rows], groups[rows][:, None]
    bounds = values.min(0), values.max(0)
    insides = [sample == bound for bound in bounds]
    two = (bounds[0] < bounds[1]) & (insides[0] | insides[1]).all(0)
    pure = [  # also without such a row in the sample
        np.where(inside, group, -1).max(0) <= np.where(inside, group, len(values)).min(0)
        for inside in insides
    ]
    columns = [column for column in columns if two[column]]
    log_share = np.log(np.bincount(groups) / len(groups))
    known, evidence, found = np.zeros(len(groups), dtype=bool), 0.0, list[int]()
    for column in columns:
        if not (pure[0][column] or pure[1][column]):
            continue
        sides = [values[:, column] == bound[column] for bound in bounds]
        if not (sides[0] | sides[1]).all():
            continue
        for side in sides:
            first = groups[side.argmax()]
            chance = side.sum() * log_share[first]
            # expect less than a tenth of a column by chance
            if chance < -math.log(10 * len(columns)) and (groups[side] == first).all():
                known |= side
                evidence += chance
                found.append(column)
    others = groups[~known]
    determined = evidence < math.log(CHANCE) and (others == others[:1]).all()
    return found if determined else []


def revealing_inputs(features: Tensor | None, groups: Tensor, n_groups: int) -> tuple[int, ...]:
    """Return the feature columns that separate a group from the others with an AUC of .99.

    Args:
        features, groups, n_groups: see ``protected_inputs``.
    """
    if features is None:
        return ()
    values, group = features.detach().cpu().numpy(), groups.cpu().numpy()
    rows = _sample(len(group))
    likely = _separation(values[rows], group[rows], n_groups) >= LIKELY_AUC
    columns = np.flatnonzero(likely)
    exact = _separation(values[:, columns], group, n_groups) >= REVEALING_AUC
    return tuple(columns[exact].tolist())


def _separation(values: np.ndarray, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the largest AUC of each column (D,) for any group against the others, at least .5."""
    largest = np.full(values.shape[1], 0.5)
    ranks = _ranks(values)
    for g in range(n_groups if n_groups > 2 else 1):
        inside = groups == g
        n = int(inside.sum())
        if 0 < n < len(groups):
            area = (ranks[inside].sum(0) - n * (n + 1) / 2) / (n * (len(groups) - n))
            largest = np.maximum(largest, np.maximum(area, 1 - area))
    return largest


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of each column from 1; equal values share their mean rank."""
    places = np.arange(1, len(values) + 1)[:, None]
    forward, backward = np.empty(values.shape), np.empty(values.shape)
    np.put_along_axis(forward, values.argsort(axis=0, kind="stable"), places, 0)
    np.put_along_axis(backward, values[::-1].argsort(axis=0, kind="stable"), places, 0)
    return (forward + backward[::-1]) / 2


def _candidates(values: np.ndarray, groups: np.ndarray, n_groups: int) -> Iterable[int]:
    """Return the columns that may determine the group, by a sample of the rows."""
    rows = _sample(len(groups))
    order = values[rows].argsort(axis=0, kind="stable")
    value = np.take_along_axis(values[rows], order, 0)
    group = groups[rows][order]
    same = value[1:] == value[:-1]
    changes = group[1:] != group[:-1]
    impure = (same & changes).any(0)
    few = changes.sum(0) <= 2 * n_groups
    repeated = same.sum(0) >= len(rows) // 2
    candidates: list[int] = np.flatnonzero(~impure & (few | repeated)).tolist()
    return candidates


def _sample(n: int) -> np.ndarray:
    """Return numbers of at most 256 of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, _SAMPLE).round().astype(int))


def _codes(values: np.ndarray) -> np.ndarray:
    """Return one number for each combination of values (N, K), (N,)."""
    codes: np.ndarray = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    return codes


def _determines(values: np.ndarray, groups: np.ndarray, n_groups: int) -> bool:
    order = np.lexsort((groups, values))
    value, group = values[order], groups[order]
    same_value, same_group = value[1:] == value[:-1], group[1:] == group[:-1]
    if (same_value & ~same_group).any() or np.isnan(value[-1]):
        return False
    ranges = 1 + int((~same_group).sum())
    if n_groups <= ranges <= 2 * n_groups + 1 and len(values) >= 20 * n_groups:
        return True
    largest = np.bincount(groups).max() / len(groups)
    return bool(same_value.sum() * math.log(largest) < math.log(CHANCE))

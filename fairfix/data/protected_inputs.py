"""Find the inputs of a network that hold the protected attribute."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

CHANCE = 1e-9
"""Probability by chance below which an input is taken to determine the group."""


def protected_inputs(features: Tensor | None, groups: Tensor, n_groups: int) -> tuple[int, ...]:
    """Return the feature columns that each determine the group of every row, ascending.

    Every value of such a column occurs in one group only, and by chance that would be the case
    with a probability of at most 1e-9. A column of distinct numbers counts if it separates the
    groups into at most 2 G + 1 ranges, as an age does.

    Args:
        features: (N, D); anything else, such as images, has no such columns.
        groups: (N,) in 0..G-1.
        n_groups: number of groups G.
    """
    if features is None or features.dim() != 2:
        return ()
    values, group = features.detach().cpu().numpy(), groups.cpu().numpy()
    return tuple(
        column
        for column in range(values.shape[1])
        if _determines(values[:, column], group, n_groups)
    )


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

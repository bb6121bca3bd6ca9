"""Rows a method may see, and rows kept away from it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError


def check_share(share: float) -> None:
    """Raise UsageError for a share outside (0, 1)."""
    if not 0 < share < 1:
        raise UsageError(f"The holdout is a share of the rows between 0 and 1, not {share}.")


def check_seed(seed: int) -> None:
    """Raise UsageError for what is no seed."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"A seed is a whole number from 0 to 2**63 - 1, not {seed}.")


def holdout(problem: Problem, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers for fitting and for judging, both in table order.

    Within every cell of label and group, ``share`` of the rows (rounded, at least one where the
    cell has two) is drawn at random for judging.

    Raises:
        UsageError: as ``check_share``.
    """
    check_share(share)
    generator = np.random.default_rng(seed)
    cell = (2 * problem.groups + problem.labels).cpu().numpy()
    judged = np.zeros(len(cell), dtype=bool)
    for value in np.unique(cell):
        rows = np.flatnonzero(cell == value)
        n = min(max(1, round(share * len(rows))), len(rows) - 1)
        judged[generator.permutation(rows)[:n]] = True
    device = problem.groups.device
    return (
        torch.from_numpy(np.flatnonzero(~judged)).to(device),
        torch.from_numpy(np.flatnonzero(judged)).to(device),
    )


def apart(
    problem: Problem, share: float, seed: int, table: str
) -> tuple[tuple[Tensor, Problem], tuple[Tensor, Problem]]:
    """Row numbers and problem for fitting, and the same for judging, as ``holdout`` draws them.

    Raises:
        TableError: when either part of the ``table`` is no problem of its own.
        UsageError: as ``check_share``.
    """
    fits, judged = holdout(problem, share, seed)
    try:
        return (fits, problem.take(fits)), (judged, problem.take(judged))
    except TableError as error:
        raise TableError(
            f"{table} has too few rows to keep some away for judging "
            f"({str(error).removesuffix('.')}); give more, or another table with --test."
        ) from None

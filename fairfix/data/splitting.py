"""Every split of rows: stratified holdouts, re-splits and folds, and the papers' random parts.

Each function is a pure function of its arguments; global random state is neither read nor changed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError


def check_share(share: float) -> None:
    """Raise ``UsageError`` if the share is not in (0, 1)."""
    if not 0 < share < 1:
        raise UsageError(f"The holdout must be a share of the rows between 0 and 1, not {share}.")


def check_seed(seed: int) -> None:
    """Raise ``UsageError`` if the seed is not in 0..2**63 - 1."""
    if not 0 <= seed < 2**63:
        raise UsageError(f"The seed must be a whole number from 0 to 2**63 - 1, not {seed}.")


def split_problem(
    problem: Problem, share: float, seed: int, table: str
) -> tuple[tuple[Tensor, Problem], tuple[Tensor, Problem]]:
    """Split a problem into validation rows and test rows, as ``holdout`` does.

    Args:
        share: share of the rows held out for testing, in (0, 1).
        table: name of the rows, for messages.

    Returns:
        Row numbers and problem of the validation rows, then those of the test rows.

    Raises:
        TableError: one of the parts lacks a group or a label.
        UsageError: see ``check_share``.
    """
    rows = holdout(problem, share, seed)
    validation, test = take_parts(problem, rows, table)
    return (rows[0], validation), (rows[1], test)


def take_parts(
    problem: Problem, rows: tuple[Tensor, Tensor], table: str
) -> tuple[Problem, Problem]:
    """Return validation rows and test rows, given by their numbers.

    Args:
        table: name of the rows, for messages.

    Raises:
        TableError: one of the parts lacks a group or a label.
    """
    try:
        return problem.take(rows[0]), problem.take(rows[1])
    except TableError as error:
        raise TableError(
            f"{table} has too few rows to hold some out for testing "
            f"({str(error).removesuffix('.')}); add rows or pass a separate test table."
        ) from None


def holdout(problem: Problem, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the row numbers of validation and test rows, (N - M,) and (M,), in table order.

    Within each combination of group and label, ``share`` of the rows (rounded, but at least one,
    and never all) is drawn at random for testing; the only row of a combination is kept for
    validation. Clusters are kept together; each is drawn with the combination of most of its rows.

    Raises:
        UsageError: see ``check_share``.
    """
    check_share(share)
    strata = _strata(problem)
    clusters = None if problem.clusters is None else problem.clusters.cpu().numpy()
    test = _draw_by_stratum(strata, share, seed, clusters, on_both_sides=True)
    device = problem.groups.device
    return (
        torch.from_numpy(np.flatnonzero(~test)).to(device),
        torch.from_numpy(np.flatnonzero(test)).to(device),
    )


def holdout_mask(strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a mask (N,) of test rows, drawn from each stratum (N,) as ``holdout`` does."""
    check_share(share)
    return _draw_by_stratum(strata, share, seed, on_both_sides=True)


def resplit(
    labels: np.ndarray,
    groups: np.ndarray,
    share: float,
    seed: int,
    clusters: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw validation and test rows anew from rows that were both; return their row numbers.

    Within each combination of group and label, ``share`` of the rows (rounded) is drawn at random
    for validation. Unlike in ``holdout``, a small combination may be on one side only, so that the
    sizes of the two parts stay as they were.

    Args:
        labels, groups: (N,) integers; labels are 0 or 1.
        share: share of the validation rows, in [0, 1].
        clusters: (N,) numbers of clusters, which are kept together; None for independent rows.
    """
    strata = 2 * groups + labels
    validation = _draw_by_stratum(strata, share, seed, clusters, on_both_sides=False)
    return np.flatnonzero(validation), np.flatnonzero(~validation)


def consecutive_parts(n: int, bounds: Mapping[str, tuple[float, float]]) -> dict[str, slice]:
    """Return the slice of n rows for each part, given its bounds as shares of the rows."""
    return {part: slice(int(low * n), int(high * n)) for part, (low, high) in bounds.items()}


def random_parts(
    n: int,
    bounds: Mapping[str, tuple[float, float]],
    seed: int,
    clusters: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return the row numbers of each part of a random permutation of n rows, not stratified.

    This is the split of Savani, White, Govindarajulu (2020) and of Marcinkevics, Ozkan, Vogt
    (2022): 60 % for training, 20 % for validation, 20 % for testing. Clusters are permuted as a
    whole; each belongs to the part of its middle row.

    Args:
        bounds: first and last share of the permutation, by part, such as ``{"val": (0.6, 0.8)}``.
        clusters: (n,) numbers of clusters, which are kept together; None for independent rows.
    """
    generator = np.random.default_rng(seed)
    parts = consecutive_parts(n, bounds)
    if clusters is None:
        order = generator.permutation(n)
        return {part: order[rows] for part, rows in parts.items()}
    _, position, size = np.unique(clusters, return_inverse=True, return_counts=True)
    drawn = generator.permutation(len(size))
    order = np.argsort(np.argsort(drawn)[position], kind="stable")
    size = size[drawn]
    middle = np.repeat(np.cumsum(size) - size + (size - 1) // 2, size)
    return {
        part: order[(rows.start <= middle) & (middle < rows.stop)] for part, rows in parts.items()
    }


def stratified_folds(problem: Problem, n_folds: int, seed: int) -> np.ndarray:
    """Return the fold of each row, (N,) in 0..n_folds-1, drawn at random.

    Each combination of group and label has the same number of rows in every fold, up to one.
    Clusters are kept together; each is drawn with the combination of most of its rows.
    """
    strata = _strata(problem)
    if problem.clusters is None:
        return _folds(strata, n_folds, seed)
    of_cluster, position = _cluster_strata(strata, problem.clusters.cpu().numpy())
    return _folds(of_cluster, n_folds, seed)[position]


def _strata(problem: Problem) -> np.ndarray:
    """Return the combination of group and label of each row, (N,); those without a group last."""
    groups = torch.where(problem.groups < 0, problem.n_groups, problem.groups)
    strata: np.ndarray = (2 * groups + problem.labels).cpu().numpy()
    return strata


def _draw_by_stratum(
    strata: np.ndarray,
    share: float,
    seed: int,
    clusters: np.ndarray | None = None,
    *,
    on_both_sides: bool,
) -> np.ndarray:
    """Return a mask (N,) that is True for ``share`` of each stratum, drawn at random.

    With ``on_both_sides`` each stratum of two or more rows has a row that is drawn and one that
    is not, and the only row of a stratum is not drawn. Of clusters this holds for the strata of
    clusters; that of a cluster is the stratum of most of its rows.
    """
    if clusters is not None:
        of_cluster, position = _cluster_strata(strata, clusters)
        return _draw_by_stratum(of_cluster, share, seed, on_both_sides=on_both_sides)[position]
    generator = np.random.default_rng(seed)
    drawn = np.zeros(len(strata), dtype=bool)
    for stratum in np.unique(strata):
        rows = generator.permutation(np.flatnonzero(strata == stratum))
        n = round(share * len(rows))
        if on_both_sides:
            n = min(max(1, n), len(rows) - 1)
        drawn[rows[:n]] = True
    return drawn


def _folds(strata: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Return folds (N,): rows are numbered stratum by stratum, at random within each, modulo."""
    order = np.lexsort((np.random.default_rng(seed).permutation(len(strata)), strata))
    folds = np.empty(len(strata), dtype=np.int64)
    folds[order] = np.arange(len(strata)) % n_folds
    return folds


def _cluster_strata(
    strata: np.ndarray, clusters: np.ndarray
) -> tuple[np.ndarray, NDArray[np.int64]]:
    """Return the stratum of most rows of each cluster, (C,), and the cluster of each row, (N,)."""
    _, position = np.unique(clusters, return_inverse=True)
    rows_of_stratum = np.zeros((int(position.max()) + 1, int(strata.max()) + 1))
    np.add.at(rows_of_stratum, (position, strata), 1)
    return rows_of_stratum.argmax(1), position

"""Splits of rows: disjoint, complete, stratified where they should be, and fixed by the seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.data.splitting import (
    check_seed,
    consecutive_parts,
    holdout,
    random_parts,
    resplit,
    split_problem,
    stratified_folds,
)
from fairfix.errors import TableError, UsageError
from tests.helpers.toys import scored_rows


def cell_sizes(problem: Problem, rows: torch.Tensor) -> list[int]:
    cell = (2 * problem.groups + problem.labels)[rows]
    return torch.bincount(cell, minlength=2 * problem.n_groups).tolist()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_every_row_is_on_one_side_and_every_cell_is_divided_by_the_share(
    share: float, n_groups: int
) -> None:
    problem = scored_rows(131, n_groups)
    validation, test = holdout(problem, share, seed=0)
    assert torch.cat([validation, test]).sort().values.tolist() == list(range(131))
    for side in (validation, test):
        assert side.tolist() == sorted(side.tolist())
    sizes = zip(cell_sizes(problem, torch.arange(131)), cell_sizes(problem, test), strict=True)
    for size, n in sizes:
        assert abs(n - share * size) <= 0.5 or n in (1, size - 1)
        assert 1 <= n < size


def test_the_seed_fixes_the_rows() -> None:
    problem = scored_rows(100)
    first, again, other = (holdout(problem, 0.3, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_every_row_can_be_drawn() -> None:
    problem = scored_rows(40)
    drawn = torch.cat([holdout(problem, 0.3, seed)[1] for seed in range(60)])
    assert drawn.unique().tolist() == list(range(40))


def test_global_random_state_is_neither_read_nor_changed() -> None:
    problem = scored_rows(60)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = holdout(problem, 0.3, 0)[1]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(holdout(problem, 0.3, 0)[1], first)


def test_a_cell_of_one_row_stays_with_validation_and_one_of_two_is_shared() -> None:
    labels, groups = torch.tensor([0, 1, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 1])
    problem = Problem(torch.rand(5), labels, groups, ("a", "b"))
    for share in (0.01, 0.99):
        validation, test = holdout(problem, share, 0)
        assert cell_sizes(problem, validation) == [1, 1, 1, 0]
        assert cell_sizes(problem, test) == [0, 1, 1, 0]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.3, 1.5, float("nan")])
def test_the_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(UsageError, match="share of the rows between 0 and 1"):
        holdout(scored_rows(20), share, 0)


def test_a_part_without_one_of_the_labels_is_refused_with_a_remedy() -> None:
    labels, groups = torch.tensor([0, 1, 0, 0, 0, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    problem = Problem(torch.rand(6), labels, groups, ("a", "b"))
    with pytest.raises(TableError) as caught:
        split_problem(problem, 0.3, 0, "val.csv")
    assert str(caught.value) == (
        "val.csv has too few rows to hold some out for testing (All rows have the same label; "
        "rows of both labels are needed); add rows or pass a separate test table."
    )


def test_a_split_problem_has_the_rows_of_the_holdout() -> None:
    problem = scored_rows(50)
    parts = split_problem(problem, 0.4, 3, "val.csv")
    for (rows, part), expected in zip(parts, holdout(problem, 0.4, 3), strict=True):
        assert torch.equal(rows, expected)
        assert torch.equal(part.scores, problem.scores[rows])


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_the_seed_lies_between_0_and_2_to_the_63(seed: int) -> None:
    check_seed(2**63 - 1)
    with pytest.raises(UsageError, match="The seed must be a whole number from 0"):
        check_seed(seed)


@pytest.mark.parametrize("share", [0.0, 0.4, 0.5, 1.0])
def test_a_resplit_draws_the_share_of_every_cell(share: float) -> None:
    problem = scored_rows(97, 3)
    labels, groups = problem.labels.numpy(), problem.groups.numpy()
    validation, test = resplit(labels, groups, share, 5)
    assert np.sort(np.concatenate([validation, test])).tolist() == list(range(97))
    for rows in (validation, test):
        assert rows.tolist() == sorted(rows.tolist())
    sizes = cell_sizes(problem, torch.arange(97))
    drawn = cell_sizes(problem, torch.from_numpy(validation))
    assert drawn == [round(share * size) for size in sizes]


def test_a_resplit_permutes_one_cell_after_the_other() -> None:
    """The random stream that published results were computed with."""
    labels, groups = np.array([0, 1, 1, 0, 1, 0, 0, 1]), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    generator = np.random.default_rng(7)
    cells = ([0, 5], [1, 4], [3, 6], [2, 7])
    expected = sorted(int(generator.permutation(cell)[0]) for cell in cells)
    assert resplit(labels, groups, 0.5, 7)[0].tolist() == expected


def test_random_parts_are_consecutive_parts_of_one_permutation() -> None:
    bounds = {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
    order = np.random.default_rng(3).permutation(11)
    parts = random_parts(11, bounds, 3)
    assert [*parts] == ["train", "val", "test"]
    for part, (first, last) in zip(parts.values(), [(0, 6), (6, 8), (8, 11)], strict=True):
        assert part.tolist() == order[first:last].tolist()
    assert consecutive_parts(11, bounds)["val"] == slice(6, 8)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_stay_on_one_side(seed: int) -> None:
    problem = scored_rows(240)
    clusters = torch.arange(240) % 60
    problem = replace(problem, clusters=clusters)
    validation, test = holdout(problem, 0.3, seed)
    assert torch.cat([validation, test]).sort().values.tolist() == list(range(240))
    assert not set(clusters[validation].tolist()) & set(clusters[test].tolist())
    assert 0.2 < len(test) / 240 < 0.4
    labels, groups = problem.labels.numpy(), problem.groups.numpy()
    one, two = resplit(labels, groups, 0.5, seed, clusters.numpy())
    assert not set(clusters[one].tolist()) & set(clusters[two].tolist())
    assert len(one) + len(two) == 240


@pytest.mark.parametrize("seed", range(5))
def test_random_parts_keep_clusters_together(seed: int) -> None:
    clusters = np.repeat(np.arange(60), 1 + np.arange(60) % 7)[::-1] * 3
    n, bounds = len(clusters), {"train": (0.0, 0.6), "val": (0.6, 0.8), "test": (0.8, 1.0)}
    parts = random_parts(n, bounds, seed, clusters)
    assert sorted(np.concatenate([*parts.values()]).tolist()) == list(range(n))
    for name, rows in parts.items():
        others = np.concatenate([parts[other] for other in parts if other != name])
        assert not set(clusters[rows]) & set(clusters[others])
        assert abs(len(rows) - n * (bounds[name][1] - bounds[name][0])) <= 7
    assert not np.array_equal(parts["test"], random_parts(n, bounds, 5, clusters)["test"])


def test_clusters_of_one_row_are_divided_as_rows_are() -> None:
    bounds = {"first": (0.0, 0.25), "second": (0.25, 1.0)}
    parts = random_parts(40, bounds, 1, np.arange(40))
    assert [len(rows) for rows in parts.values()] == [10, 30]


@pytest.mark.parametrize("n_groups", [2, 3])
def test_folds_divide_every_cell_evenly(n_groups: int) -> None:
    problem = scored_rows(131, n_groups)
    folds = torch.from_numpy(stratified_folds(problem, 5, seed=0))
    by_fold = np.array([cell_sizes(problem, folds == fold) for fold in range(5)])
    assert by_fold.sum() == 131
    assert np.ptp(by_fold, axis=0).max() <= 1
    assert np.ptp(by_fold.sum(1)) <= 1
    assert np.array_equal(folds, stratified_folds(problem, 5, seed=0))
    assert not np.array_equal(folds, stratified_folds(problem, 5, seed=1))


def test_folds_keep_clusters_together() -> None:
    clusters = torch.arange(132) // 3
    problem = replace(scored_rows(132), clusters=clusters)
    folds = stratified_folds(problem, 5, seed=0).reshape(-1, 3)
    assert (folds == folds[:, :1]).all()
    assert sorted(np.bincount(folds[:, 0])) == [8, 9, 9, 9, 9]

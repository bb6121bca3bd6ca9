"""The holdout: disjoint, complete, stratified by label and group, and the same for a seed."""

from __future__ import annotations

import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.data.splitting import holdout
from fairfix.errors import UsageError
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
    fitting, judged = holdout(problem, share, seed=0)
    assert torch.cat([fitting, judged]).sort().values.tolist() == list(range(131))
    for side in (fitting, judged):
        assert side.tolist() == sorted(side.tolist())
    sizes = zip(cell_sizes(problem, torch.arange(131)), cell_sizes(problem, judged), strict=True)
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


def test_a_cell_of_one_row_stays_with_fitting_and_one_of_two_is_shared() -> None:
    labels, groups = torch.tensor([0, 1, 1, 0, 0]), torch.tensor([0, 0, 0, 1, 1])
    problem = Problem(torch.rand(5), labels, groups, ("a", "b"))
    for share in (0.01, 0.99):
        fitting, judged = holdout(problem, share, 0)
        assert cell_sizes(problem, fitting) == [1, 1, 1, 0]
        assert cell_sizes(problem, judged) == [0, 1, 1, 0]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.3, 1.5, float("nan")])
def test_the_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(UsageError, match="share of the rows between 0 and 1"):
        holdout(scored_rows(20), share, 0)

"""Inputs that hold the protected attribute are found, and others are not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from fairfix.data.protected_inputs import _ranks, protected_inputs, revealing_inputs

N = 200
RNG = np.random.default_rng(0)
GROUPS = RNG.integers(0, 2, N)
THREE = RNG.integers(0, 3, N)
AGE = np.where(GROUPS, RNG.uniform(25, 60, N), RNG.uniform(18, 25, N))
COLUMNS = {
    "the group itself": (GROUPS, GROUPS, True),
    "scaled": (GROUPS * 1.7 - 0.3, GROUPS, True),
    "all but one row": (np.where(np.arange(N) == 7, 1 - GROUPS, GROUPS), GROUPS, False),
    "an age with a limit": (AGE, GROUPS, True),
    "an age with two limits": (np.where(AGE > 50, AGE, AGE), (AGE > 25) & (AGE < 50), True),
    "codes, several a group": (2 * RNG.integers(0, 5, N) + GROUPS, GROUPS, True),
    "numbers that never repeat": (RNG.normal(size=N), GROUPS, False),
    "a constant": (np.ones(N), GROUPS, False),
    "three groups": (THREE * 10, THREE, True),
    "one of three groups": (THREE == 1, THREE, False),
    "with missing values": (np.where(np.arange(N) == 3, np.nan, GROUPS), GROUPS, False),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_that_determines_the_group_is_protected(name: str) -> None:
    column, groups, expected = COLUMNS[name]
    other = np.random.default_rng(1).normal(size=N)
    features = torch.tensor(np.column_stack([other, column]), dtype=torch.float32)
    found = protected_inputs(features, torch.tensor(groups).long(), 1 + int(groups.max()))
    assert found == ((1,) if expected else ())


def test_a_block_of_columns_determines_the_group() -> None:
    """No single column of the two does, and neither has two values."""
    rng = np.random.default_rng(1)
    other, shift = rng.normal(size=N), rng.integers(0, 3, N)
    features = torch.tensor(np.column_stack([other, THREE + shift, shift]), dtype=torch.float32)
    groups = torch.tensor(THREE)
    assert protected_inputs(features, groups, 3) == ()
    assert protected_inputs(features, groups, 3, [(1, 2)]) == (1, 2)
    assert protected_inputs(features, groups, 3, [(0, 1)]) == ()


CODE = np.eye(3)[THREE]
ONE = np.arange(N)[:, None] == THREE.argmax()


@pytest.mark.parametrize(
    ("columns", "groups", "expected"),
    [
        (CODE, THREE, (1, 2, 3)),
        (CODE * 2.1 - 0.7, THREE, (1, 2, 3)),
        (CODE[:, 1:], THREE, (1, 2)),
        (CODE[:, 1:], THREE > 0, (1, 2)),  # of one group and all others
        (np.column_stack([THREE, CODE]), THREE, (1, 2, 3, 4)),
        (CODE[:, :1], THREE, ()),
        (np.where(ONE, CODE[:, ::-1], CODE), THREE, ()),  # but for one row
        (RNG.random((N, 400)) < 0.02, GROUPS, ()),  # rare values may be in one group by chance
    ],
)
def test_a_one_hot_code_determines_the_group(
    columns: np.ndarray, groups: np.ndarray, expected: tuple[int, ...]
) -> None:
    other = np.random.default_rng(1).normal(size=(N, 1))
    features = torch.tensor(np.column_stack([other, columns]), dtype=torch.float32)
    ids = torch.tensor(groups).long()
    assert protected_inputs(features, ids, 1 + int(ids.max())) == expected


def test_a_column_of_a_rare_group_is_protected_with_the_others() -> None:
    """Most evenly spaced rows lack it."""
    groups = np.where(np.arange(5000) % 250 == 3, 2, np.arange(5000) % 2)
    features, ids = torch.tensor(np.eye(3)[groups], dtype=torch.float32), torch.tensor(groups)
    assert protected_inputs(features, ids, 3) == (0, 1, 2)


def test_an_input_that_all_but_determines_the_group_is_revealing() -> None:
    rng = np.random.default_rng(1)
    near = np.where(np.arange(N) == 7, 1 - GROUPS, GROUPS)
    columns = [rng.normal(size=N), near, -near, GROUPS + rng.normal(size=N)]
    features = torch.tensor(np.column_stack(columns), dtype=torch.float32)
    assert revealing_inputs(features, torch.tensor(GROUPS), 2) == (1, 2)
    assert protected_inputs(features, torch.tensor(GROUPS), 2) == ()
    values = rng.integers(0, 5, (50, 3))
    assert np.array_equal(_ranks(values), rankdata(values, axis=0))
    three = torch.tensor(np.column_stack([rng.normal(size=N), THREE == 1]), dtype=torch.float32)
    assert revealing_inputs(three, torch.tensor(THREE), 3) == (1,)


def test_few_rows_and_no_columns_have_no_protected_inputs() -> None:
    groups = torch.tensor([0, 1, 0, 1])
    assert protected_inputs(groups[:, None].float(), groups, 2) == ()
    assert protected_inputs(None, groups, 2) == ()

"""From scores to decisions by hand, and the lots that rows draw."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from fairfix.errors import UsageError
from fairfix.thresholds.policy import Policy, randomize_threshold, row_draws, row_ids

SCORES = torch.tensor([0.0, 0.2, 0.3, 0.5, 0.8, 1.0])
FIRST = torch.zeros(6, dtype=torch.int64)


def test_a_cut_is_strict() -> None:
    decided = Policy.shared(0.5).decide(SCORES, FIRST)
    assert decided.tolist() == [False, False, False, False, True, True]


def test_the_ends_decide_all_rows_alike() -> None:
    assert bool(Policy.shared(-1.0).decide(SCORES, FIRST).all())
    assert not bool(Policy.shared(1.0).decide(SCORES, FIRST).any())


def test_each_group_has_its_cut() -> None:
    groups = torch.tensor([0, 1, 2, 0, 1, 2])
    policy = Policy.by_group([0.4, 0.8, -1.0])
    assert policy.decide(SCORES, groups).tolist() == [False, False, True, True, False, True]
    assert policy.needs_group
    assert not policy.randomized


def test_a_lottery_by_hand() -> None:
    """0.9 above 0.6, 0.5 in (0.2, 0.6], 0.25 in (0, 0.2], nothing below."""
    policy = Policy((((0.6, 0.9), (0.2, 0.5), (0.0, 0.25)),))
    chances = policy.probability(SCORES, FIRST)
    assert chances.dtype == torch.float64
    assert chances.tolist() == [0.0, 0.25, 0.5, 0.5, 0.9, 0.9]
    lots = torch.tensor([0.0, 0.25, 0.49, 0.5, 0.89, 0.9], dtype=torch.float64)
    decided = policy.decide(SCORES, FIRST, lots)
    assert decided.tolist() == [False, False, True, False, True, False]
    assert policy.randomized
    assert not policy.needs_group


def test_chances_need_not_fall_with_the_score() -> None:
    policy = Policy((((0.6, 0.0), (0.2, 1.0)),))
    assert policy.probability(SCORES, FIRST).tolist() == [0, 0, 1, 1, 0, 0]
    lots = torch.full((6,), 0.5, dtype=torch.float64)
    assert policy.decide(SCORES, FIRST, lots).tolist() == [False, False, True, True, False, False]


def test_certain_chances_do_not_depend_on_the_lot() -> None:
    policy = Policy.by_group([0.4, 0.1])
    groups = torch.tensor([0, 1] * 3)
    for lot in (0.0, 0.5, 1 - 2**-53):
        lots = torch.full((6,), lot, dtype=torch.float64)
        assert torch.equal(policy.decide(SCORES, groups, lots), policy.decide(SCORES, groups))


def test_the_cut_of_each_group() -> None:
    assert Policy.shared(0.3).thresholds(3) == (0.3, 0.3, 0.3)
    assert Policy.by_group([0.3, 0.4]).thresholds(2) == (0.3, 0.4)
    mixed = Policy((((0.3, 1.0),), ((0.4, 0.9), (0.2, 0.1)), ((0.5, 0.7),)))
    first, *others = mixed.thresholds(3)
    assert first == 0.3
    assert all(math.isnan(t) for t in others)


@pytest.mark.parametrize("above", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("below", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("threshold", [-1.0, 0.4, 1.0])
def test_a_lottery_around_one_cut(threshold: float, above: float, below: float) -> None:
    policy = Policy((randomize_threshold(threshold, above, below),))
    expected = [above if score > threshold else below for score in SCORES.tolist()]
    assert policy.probability(SCORES, FIRST).tolist() == expected


@pytest.mark.parametrize("threshold", [1.1, -1.5, math.nan, math.inf, -math.inf])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"threshold lies in \[-1, 1\]"):
        Policy.shared(threshold)


@pytest.mark.parametrize("chance", [-0.1, 1.1, math.nan])
def test_chances_out_of_range_are_refused(chance: float) -> None:
    with pytest.raises(UsageError, match=r"probability lies in \[0, 1\]"):
        Policy((((0.5, chance),),))


@pytest.mark.parametrize("thresholds", [(), (0.2, 0.6), (0.5, 0.5), (0.6, 0.2, 0.4)])
def test_thresholds_that_do_not_fall_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="fall from one to the next"):
        Policy((((0.5, 1.0),), tuple((threshold, 0.5) for threshold in thresholds)))


def test_draws_by_hand() -> None:
    digest = hashlib.blake2b(b"row 7", digest_size=8, key=b"salt").digest()
    expected = int.from_bytes(digest, "little") / 2**64
    assert float(row_draws(["row 7"], "salt")) == pytest.approx(expected, abs=2**-52)


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    """Of ids that follow each other, and of one id under salts that do."""
    by_id = row_draws(range(20_000), "salt").numpy()
    by_salt = np.array([float(row_draws(["a"], f"salt {i}")) for i in range(5000)])
    for lots in (by_id, by_salt):
        assert lots.min() >= 0
        assert lots.max() < 1
        assert kstest(lots, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(lots[:-1], lots[1:])[0, 1]) < 0.03
    other = row_draws(range(20_000), "another salt").numpy()
    assert abs(np.corrcoef(by_id, other)[0, 1]) < 0.03


def test_an_id_draws_the_same_in_every_table() -> None:
    ids = [f"p{i}" for i in range(50)]
    lots = dict(zip(ids, row_draws(ids, "s").tolist(), strict=True))
    others = ["p49", "new", "p3", "p3"]
    found = row_draws(np.array(others, dtype=object), "s").tolist()
    assert [found[0], found[2], found[3]] == [lots["p49"], lots["p3"], lots["p3"]]
    assert len({*lots.values(), *found}) == 51


def test_another_salt_draws_anew() -> None:
    first, other = row_draws(range(100), "a"), row_draws(range(100), "b")
    assert not bool((first == other).any())


def test_numbers_draw_as_they_are_written() -> None:
    as_numbers = row_draws(np.arange(5), "s")
    assert torch.equal(as_numbers, row_draws(["0", "1", "2", "3", "4"], "s"))
    assert torch.equal(as_numbers, row_draws([b"0", b"1", b"2", b"3", b"4"], "s"))


def test_bytes_are_hashed_as_they_are() -> None:
    assert float(row_draws([b"\xff\x00"], "s")) != float(row_draws([str(b"\xff\x00")], "s"))


def test_no_rows_draw_nothing() -> None:
    assert row_draws([], "s").shape == (0,)


def test_rows_without_ids_are_told_apart_by_their_features() -> None:
    features = torch.tensor([[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]])
    lots = row_draws(row_ids(None, features), "s").tolist()
    assert lots[0] == lots[2] != lots[1]
    shuffled = row_draws(row_ids(None, features[[1, 0]]), "s").tolist()
    assert shuffled == [lots[1], lots[0]]


def test_ids_come_before_features() -> None:
    ids = np.array(["a", "b"])
    assert list(row_ids(ids, torch.zeros(2, 3))) == ["a", "b"]


def test_with_neither_a_lottery_is_refused() -> None:
    with pytest.raises(UsageError, match="--id"):
        row_ids(None, None)


def test_a_row_that_is_positive_stays_so_as_chances_grow() -> None:
    lots = row_draws(range(1000), "s")
    scores, groups = torch.full((1000,), 0.7), torch.zeros(1000, dtype=torch.int64)
    decided = [
        Policy((((0.5, chance),),)).decide(scores, groups, lots) for chance in (0.1, 0.4, 0.9)
    ]
    assert all(bool((a <= b).all()) for a, b in pairwise(decided))
    assert [float(d.double().mean()) for d in decided] == pytest.approx([0.1, 0.4, 0.9], abs=0.05)

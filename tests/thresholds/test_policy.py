"""From scores to decisions by hand, and the random draws of rows."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from fairfix.errors import UsageError
from fairfix.models.inputs import Inputs
from fairfix.thresholds.policy import Policy, randomize_threshold, row_draws, row_ids

SCORES = torch.tensor([0.0, 0.2, 0.3, 0.5, 0.8, 1.0])
FIRST = torch.zeros(6, dtype=torch.int64)


def test_a_threshold_is_strict() -> None:
    decided = Policy.shared(0.5).decide(SCORES, FIRST)
    assert decided.tolist() == [False, False, False, False, True, True]


def test_the_ends_decide_all_rows_alike() -> None:
    assert bool(Policy.shared(-1.0).decide(SCORES, FIRST).all())
    assert not bool(Policy.shared(1.0).decide(SCORES, FIRST).any())


def test_each_group_has_its_threshold() -> None:
    groups = torch.tensor([0, 1, 2, 0, 1, 2])
    policy = Policy.by_group([0.4, 0.8, -1.0])
    assert policy.decide(SCORES, groups).tolist() == [False, False, True, True, False, True]
    assert policy.needs_group
    assert not policy.randomized


def test_randomized_thresholds_by_hand() -> None:
    """0.9 above 0.6, 0.5 in (0.2, 0.6], 0.25 in (0, 0.2], nothing below."""
    policy = Policy((((0.6, 0.9), (0.2, 0.5), (0.0, 0.25)),))
    probabilities = policy.probability(SCORES, FIRST)
    assert probabilities.dtype == torch.float64
    assert probabilities.tolist() == [0.0, 0.25, 0.5, 0.5, 0.9, 0.9]
    draws = torch.tensor([0.0, 0.25, 0.49, 0.5, 0.89, 0.9], dtype=torch.float64)
    decided = policy.decide(SCORES, FIRST, draws)
    assert decided.tolist() == [False, False, True, False, True, False]
    assert policy.randomized
    assert not policy.needs_group


def test_probabilities_need_not_decrease_with_the_score() -> None:
    policy = Policy((((0.6, 0.0), (0.2, 1.0)),))
    assert policy.probability(SCORES, FIRST).tolist() == [0, 0, 1, 1, 0, 0]
    draws = torch.full((6,), 0.5, dtype=torch.float64)
    assert policy.decide(SCORES, FIRST, draws).tolist() == [False, False, True, True, False, False]


def test_certain_decisions_do_not_depend_on_the_draw() -> None:
    policy = Policy.by_group([0.4, 0.1])
    groups = torch.tensor([0, 1] * 3)
    for draw in (0.0, 0.5, 1 - 2**-53):
        draws = torch.full((6,), draw, dtype=torch.float64)
        assert torch.equal(policy.decide(SCORES, groups, draws), policy.decide(SCORES, groups))


def test_the_threshold_of_each_group() -> None:
    assert Policy.shared(0.3).thresholds(3) == (0.3, 0.3, 0.3)
    assert Policy.by_group([0.3, 0.4]).thresholds(2) == (0.3, 0.4)
    mixed = Policy((((0.3, 1.0),), ((0.4, 0.9), (0.2, 0.1)), ((0.5, 0.7),)))
    first, *others = mixed.thresholds(3)
    assert first == 0.3
    assert all(math.isnan(t) for t in others)


@pytest.mark.parametrize("above", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("below", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("threshold", [-1.0, 0.4, 1.0])
def test_randomizing_one_threshold(threshold: float, above: float, below: float) -> None:
    policy = Policy((randomize_threshold(threshold, above, below),))
    expected = [above if score > threshold else below for score in SCORES.tolist()]
    assert policy.probability(SCORES, FIRST).tolist() == expected


@pytest.mark.parametrize("threshold", [1.1, -1.5, math.nan, math.inf, -math.inf])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"threshold must be in \[-1, 1\]"):
        Policy.shared(threshold)


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_probabilities_out_of_range_are_refused(probability: float) -> None:
    with pytest.raises(UsageError, match=r"probability must be in \[0, 1\]"):
        Policy((((0.5, probability),),))


@pytest.mark.parametrize("thresholds", [(), (0.2, 0.6), (0.5, 0.5), (0.6, 0.2, 0.4)])
def test_thresholds_not_in_descending_order_are_refused(thresholds: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="must be in descending order"):
        Policy((((0.5, 1.0),), tuple((threshold, 0.5) for threshold in thresholds)))


def test_draws_by_hand() -> None:
    digest = hashlib.blake2b(b"row 7", digest_size=8, key=b"salt").digest()
    expected = int.from_bytes(digest, "little") / 2**64
    assert float(row_draws(["row 7"], "salt")) == pytest.approx(expected, abs=2**-52)


def test_draws_are_uniform_and_independent_of_each_other() -> None:
    """Of ids that follow each other, and of one id under salts that do."""
    by_id = row_draws(range(20_000), "salt").numpy()
    by_salt = np.array([float(row_draws(["a"], f"salt {i}")) for i in range(5000)])
    for draws in (by_id, by_salt):
        assert draws.min() >= 0
        assert draws.max() < 1
        assert kstest(draws, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03
    other = row_draws(range(20_000), "another salt").numpy()
    assert abs(np.corrcoef(by_id, other)[0, 1]) < 0.03


def test_an_id_gets_the_same_draw_in_every_table() -> None:
    ids = [f"p{i}" for i in range(50)]
    draws = dict(zip(ids, row_draws(ids, "s").tolist(), strict=True))
    others = ["p49", "new", "p3", "p3"]
    again = row_draws(np.array(others, dtype=object), "s").tolist()
    assert [again[0], again[2], again[3]] == [draws["p49"], draws["p3"], draws["p3"]]
    assert len({*draws.values(), *again}) == 51


def test_another_salt_gives_other_draws() -> None:
    first, other = row_draws(range(100), "a"), row_draws(range(100), "b")
    assert not bool((first == other).any())


def test_numbers_are_hashed_as_text() -> None:
    as_numbers = row_draws(np.arange(5), "s")
    assert torch.equal(as_numbers, row_draws(["0", "1", "2", "3", "4"], "s"))
    assert torch.equal(as_numbers, row_draws([b"0", b"1", b"2", b"3", b"4"], "s"))


def test_bytes_are_hashed_as_they_are() -> None:
    assert float(row_draws([b"\xff\x00"], "s")) != float(row_draws([str(b"\xff\x00")], "s"))


def test_no_rows_give_no_draws() -> None:
    assert row_draws([], "s").shape == (0,)


def test_rows_without_ids_are_identified_by_their_features() -> None:
    features = torch.tensor([[1.0, 2.0], [1.0, 2.5], [1.0, 2.0]])
    draws = row_draws(row_ids(None, Inputs.of(features)), "s").tolist()
    assert draws[0] == draws[2] != draws[1]
    shuffled = row_draws(row_ids(None, Inputs.of(features[[1, 0]])), "s").tolist()
    assert shuffled == [draws[1], draws[0]]


@pytest.mark.parametrize("shape", [(3, 2), (0, 5), (40_000, 200)])
def test_features_are_hashed_as_the_bytes_of_each_row(shape: tuple[int, ...]) -> None:
    features = torch.arange(float(np.prod(shape))).reshape(shape)
    expected = row_draws([row.tobytes() for row in features.numpy()], "s")
    assert torch.equal(row_draws(row_ids(None, Inputs.of(features)), "s"), expected)


def test_ids_come_before_features() -> None:
    ids = np.array(["a", "b"])
    assert list(row_ids(ids, torch.zeros(2, 3))) == ["a", "b"]


def test_neither_ids_nor_features_is_refused() -> None:
    with pytest.raises(UsageError, match="--id"):
        row_ids(None, None)


def test_a_positive_row_stays_positive_as_probabilities_increase() -> None:
    draws = row_draws(range(1000), "s")
    scores, groups = torch.full((1000,), 0.7), torch.zeros(1000, dtype=torch.int64)
    decided = [
        Policy((((0.5, probability),),)).decide(scores, groups, draws)
        for probability in (0.1, 0.4, 0.9)
    ]
    assert all(bool((a <= b).all()) for a, b in pairwise(decided))
    assert [float(d.double().mean()) for d in decided] == pytest.approx([0.1, 0.4, 0.9], abs=0.05)

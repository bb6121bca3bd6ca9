"""Rows that are not independent: what makes them clusters, and what does not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from fairfix.data.clusters import find_clusters


def measured(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def labels(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, n)


def test_copies_are_clusters() -> None:
    index = np.arange(60).repeat(30)
    found = find_clusters(None, None, measured(60)[index], labels(60)[index])
    assert found.codes is not None
    assert len(np.unique(found.codes)) == 60
    assert found.note == (
        "1,800 of 1,800 rows are copies of another row, so that they count as 60 independent rows"
    )
    assert found.warns


def test_some_copies_among_single_rows() -> None:
    values, label = measured(500), labels(500)
    extra = np.arange(100)
    found = find_clusters(
        None, None, np.concatenate([values, values[extra]]), np.concatenate([label, label[extra]])
    )
    assert found.codes is not None
    assert found.codes[:100].tolist() == found.codes[500:].tolist()
    assert len(np.unique(found.codes)) == 500


@pytest.mark.parametrize("scaled", [False, True])
def test_people_alike_in_whole_numbers_and_categories_repeat_honestly(scaled: bool) -> None:
    rng = np.random.default_rng(0)
    age, hours = rng.integers(17, 90, 4000), rng.choice([20, 35, 40, 40, 40, 60], 4000)
    values = np.stack([age, hours, rng.integers(0, 2, 4000)], 1).astype(np.float64)
    if scaled:
        values = (values - values.mean(0)) / values.std(0)
    found = find_clusters(None, None, values.astype(np.float32), labels(4000))
    assert found.codes is None
    assert "rows equal another row and count as independent" in found.note


def test_a_measurement_that_is_mostly_zero_does_not_make_copies() -> None:
    """Rows that agree only in the usual value of a measurement are not copies."""
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(3000) < 0.05, rng.lognormal(8, 1, 3000).round(2) + 0.01, 0.0)
    values = np.stack([gain, rng.integers(0, 20, 3000)], 1).astype(np.float32)
    found = find_clusters(None, None, values, labels(3000))
    assert found.codes is None
    assert "count as independent" in found.note


def test_another_label_does_not_hide_copies() -> None:
    values = measured(200)
    found = find_clusters(None, None, np.concatenate([values, values]), np.repeat([0, 1], 200))
    assert found.codes is not None
    assert len(np.unique(found.codes)) == 200
    assert found.note.startswith("400 of 400 rows are copies of another row, some with small")


@pytest.mark.parametrize("change", ["noise", "more noise", "column"])
def test_small_changes_do_not_hide_copies(change: str) -> None:
    rng = np.random.default_rng(5)
    values = measured(60)[np.arange(60).repeat(30)]
    if change == "column":
        values[:, 1] = rng.normal(size=1800)
    else:
        values *= 1 + (1e-6 if change == "noise" else 1e-3) * rng.normal(size=values.shape)
    values = np.column_stack([values, np.eye(3)[rng.integers(0, 3, 60)][np.arange(60).repeat(30)]])
    found = find_clusters(None, None, values.astype(np.float32), labels(1800))
    assert found.codes is not None
    assert 60 <= len(np.unique(found.codes)) <= 80


def shapes(n: int) -> Iterator[np.ndarray]:
    """Rows of one population: smooth, heavy-tailed, related, mostly zero, of round prices."""
    rng = np.random.default_rng(7)
    yield rng.normal(size=(n, 3))
    yield rng.lognormal(0, 3, (n, 3))
    yield rng.standard_cauchy((n, 2))
    base = rng.normal(size=(n, 1))
    yield np.hstack([base, 2 * base + 0.1 * rng.normal(size=(n, 1))])
    zero = rng.random((n, 2)) < 0.6
    yield np.where(zero, 0, rng.lognormal(0, 1, (n, 2)))
    prices = np.where(rng.random(n) < 0.5, rng.choice([8.25, 9.99, 40.5], n), rng.gamma(2, 5, n))
    yield np.column_stack([prices, rng.integers(0, 4, n)])


@pytest.mark.parametrize("n", [300, 5000])
def test_near_rows_of_one_population_are_not_copies(n: int) -> None:
    for values in shapes(n):
        assert find_clusters(None, None, values.astype(np.float32), labels(n)).codes is None


def test_coarse_measurements_collide_by_chance() -> None:
    values = np.random.default_rng(0).normal(size=(20_000, 1)).round(2).astype(np.float32)
    assert find_clusters(None, None, values, labels(20_000)).codes is None


def test_repeated_ids_and_named_clusters_come_first() -> None:
    ids = np.array(["a", "b", "a", "c"], dtype=object)
    found = find_clusters(None, ids, measured(4), labels(4))
    assert found.codes is not None
    assert found.codes[0] == found.codes[2] != found.codes[1]
    assert found.note == "4 rows of 3 clusters, by repeated ids"
    named = np.array(["x", "x", "y", "y"], dtype=object)
    found = find_clusters(named, ids, measured(4), labels(4))
    assert found.codes is not None
    assert found.codes.tolist() == [0, 0, 1, 1]
    assert find_clusters(np.array(list("abcd")), None, None, labels(4)).codes is None


def test_unique_ids_do_not_hide_copies() -> None:
    index = np.arange(60).repeat(3)
    ids = np.arange(180).astype(str).astype(object)
    assert find_clusters(None, ids, measured(60)[index], labels(60)[index]).codes is not None


def test_a_changed_column_of_wide_rows_does_not_hide_a_copy() -> None:
    values = np.random.default_rng(0).normal(size=(300, 3000)).astype(np.float32)
    index = np.arange(300).repeat(2)
    copied = values[index]
    copied[1, 1501] += 1
    found = find_clusters(None, None, copied, labels(300)[index])
    assert found.codes is not None
    assert len(np.unique(found.codes)) == 300

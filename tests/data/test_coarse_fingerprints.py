"""Tuned rows with small changes are the same rows; other people of the same kind are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.data.coarse_fingerprints import (
    CoarseFingerprints,
    coarse_overlaps,
    fingerprint_coarsely,
)
from fairfix.data.problem import Problem
from fairfix.data.row_fingerprints import Overlap
from fairfix.errors import UsageError
from fairfix.models.inputs import Inputs

N = 800


def problem(values: np.ndarray, ids: np.ndarray | None = None, *, scores: bool = False) -> Problem:
    """Rows of features, or of scores alone."""
    n = torch.arange(len(values))
    return Problem(
        torch.from_numpy(values) if scores else torch.full((len(values),), 0.5),
        n % 2,
        n // 2 % 2,
        ("a", "b"),
        inputs=None if scores else Inputs.of(torch.from_numpy(values.astype(np.float32))),
        ids=ids,
    )


def people(seed: int, n: int = N) -> np.ndarray:
    """Two measurements, an age in years, and eight categories as one-hot columns."""
    rng = np.random.default_rng(seed)
    one_hot = np.eye(8)[np.minimum(rng.geometric(0.4, n), 8) - 1]
    return np.column_stack([rng.normal(size=(n, 2)), rng.integers(17, 90, n) / 13, one_hot])


def counts(seed: int, n: int = N) -> np.ndarray:
    """Small whole numbers, of which many rows are equal by chance."""
    return np.random.default_rng(seed).geometric(0.4, (n, 5)).astype(float)


def most(tuned: np.ndarray, tested: np.ndarray) -> Overlap:
    known = fingerprint_coarsely(problem(tuned), "salt")
    assert known is not None
    found = coarse_overlaps(known, problem(tested))
    return max(found, key=lambda each: each.share_of_rows - each.by_chance)


def noise(size: float, *, relative: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    drawn = np.random.default_rng(9).normal(size=(N, 11)) * size
    return lambda x: x * (1 + drawn) if relative else x + drawn


def changed(column: int) -> Callable[[np.ndarray], np.ndarray]:
    other = np.random.default_rng(9).normal(size=N)
    return lambda x: np.column_stack([x[:, :column], other, x[:, column + 1 :]])


@pytest.mark.parametrize(
    "change",
    [noise(1e-6), noise(1e-3), noise(1e-3, relative=False), *(changed(i) for i in (0, 1, 2, 7))],
    ids=["1e-6", "1e-3", "absolute", "column 0", "column 1", "column 2", "column 7"],
)
def test_copies_with_small_changes_are_found(change: Callable[[np.ndarray], np.ndarray]) -> None:
    copied = change(people(0))
    found = most(people(0), copied)
    assert found.share_of_rows > 0.9
    assert found.too_many
    assert "compared rows nearly equal a row that the rule was tuned on" in found.description
    some = most(people(0), np.concatenate([copied[:160], people(1, N - 160)]))
    assert some.too_many
    assert some.share_of_rows - some.by_chance == pytest.approx(0.2, abs=0.04)


def test_the_label_does_not_hide_a_copy() -> None:
    known = fingerprint_coarsely(problem(people(0)), "salt")
    assert known is not None
    rows = problem(people(0))
    flipped = Problem(rows.scores, 1 - rows.labels, rows.groups, ("a", "b"), inputs=rows.inputs)
    assert all(each.share_of_rows == 1 for each in coarse_overlaps(known, flipped))


@pytest.mark.parametrize("draw", [people, counts], ids=["people", "counts"])
def test_other_people_of_the_same_kind_are_not_copies(
    draw: Callable[[int, int], np.ndarray],
) -> None:
    for seed in range(1, 6):
        found = most(draw(0, N), draw(seed, N))
        assert not found.too_many
        assert found.reused == 0


def test_scores_alone_and_with_ids() -> None:
    rng = np.random.default_rng(0)
    scores, ids = rng.beta(2, 3, N), np.arange(N).astype(str).astype(object)

    def reused(tested: np.ndarray, with_ids: bool) -> bool:
        known = fingerprint_coarsely(problem(scores, ids if with_ids else None, scores=True), "a")
        assert known is not None
        rows = problem(tested, ids if with_ids else None, scores=True)
        return any(each.too_many for each in coarse_overlaps(known, rows))

    assert reused(scores * (1 + 1e-7), False)
    assert reused(scores * (1 - 1e-3), True)
    assert not reused(rng.beta(2, 3, N), False)
    assert not reused(rng.beta(2, 3, N), True)  # rows that are numbered anew


def test_rows_that_cannot_be_told_apart_have_no_fingerprints() -> None:
    assert fingerprint_coarsely(problem(np.zeros((N, 3))), "salt") is None
    assert fingerprint_coarsely(problem(np.full(N, 0.5), scores=True), "salt") is None


def test_many_rows_are_sampled_and_the_file_stays_small() -> None:
    rows = people(0, 30_000)
    known = fingerprint_coarsely(problem(rows), "salt")
    assert known is not None
    assert all(len(part.hashes) < 3_400 for part in known.parts)
    found = max(coarse_overlaps(known, problem(rows[:15_000])), key=lambda each: each.share_of_rows)
    assert (found.share_of_rows, found.too_many) == (1.0, True)


def test_json_round_trip_and_damage() -> None:
    known = fingerprint_coarsely(problem(people(0)), "salt")
    assert known is not None
    data: dict[str, Any] = json.loads(json.dumps(known.to_json()))
    assert CoarseFingerprints.from_json(data) == known
    for change, message in (
        ({"units": [0.0] * len(known.units)}, r"units\[0\] must be above 0, not 0"),
        ({"units": data["units"][1:]}, "columns, origins and units differ in length"),
        ({"parts": [data["parts"][0] | {"columns": [99]}]}, "names a column that is not listed"),
    ):
        with pytest.raises(UsageError, match=message):
            CoarseFingerprints.from_json(data | change)

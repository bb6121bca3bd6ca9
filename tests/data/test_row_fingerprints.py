"""Fingerprints of tuned rows, against hashes made by hand and known shares of reused rows."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.data.row_fingerprints import (
    Overlap,
    RowFingerprints,
    fingerprint_ids,
    fingerprint_rows,
    id_overlap,
    overlap,
)
from fairfix.errors import UsageError
from fairfix.models.inputs import Inputs


def rows(features: np.ndarray | None, *, ids: np.ndarray | None = None, n: int = 0) -> Problem:
    """A problem whose labels and groups follow from where a row stands; of features or ids."""
    n = n or len(features if features is not None else ids if ids is not None else ())
    places = torch.arange(n)
    return Problem(
        torch.full((n,), 0.5),
        places % 2,
        places // 2 % 2,
        ("a", "b"),
        inputs=None
        if features is None
        else Inputs.of(torch.from_numpy(features.astype(np.float32))),
        ids=ids,
    )


def normal(n: int, seed: int = 0, width: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


def known(problem: Problem, salt: str = "salt") -> RowFingerprints:
    found = fingerprint_rows(problem, salt)
    assert found is not None
    return found


def test_hashes_made_by_hand() -> None:
    problem = rows(np.array([[1, 2.5], [-3, 0], [0.1, 7], [8, 9]]))
    found = known(problem, "pepper")
    key = hashlib.blake2b(b"pepper").digest()
    expected = [
        hashlib.blake2b(struct.pack("<3f", *row, place % 2), digest_size=8, key=key).hexdigest()
        for place, row in enumerate([(1, 2.5), (-3, 0), (0.1, 7), (8, 9)])
    ]
    assert found == RowFingerprints(
        version=2,
        salt="pepper",
        share=1.0,
        basis="features",
        rows=4,
        repeated=0.0,
        hashes=tuple(sorted(expected)),
    )


def test_a_row_is_the_same_row_in_any_table() -> None:
    """Whatever its place and its neighbors, its group, and the sign of its zeros."""
    features = normal(300)
    features[:, 1] = 0.0
    first = rows(features)
    other = replace(
        first.take(torch.randperm(300, generator=torch.Generator().manual_seed(1))[:90]),
        group_names=("x", "y"),
    )
    assert other.features is not None
    other.features[:, 1] = -0.0
    assert overlap(known(first), other) == Overlap(1.0, 90, 0.0, 300)


def test_rows_that_differ_in_a_feature_or_the_label_differ() -> None:
    features = normal(200)
    first = known(rows(features))
    moved = features.copy()
    moved[:, 2] *= 1.01
    assert overlap(first, rows(moved)).share_of_rows == 0
    relabeled = replace(rows(features), labels=1 - rows(features).labels)
    assert overlap(first, relabeled).share_of_rows == 0
    wider = rows(np.hstack([features, np.zeros((200, 1))]))
    assert overlap(first, wider).share_of_rows == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.char.mod("%.6g", x).astype(float),
        lambda x: x.astype(np.float32).astype(float),
        lambda x: np.hstack([x[:, :2], np.nextafter(x[:, 2:].astype(np.float32), np.float32(9))]),
        lambda x: np.hstack([x[:, :2], x[:, 2:] * (1 + 1e-6)]),
    ],
    ids=["format", "float32", "next float", "last digit"],
)
def test_another_format_or_last_digit_is_the_same_row(
    change: Callable[[np.ndarray], np.ndarray],
) -> None:
    features = np.round(normal(500), 7) * [1e-3, 1, 1e5]
    found = overlap(known(rows(features)), rows(change(features)))
    assert found.share_of_rows > 0.97
    assert found.too_many


def test_numbers_are_rounded_to_4_digits_across_powers_of_ten() -> None:
    same = [[9999.6, 10000.0, 10000.4], [0.0012341, 0.00123449, 0.00123351], [-5.0, -5.0, -5.0]]
    other = [[9999.4, 9999.0, 10006.0], [0.001233, 0.001236, -0.001234], [5.0, -5.01, 0.0]]
    features = np.array([row[:1] * 4 for row in same])
    tuned = known(replace(rows(features), labels=torch.tensor([0, 1, 1])))
    for values, share in ((same, 1.0), (other, 2 / 3)):
        for place, numbers in enumerate(values):
            for number in numbers:
                changed = features.copy()
                changed[place] = number
                found = overlap(tuned, replace(rows(changed), labels=torch.tensor([0, 1, 1])))
                assert found.share_of_rows == pytest.approx(share), number


@pytest.mark.parametrize(
    ("overlap_", "beyond", "too_many"),
    [
        (Overlap(0.13, 9_045, 0.082, 27_000), True, False),  # not 5 points
        (Overlap(0.15, 9_045, 0.082, 27_000), True, True),
        (Overlap(0.15, 100, 0.082, 27_000), False, False),  # not 3 standard errors
        (Overlap(0.082, 9_045, 0.082, 27_000), False, False),
        (Overlap(0.02, 9_045, 0.0, 27_000), True, False),
        (Overlap(1.0, 30, 0.0, 30), True, True),
        (Overlap(math.nan, 0, 0.0), False, False),
        (Overlap(1.0, 500, 0.95, 500), False, False),
    ],
)
def test_the_share_that_is_refused(overlap_: Overlap, beyond: bool, too_many: bool) -> None:
    assert (overlap_.beyond_chance, overlap_.too_many) == (beyond, too_many)


def numbered(start: int, n: int, seed: int) -> Problem:
    """Rows with the ids start, start + 1, ... and labels that are a coin's."""
    made = rows(normal(n, seed), ids=np.arange(start, start + n).astype(str).astype(object))
    coin = np.random.default_rng(seed).random(n) < 0.3
    return replace(made, labels=torch.from_numpy(coin.astype(np.int64)))


def test_ids_identify_rows_whose_features_changed() -> None:
    tuned = numbered(0, 1000, 0)
    first = fingerprint_ids(tuned, "salt")
    assert first is not None
    assert tuned.features is not None
    changed = replace(tuned, inputs=Inputs.of(tuned.features * 1.1))
    assert overlap(known(tuned), changed).share_of_rows == 0
    assert id_overlap(first, changed) == Overlap(1.0, 1000, 0.0)
    part = replace(numbered(800, 1000, 1))
    labels = part.labels.clone()
    labels[:200] = tuned.labels[800:]
    found = id_overlap(first, replace(part, labels=labels))
    assert (found.share_of_rows, found.too_many) == (0.2, True)


def test_tables_that_number_their_rows_anew_share_no_rows() -> None:
    first = fingerprint_ids(numbered(0, 1000, 0), "salt")
    assert first is not None
    for seed in range(1, 6):
        assert id_overlap(first, numbered(0, 1000, seed)).share_of_rows == 0
    assert id_overlap(first, rows(normal(10))).rows_compared == 0


def test_the_salt_changes_every_hash_and_nothing_else() -> None:
    one, two = (known(rows(normal(200)), salt) for salt in ("one", "two" * 100))
    assert not set(one.hashes) & set(two.hashes)
    assert overlap(one, rows(normal(200))) == overlap(two, rows(normal(200)))


def test_many_rows_are_sampled_by_their_hash() -> None:
    """A third of the test rows are tuned rows; 2/3 of all rows fall outside the share."""
    features = normal(60_000)
    first = known(rows(features))
    assert first.share == pytest.approx(1 / 3)
    assert len(first.hashes) == pytest.approx(20_000, rel=0.03)
    assert list(first.hashes) == sorted(first.hashes)
    test = features.copy()
    test[20_000:] = normal(40_000, seed=1)
    found = overlap(first, rows(test))
    assert found.rows_compared == pytest.approx(20_000, rel=0.03)
    assert found.share_of_rows == pytest.approx(1 / 3, abs=0.015)
    assert found.reused == pytest.approx(1 / 3, abs=0.015)


def test_few_distinct_rows_are_all_kept_however_often_they_occur() -> None:
    features = np.random.default_rng(0).integers(0, 2, (60_000, 3))
    first = known(rows(features))
    assert (first.share, len(first.hashes), first.repeated) == (1.0, 16, 1.0)


def test_repeated_rows_by_hand() -> None:
    """Rows 0, 2 and 4 are equal, and so are 1 and 5; 3 has another label than 0 and its like."""
    features = np.array([[1.0], [2], [1], [1], [1], [2], [7], [8]])
    assert known(rows(features)).repeated == 5 / 8


def draw(n: int, seed: int) -> np.ndarray:
    """Rows of which many look alike by chance: small whole numbers, the large ones rare."""
    return np.random.default_rng(seed).geometric(0.15, (n, 2)).astype(np.float64)


def test_rows_that_look_alike_by_chance_are_not_taken_for_reused() -> None:
    tuned = draw(2000, 0)
    first = known(rows(tuned))
    assert 0.5 < first.repeated < 0.9
    fresh = overlap(first, rows(draw(2000, 1)))
    assert fresh.share_of_rows == pytest.approx(first.repeated, abs=0.04)
    assert fresh.reused < 0.12
    mixed = np.concatenate([tuned[:1200], draw(800, 2)])
    assert overlap(first, rows(mixed)).reused == pytest.approx(0.6, abs=0.1)
    assert overlap(first, rows(tuned)).reused == 1


def test_the_description_of_an_overlap() -> None:
    assert Overlap(0.08, 9045, 0.072).description == (
        "8.0% of 9,045 compared rows equal a row that the rule was tuned on, 7.2% expected by "
        "chance"
    )
    assert "no row could be compared" in Overlap(math.nan, 0, 0.0).description


def test_reuse_is_undefined_where_most_rows_are_equal() -> None:
    alike = Overlap(1.0, 500, 0.95)
    assert math.isnan(alike.reused)
    assert alike.description.startswith(
        "95.0% of the rows that the rule was tuned on equal another"
    )
    assert Overlap(0.5, 500, 0.6).reused == 0


def test_ids_identify_rows_without_features() -> None:
    ids = np.array([f"p{i}" for i in range(100)], dtype=object)
    first = known(rows(None, ids=ids))
    assert (first.basis, len(first.hashes)) == ("ids", 100)
    later = rows(None, ids=np.array([f"p{i}" for i in range(80, 140)], dtype=object))
    assert overlap(first, later) == Overlap(20 / 60, 60, 0.0, 100)
    both = replace(rows(normal(100), ids=ids[::-1].copy()))
    assert overlap(first, both).share_of_rows == 1
    assert known(both).basis == "features"


def test_without_features_and_ids_there_is_no_result() -> None:
    bare = rows(None, n=50)
    assert fingerprint_rows(bare, "salt") is None
    for basis in (rows(normal(50)), rows(None, ids=np.arange(50).astype(object))):
        found = overlap(known(basis), bare)
        assert (found.rows_compared, math.isnan(found.share_of_rows)) == (0, True)
        assert math.isnan(found.reused)


def test_a_share_without_rows_gives_no_result() -> None:
    first = known(rows(normal(50))).model_copy(update={"share": 1e-15, "hashes": ()})
    assert overlap(first, rows(normal(50))).rows_compared == 0


def test_json_round_trip() -> None:
    for n in (30, 40_000):
        first = known(rows(normal(n)))
        assert RowFingerprints.from_json(json.loads(json.dumps(first.to_json()))) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "version must be 2, not 1."),
        ({"salt": 3}, "salt must be a string, not 3."),
        (
            {"basis": "names"},
            "basis must be 'features', 'ids' or 'ids and labels', not 'names'.",
        ),
        ({"rows": 0}, "rows must be at least 1, not 0."),
        ({"share": 0}, "share must be above 0, not 0."),
        ({"share": 1.5}, "share must be at most 1, not 1.5."),
        ({"share": float("nan")}, "share must be a finite number, not NaN."),
        ({"share": True}, "share must be a number, not true."),
        ({"repeated": -0.1}, "repeated must be at least 0, not -0.1."),
        ({"repeated": None}, "repeated must be a number, not null."),
        ({"hashes": "00" * 8}, "hashes must be a list, not '0000000000000000'."),
        (
            {"hashes": ["00" * 8, "xyz"]},
            "hashes[1] must match the pattern ^[0-9a-f]{16}$, not 'xyz'.",
        ),
        ({"hashes": [17]}, "hashes[0] must be a string, not 17."),
    ],
)
def test_damaged_json_is_refused_at_its_place(change: dict[str, Any], message: str) -> None:
    data = {**known(rows(normal(5))).to_json(), **change}
    with pytest.raises(UsageError) as error:
        RowFingerprints.from_json(data, "model.report.json, tuned_rows")
    assert str(error.value) == (
        f"model.report.json, tuned_rows: {message} Use the report as it was written, or debias "
        "again."
    )


@pytest.mark.parametrize("data", [None, [], "text", {}])
def test_other_json_is_refused(data: object) -> None:
    with pytest.raises(UsageError, match=r"^report: the top level (must be an object|has no key)"):
        RowFingerprints.from_json(data)


def test_a_hundred_thousand_wide_rows_take_less_than_a_second() -> None:
    """A tenth of a second each on a slow core: a million rows stay far below 10 s."""
    problem = rows(normal(100_000, width=60))
    start = time.process_time()
    known(problem)
    assert time.process_time() - start < 1


def test_a_list_of_hashes_that_was_emptied_is_refused() -> None:
    rows = [f"{i:016x}" for i in range(400)]
    document = {"version": 2, "salt": "a", "share": 1.0, "basis": "features", "rows": 400}
    complete = document | {"repeated": 0.1, "hashes": rows[:380]}
    assert len(RowFingerprints.from_json(complete).hashes) == 380
    for kept in ([], rows[:100]):
        with pytest.raises(UsageError, match=f"has {len(kept)} hashes where about 360 belong"):
            RowFingerprints.from_json(complete | {"hashes": kept})

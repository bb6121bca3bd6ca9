"""Worst subgroups: binning, search, and the false alarm rate of the tests."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom, binomtest, fisher_exact
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.methods._aif360 import no_warnings
from fairfix.models.inputs import Inputs
from fairfix.stats.subgroups.column_bins import BinnedColumn, bin_columns
from fairfix.stats.subgroups.conjunctions import find_strongest, in_subgroup
from fairfix.stats.subgroups.worst_subgroups import worst_subgroups
from tests.helpers.toys import random_state

SEX, RACE = ("F", "M"), ("A", "B", "C", "D")


def people(
    n: int, seed: int, *, shift: float = 0.0, features: int = 3
) -> tuple[Problem, Tensor, tuple[Group, ...], tuple[str, ...]]:
    """Decisions by coin, of a rate lower by ``shift`` for sex=F & race=B, 8 % of the rows."""
    rng = np.random.default_rng(seed)
    sex, race = rng.integers(0, 2, n), rng.choice(4, n, p=[0.1, 0.16, 0.24, 0.5])
    x = rng.normal(size=(n, features)).astype(np.float32)
    labels = rng.integers(0, 2, n)
    rate = 0.5 - shift * ((sex == 0) & (race == 1))
    problem = Problem(
        torch.full((n,), 0.5),
        torch.from_numpy(labels),
        torch.from_numpy(sex),
        SEX,
        inputs=Inputs.of(torch.from_numpy(x)),
    )
    decisions = torch.from_numpy(rng.random(n) < rate)
    groups = Group("sex", sex, SEX), Group("race", race, RACE)
    return problem, decisions, groups, tuple(f"x{i}" for i in range(features))


def test_a_planted_subgroup_is_found_and_named() -> None:
    problem, decisions, groups, names = people(5000, 1, shift=0.25, features=8)
    scan = worst_subgroups(problem, decisions, groups, names)
    assert (scan.searched, scan.tested) == (3000, 2000)
    assert scan.columns == ("sex", "race", *names)
    found = {(each.rate_of, each.direction): each for each in scan.significant(0.001)}
    for key in [("selection_rate", "lower"), ("fnr", "higher"), ("fpr", "lower")]:
        assert found[key].where == {"sex": "F", "race": "B"}
        assert found[key].name == "sex=F & race=B"
    selected = found["selection_rate", "lower"]
    here = (groups[0].ids == 0) & (groups[1].ids == 1)
    assert selected.share == pytest.approx(here.mean())
    assert selected.interval.low < -0.25 < selected.interval.high < 0
    assert selected.interval.low < selected.difference < selected.interval.high


def test_a_planted_range_of_a_number_is_found() -> None:
    problem, _, groups, names = people(6000, 2)
    assert problem.features is not None
    x, sex = problem.features[:, 1].numpy(), groups[0].ids
    rng = np.random.default_rng(5)
    low, high = np.quantile(x, [0.2, 0.6])
    inside_range = (x > low) & (x <= high) & (sex == 1)
    decisions = torch.from_numpy(rng.random(6000) < 0.4 + 0.3 * inside_range)
    best = worst_subgroups(problem, decisions, groups, names).subgroups[0]
    assert (best.direction, list(best.where)) == ("higher", ["sex", "x1"])
    said_low, said_high = map(float, best.where["x1"].split(" to "))
    assert [said_low, said_high] == pytest.approx([low, high], abs=0.01)


def test_a_planted_subgroup_is_found_in_nearly_every_table() -> None:
    scans = [worst_subgroups(*people(5000, seed, shift=0.25), seed=seed) for seed in range(12)]
    named = ["sex=F & race=B" in {each.name for each in scan.significant()} for scan in scans]
    assert sum(named) >= 11


def test_the_family_wise_error_rate_is_kept() -> None:
    scans = [worst_subgroups(*people(400, seed), seed=seed) for seed in range(160)]
    alarms = sum(bool(scan.significant(0.05)) for scan in scans)
    assert binomtest(alarms, len(scans), 0.05, alternative="greater").pvalue > 0.001
    assert sum(len(scan.subgroups) for scan in scans) > 160


def test_without_separate_test_rows_the_error_rate_is_exceeded() -> None:
    """The same search, tested on the rows that it searched: what the split is there for."""
    wrong: int = 0
    for seed in range(40):
        problem, decisions, groups, names = people(400, seed)
        assert problem.features is not None
        columns = bin_columns(groups, problem.features.numpy(), names)
        codes = np.stack([column.codes for column in columns], 1)
        hits = decisions.numpy()
        found = find_strongest(codes, [column.sets for column in columns], hits, 30)
        p_values = [
            fisher(hits, in_subgroup(conditions, codes), direction)
            for direction, conditions in found.items()
        ]
        wrong += min(p_values) < 0.05 / 6
    assert binomtest(wrong, 40, 0.05, alternative="greater").pvalue < 1e-6


def fisher(hits: np.ndarray, rows: np.ndarray, direction: str) -> float:
    table = [[hits[side].sum(), (~hits[side]).sum()] for side in (rows, ~rows)]
    alternative = {"higher": "greater", "lower": "less"}[direction]
    return float(fisher_exact(table, alternative=alternative).pvalue)


def judged_rows(n: int, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[int(0.6 * n) :])


@pytest.mark.parametrize("weighted", [False, True])
def test_estimates_are_those_of_the_test_rows(weighted: bool) -> None:
    problem, decisions, groups, names = people(3000, 3, shift=0.3)
    weights = np.random.default_rng(0).uniform(0.5, 2, 3000) if weighted else np.ones(3000)
    if weighted:
        problem = replace(problem, weights=torch.from_numpy(weights))
    scan = worst_subgroups(problem, decisions, groups, names, seed=7)
    found = next(each for each in scan.subgroups if each.name == "sex=F & race=B")
    assert found.rate_of == "selection_rate"
    rows = judged_rows(3000, 7)
    here = ((groups[0].ids == 0) & (groups[1].ids == 1))[rows]
    hit, w = decisions.numpy()[rows], weights[rows]
    assert found.rows == here.sum()
    assert found.rate == pytest.approx(np.average(hit[here], weights=w[here]))
    assert found.rest == pytest.approx(np.average(hit[~here], weights=w[~here]))
    if not weighted:
        assert scan.subgroups[0] == found  # the surest pays for all that were tested
        alone = fisher(hit, here, "lower")
        assert found.p_adjusted == pytest.approx(len(scan.subgroups) * alone)


def test_candidates_with_too_few_rows_are_not_tested() -> None:
    problem, decisions, groups, names = people(120, 4)
    scan = worst_subgroups(problem, decisions, groups, names)
    assert scan.too_few
    assert not scan.significant(1.0) or min(each.rows for each in scan.subgroups) >= 30


def test_decisions_all_alike_have_no_subgroups() -> None:
    problem, decisions, groups, names = people(500, 0)
    scan = worst_subgroups(problem, torch.ones_like(decisions), groups, names)
    assert scan.subgroups == ()
    assert scan.too_few == ()


def test_without_features_protected_columns_remain() -> None:
    problem, decisions, groups, _ = people(4000, 1, shift=0.3)
    scan = worst_subgroups(problem, decisions, groups)
    assert scan.columns == ("sex", "race")
    assert scan.subgroups[0].where == {"sex": "F", "race": "B"}
    bare = replace(problem, inputs=None)
    assert worst_subgroups(bare, decisions, groups) == scan


def test_of_many_features_the_most_informative_are_searched() -> None:
    problem, _, groups, names = people(4000, 6, features=40)
    assert problem.features is not None
    x = problem.features[:, 33].numpy()
    rng = np.random.default_rng(1)
    decisions = torch.from_numpy(rng.random(4000) < np.where(x > np.quantile(x, 0.8), 0.8, 0.4))
    best = worst_subgroups(problem, decisions, groups, names).subgroups[0]
    assert list(best.where) == ["x33"]
    assert best.where["x33"].startswith("above ")


def test_equal_seed_equal_result_and_random_state_untouched() -> None:
    inputs = people(1500, 8, shift=0.2)
    before = random_state()
    first, second, other = (worst_subgroups(*inputs, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first != other
    assert random_state() == before


# The search itself


def by_hand(
    codes: np.ndarray, columns: list[BinnedColumn], hits: np.ndarray, least: int, higher: bool
) -> float:
    """The strength of the strongest subgroup, one subgroup after the other."""
    options = [column.sets for column in columns]
    rate, best = hits.mean(), -np.inf
    for length in (1, 2, 3):
        choices = [
            list(zip(chosen, sets, strict=True))
            for chosen in itertools.combinations(range(len(columns)), length)
            for sets in itertools.product(*(options[c] for c in chosen))
        ]
        for conditions in choices:
            rows = np.all([allowed[codes[:, c]] for c, allowed in conditions], axis=0)
            n, k = rows.sum(), hits[rows].sum()
            if least <= n <= len(hits) - least and (k > n * rate) == higher:
                ratio = binom.logpmf(k, n, k / n) - binom.logpmf(k, n, rate)
                best = max(best, ratio - np.log(len(choices)))
    return float(best)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_is_exhaustive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = (2, 3, 4, 2)
    codes = np.stack([rng.integers(0, width, 150) for width in widths], 1)
    columns = [
        BinnedColumn(str(c), codes[:, c], tuple("abcd"[:width]), ordered=width == 4)
        for c, width in enumerate(widths)
    ]
    hits = rng.random(150) < 0.3 + 0.4 * ((codes[:, 0] == 0) & (codes[:, 1] == 2))
    found = find_strongest(codes, [column.sets for column in columns], hits, 10)
    sizes = [len(column.sets) for column in columns]
    for direction, conditions in found.items():
        rows = in_subgroup(conditions, codes)
        n, k = rows.sum(), hits[rows].sum()
        looked_at = sum(
            np.prod(chosen) for chosen in itertools.combinations(sizes, len(conditions))
        )
        ratio = binom.logpmf(k, n, k / n) - binom.logpmf(k, n, hits.mean())
        best = by_hand(codes, columns, hits, 10, direction == "higher")
        assert ratio - np.log(looked_at) == pytest.approx(best)
    assert set(found) == {"higher", "lower"}


def test_aif360s_subset_scan_finds_the_same_subgroup() -> None:
    with no_warnings():
        from aif360.detectors.mdss.MDSS import MDSS
        from aif360.detectors.mdss.ScoringFunctions import Bernoulli

    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, width, 2500) for width in (2, 4, 3)], 1)
    hits = rng.random(2500) < 0.5 - 0.3 * ((codes[:, 0] == 1) & (codes[:, 1] == 2))
    columns = [BinnedColumn("", codes[:, c], ("",) * width) for c, width in enumerate((2, 4, 3))]
    state = np.random.get_state()
    subset, _ = MDSS(Bernoulli(direction="negative")).scan(
        pd.DataFrame(codes, columns=["0", "1", "2"]),
        pd.Series(np.full(2500, hits.mean()), name="expected"),
        pd.Series(hits.astype(int), name="observed"),
        penalty=2.0,
        num_iters=3,
    )
    np.random.set_state(state)
    found = find_strongest(codes, [column.sets for column in columns], hits, 30)["lower"]
    assert found == {0: {1}, 1: {2}}
    assert subset == {"0": [1], "1": [2]}


# Columns as a few values


def test_numbers_are_binned_into_described_intervals() -> None:
    x = np.arange(100, dtype=np.float32)[:, None]
    (column,) = bin_columns((), x, ["age"])
    assert np.bincount(column.codes).tolist() == [20] * 5
    assert column.describe([0]) == "up to 19"
    assert column.describe([1, 2]) == "19 to 59"
    assert column.describe([0, 3, 4]) == "up to 19 or above 59"
    assert len(column.sets) == 14  # 5 + 4 + 3 + 2 runs of 1 to 4 neighbors
    assert sorted(column.sets.sum(1)) == [1] * 5 + [2] * 4 + [3] * 3 + [4] * 2


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 0.99])
def test_intervals_hold_every_row_even_with_many_equal_numbers(share: float) -> None:
    rng = np.random.default_rng(0)
    x = np.where(rng.random(500) < share, 3.0, rng.normal(3, 2, 500)).astype(np.float32)
    (column,) = bin_columns((), x[:, None], ["x"])
    assert column.edges is not None
    edges = np.array([-np.inf, *column.edges, np.inf])
    assert ((edges[column.codes] < x) & (x <= edges[column.codes + 1])).all()
    assert set(column.codes) == set(range(len(column.values)))


def test_inputs_of_one_category_become_one_column() -> None:
    kinds = np.repeat([0, 1, 2, 3], 50)
    raw = np.eye(4, 3)[kinds]  # the fourth has no input of its own
    scaled = ((raw - raw.mean(0)) / raw.std(0)).astype(np.float32)
    (column,) = bin_columns((), scaled, ["job=a", "job=b", "job=c"])
    assert (column.column, column.values) == ("job", ("a", "b", "c", "(other)"))
    assert column.codes.tolist() == kinds.tolist()
    assert column.describe([0, 1, 2]) == "not (other)"
    assert column.describe([0, 2]) == "a or c"
    assert len(column.sets) == 8


def test_inputs_that_are_not_one_hot_stay_separate() -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 40, np.float32)
    assert [c.column for c in bin_columns((), x, ["job=a", "job=b"])] == ["job=a", "job=b"]


def test_rare_categories_are_merged() -> None:
    ids = np.repeat(np.arange(6), [100, 60, 29, 5, 1, 40])
    (column,) = bin_columns([Group("race", ids, tuple("abcdef"))], None, ())
    assert column.values == ("a", "b", "f", "(rare)")
    assert np.bincount(column.codes).tolist() == [100, 60, 40, 35]


def test_duplicate_and_constant_columns_are_dropped() -> None:
    rng = np.random.default_rng(0)
    sex = rng.integers(0, 2, 300)
    x = np.stack([np.where(sex == 1, -3.0, 2.5), np.ones(300), rng.normal(size=300)], 1)
    found = bin_columns([Group("sex", sex, SEX)], x.astype(np.float32), ["code", "one", "sex"])
    assert [column.column for column in found] == ["sex"]


def test_of_many_inputs_those_most_correlated_with_the_decisions_are_searched() -> None:
    problem, _, groups, _ = people(2000, 4, features=1200)
    assert problem.features is not None
    decisions = problem.features[:, 1100] > 0.3
    names = tuple(f"x{i}" for i in range(1200))
    scan = worst_subgroups(problem, decisions, groups, names)
    assert (scan.inputs, scan.inputs_left_out) == (1000, 200)
    assert "of 1,200 inputs the 1,000 most correlated" in scan.notes[0]
    assert all("x1100" in each.where for each in scan.significant() if each.rate_of == "fpr")
    assert "x1100" in scan.columns


def test_images_are_not_searched() -> None:
    problem, decisions, groups, _ = people(400, 4)
    images = replace(problem, inputs=Inputs.of(torch.zeros(400, 3, 4, 4)))
    scan = worst_subgroups(images, decisions, groups, [f"p{i}" for i in range(48)])
    assert scan.columns == ("sex", "race")
    assert "not searched" in scan.notes[0]


def test_a_number_whose_first_rows_are_equal_is_not_taken_for_few_values() -> None:
    x = np.concatenate([np.zeros(1500), np.linspace(1, 2, 1500)])[:, None]
    (column,) = bin_columns([], x, ["x"])
    assert column.edges == pytest.approx((0.0, np.quantile(x, 0.6), np.quantile(x, 0.8)), abs=1e-3)


def test_many_columns_are_compared_by_partition_not_in_pairs() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(0, 4, 500)
    x = np.stack([one, 3 - one, one * 2.5, rng.integers(0, 4, 500)], 1).astype(float)
    assert [c.column for c in bin_columns([], x, ["a", "b", "c", "d"])] == ["a", "d"]


def test_rows_of_one_cluster_are_no_further_evidence() -> None:
    """Decisions drawn by cluster, 25 rows each: without the clusters most tables raise an alarm."""
    alarms = {"rows": 0, "clusters": 0}
    for seed in range(8):
        problem, decisions, groups, names = people(120, seed)
        copies = torch.arange(120).repeat_interleave(25)
        groups = tuple(replace(group, ids=group.ids[copies.numpy()]) for group in groups)
        rows = problem.take(copies)
        clustered = replace(rows, clusters=copies)
        scan = worst_subgroups(clustered, decisions[copies], groups, names)
        assert (scan.searched, scan.tested) == (1800, 1200)
        alarms["clusters"] += bool(scan.significant())
        alarms["rows"] += bool(
            worst_subgroups(rows, decisions[copies], groups, names).significant()
        )
    assert alarms["clusters"] <= 1
    assert alarms["rows"] >= 6

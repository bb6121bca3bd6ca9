"""Calibration: bins, rates and errors against counts by hand, and their values by chance."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from fairfix.data.problem import Problem
from fairfix.stats.calibration import Calibration, calibration
from fairfix.stats.confidence import ConfidenceLevel
from tests.helpers.toys import scored_rows


def drawn(n: int, seed: int, *, lift: float = 0.0) -> Problem:
    """Labels that follow the scores, but for group b, whose rates are ``lift`` higher."""
    rng = np.random.default_rng(seed)
    scores, groups = rng.uniform(0.05, 0.85, n).astype(np.float32), np.arange(n) % 2
    labels = rng.random(n) < scores + lift * groups
    return Problem(
        torch.from_numpy(scores),
        torch.from_numpy(labels.astype(np.int64)),
        torch.from_numpy(groups),
        ("a", "b"),
    )


def by_name(problem: Problem) -> dict[str, Calibration]:
    return {each.name: each for each in calibration(problem)}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("levels", [0, 7])
def test_figures_are_those_counted_by_hand(weighted: bool, levels: int) -> None:
    problem = scored_rows(1000, seed=3, weighted=weighted, levels=levels)
    scores, labels = problem.scores.numpy().astype(float), problem.labels.numpy()
    weights = np.ones(1000) if problem.weights is None else problem.weights.numpy()
    for g, name in enumerate(("a", "b")):
        found, here = by_name(problem)[name], problem.groups.numpy() == g
        s, y, w = scores[here], labels[here], weights[here]
        assert found.rows == len(s) == sum(each.rows for each in found.bins)
        assert found.base_rate == pytest.approx(np.average(y, weights=w))
        assert found.mean_score == pytest.approx(np.average(s, weights=w))
        assert found.bias == pytest.approx(np.average(s - y, weights=w))
        error = 0.0
        for each in found.bins:
            part = (s >= each.low) & (s <= each.high)
            assert each.rows == part.sum()
            assert each.mean_score == pytest.approx(np.average(s[part], weights=w[part]))
            assert each.rate == pytest.approx(np.average(y[part], weights=w[part]))
            assert each.interval.low < each.rate < each.interval.high or each.rate in (0, 1)
            error += w[part].sum() / w.sum() * abs(each.rate - each.mean_score)
        assert found.error == pytest.approx(error)


def test_bins_are_equal_without_ties_and_never_split_equal_scores() -> None:
    everyone, *groups = calibration(scored_rows(1000, seed=0))
    assert [each.rows for each in everyone.bins] == [100] * 10
    assert [len(group.bins) for group in groups] == [10, 10]
    tied = calibration(scored_rows(1000, seed=0, levels=4))[0]
    assert len(tied.bins) <= 5
    for one, other in zip(tied.bins, tied.bins[1:], strict=False):
        assert one.low <= one.high < other.low


def test_small_groups_have_few_bins() -> None:
    problem = drawn(1000, 0)
    groups = torch.zeros(1000, dtype=torch.long)
    groups[:75], groups[75:80] = 1, 2
    found = calibration(replace(problem, groups=groups, group_names=("many", "some", "few")))
    assert {each.name: len(each.bins) for each in found} == {
        "all rows": 10,
        "many": 10,
        "some": 2,
        "few": 1,
    }


def test_calibrated_scores_have_the_error_expected_by_chance() -> None:
    found = [group for seed in range(60) for group in calibration(drawn(600, seed))[1:]]
    errors = np.array([each.error for each in found])
    chance = np.array([each.error_by_chance for each in found])
    assert errors.mean() == pytest.approx(chance.mean(), rel=0.05)
    covered = [each.bias_interval.low < 0 < each.bias_interval.high for each in found]
    assert binomtest(sum(covered), len(covered), 0.9).pvalue > 0.001


def test_scores_that_are_too_low_for_one_group() -> None:
    found = by_name(drawn(4000, 2, lift=0.1))
    assert found["a"].bias_interval.low < 0 < found["a"].bias_interval.high
    assert found["b"].bias_interval.low < -0.1 < found["b"].bias_interval.high < 0
    assert found["b"].error == pytest.approx(0.1, abs=0.03)
    assert found["b"].error > 2 * found["b"].error_by_chance
    low, high = found["a"].base_rate_interval.low, found["a"].base_rate_interval.high
    wilson = binomtest(round(2000 * found["a"].base_rate), 2000).proportion_ci(0.9, "wilson")
    # Half a step of what can be observed is added on both sides.
    assert (low, high) == pytest.approx((wilson.low, wilson.high), abs=0.6 / 2000)
    assert low <= wilson.low
    assert wilson.high <= high


def test_few_rows_with_equal_labels_keep_a_wide_interval() -> None:
    problem = Problem(
        torch.tensor([0.9] * 40 + [0.2] * 40),
        torch.tensor([1] * 40 + [0, 1] * 20),
        torch.tensor([0] * 40 + [1] * 40),
        ("all favorable", "mixed"),
    )
    found = by_name(problem)["all favorable"]
    assert found.bias == pytest.approx(-0.1, abs=1e-6)
    assert found.bias_interval.high - found.bias_interval.low > 0.05
    assert found.bins[0].interval.low < 0.95
    assert found.bins[0].interval.high == 1


def test_rows_without_weight_are_undefined() -> None:
    problem = drawn(100, 0)
    found = by_name(replace(problem, weights=1.0 - problem.groups.double()))["b"]
    assert math.isnan(found.base_rate)
    assert math.isnan(found.bias_interval.low)
    assert math.isnan(found.bins[0].rate)


def test_confidence_widens_intervals() -> None:
    problem = drawn(500, 0)
    (narrow, *_), (wide, *_) = (
        calibration(problem, confidence=ConfidenceLevel(c)) for c in (0.8, 0.99)
    )
    for one, other in (
        (narrow.bias_interval, wide.bias_interval),
        (narrow.base_rate_interval, wide.base_rate_interval),
        (narrow.bins[3].interval, wide.bins[3].interval),
    ):
        assert other.low < one.low < one.high < other.high


def test_copies_in_clusters_leave_the_intervals_as_they_were() -> None:
    problem = scored_rows(400)
    copies = torch.arange(400).repeat_interleave(3)
    once = calibration(problem)
    clustered = calibration(replace(problem.take(copies), clusters=copies))
    as_rows = calibration(problem.take(copies))
    for one, many, wrong in zip(once, clustered, as_rows, strict=True):
        for name in ("base_rate_interval", "bias_interval"):
            (low, high), (low_c, high_c), (low_r, high_r) = (
                (getattr(each, name).low, getattr(each, name).high) for each in (one, many, wrong)
            )
            assert (low_c, high_c) == pytest.approx((low, high), abs=0.003)
            assert high_r - low_r < 0.65 * (high - low)

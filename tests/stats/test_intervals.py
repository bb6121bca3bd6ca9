"""Confidence limits against published figures, scipy, statsmodels and brute force."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import optimize, stats
from statsmodels.stats.proportion import confint_proportions_2indep

from fairfix.metrics.counts import Counts
from fairfix.metrics.performance import PERFORMANCES, auc_by_group
from fairfix.stats.auc_intervals import PlacementValues, auc, auc_change, auc_gap
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    WILSON,
    clopper_pearson,
    continuity_correction,
    contrast_limits,
    contrast_z,
    exact_contrast_limits,
    exact_ratio_limits,
    rate_interval,
    ratio_limits,
    ratio_z,
    wilson,
)
from fairfix.stats.performance_intervals import (
    performance,
    performance_change,
    performance_of_table,
)

Z = float(stats.norm.isf(0.05))
ODDS = np.array([0.5, -0.5, 0.5, -0.5])


def counts(*sides: list[float], effect: float = 1.0) -> Counts:
    return Counts(*(torch.tensor(side, dtype=torch.float64) for side in sides), effect)


@pytest.mark.parametrize(("hits", "trials"), [(0, 30), (1, 40), (17, 50), (30, 30), (3, 3000)])
def test_limits_of_a_rate_equal_scipys(hits: int, trials: int) -> None:
    test = stats.binomtest(hits, trials)
    for step, method in ((0.0, "wilson"), (0.5, "wilsoncc")):
        theirs = test.proportion_ci(0.9, method)
        assert wilson(hits, trials, 0.05, correction=step) == pytest.approx(
            tuple(theirs), abs=1e-12
        )
    exact = test.proportion_ci(0.9, "exact")
    assert clopper_pearson(hits, trials, 0.05) == pytest.approx(tuple(exact), abs=1e-12)


def test_a_rate_has_exact_limits_with_small_counts_or_on_request() -> None:
    assert rate_interval(50, 100).method == WILSON
    for few in (rate_interval(9, 100), rate_interval(91, 100), rate_interval(50, 100, exact=True)):
        assert few.method == CLOPPER_PEARSON
    assert rate_interval(9, 100).low == pytest.approx(float(clopper_pearson(9, 100, 0.05).low))


def test_a_rate_without_rows_is_undefined() -> None:
    assert math.isnan(rate_interval(0, 0).low)
    assert np.isnan(contrast_limits([0, 3], [0, 9], [1, -1], 0.05)).all()
    assert np.isnan(exact_contrast_limits([0, 3], [0, 9], [1, -1], 0.05)).all()
    assert np.isnan(ratio_limits([0, 0], [9, 9], 0.05)).all()


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        ((56, 48), (70, 80), 0.0528, 0.3382),
        ((9, 3), (10, 10), 0.1700, 0.8406),
    ],
)
def test_a_difference_is_as_published(
    hits: tuple[int, int], trials: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe 1998, table II, Miettinen and Nurminen's method at 95 %."""
    found = contrast_limits(hits, trials, [1, -1], 0.025)
    assert found == pytest.approx((low, high), abs=5e-5)


def likeliest(hits: np.ndarray, trials: np.ndarray, shares: np.ndarray) -> float:
    """Log-likelihood; no share of 0 or 1 is asked for."""
    return float((hits * np.log(shares) + (trials - hits) * np.log1p(-shares)).sum())


def brute_z(hits: np.ndarray, trials: np.ndarray, coefficients: np.ndarray, bound: float) -> float:
    """The score statistic with the shares found by an optimizer that knows nothing of it."""
    seen = hits / trials
    found = optimize.minimize(
        lambda shares: -likeliest(hits, trials, shares),
        np.clip(seen, 0.1, 0.9),
        method="SLSQP",
        bounds=[(1e-7, 1 - 1e-7)] * len(hits),
        constraints={"type": "eq", "fun": lambda shares: coefficients @ shares - bound},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    shares, total = found.x, trials.sum()
    variance = (coefficients**2 * shares * (1 - shares) / trials).sum() * total / (total - 1)
    return float((coefficients @ seen - bound) / math.sqrt(variance))


@pytest.mark.parametrize("coefficients", [np.array([1.0, -1.0]), ODDS, np.array([0.5, 0.5])])
def test_limits_have_the_score_statistic_of_an_optimizer(coefficients: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        trials = rng.integers(30, 400, len(coefficients)).astype(float)
        hits = np.rint(trials * rng.uniform(0.1, 0.9, len(trials)))
        low, high = contrast_limits(hits, trials, coefficients, 0.05)
        assert brute_z(hits, trials, coefficients, float(low)) == pytest.approx(Z, abs=2e-3)
        assert brute_z(hits, trials, coefficients, float(high)) == pytest.approx(-Z, abs=2e-3)


def test_limits_of_a_ratio_equal_statsmodels() -> None:
    """Only the ratio: of a difference, statsmodels 0.15 has a slip in the cubic equation."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        trials = rng.integers(50, 2000, 2)
        hits = np.rint(trials * rng.uniform(0.1, 0.9, 2))
        theirs = confint_proportions_2indep(
            hits[0], trials[0], hits[1], trials[1], method="score", compare="ratio", alpha=0.1
        )
        assert ratio_limits(hits, trials, 0.05) == pytest.approx(theirs, rel=1e-6)


def test_limits_are_where_the_statistics_equal_z() -> None:
    rng = np.random.default_rng(2)
    trials = rng.integers(20, 500, (50, 2))
    hits = rng.binomial(trials, rng.choice([0.02, 0.3, 0.97], (50, 2)))
    inside = (hits > 0).all(-1) & (hits < trials).all(-1)
    hits, trials = hits[inside], trials[inside]
    low, high = contrast_limits(hits, trials, [1, -1], 0.05)
    np.testing.assert_allclose(contrast_z(hits, trials, [1, -1], low), Z, atol=1e-6)
    np.testing.assert_allclose(contrast_z(hits, trials, [1, -1], high), -Z, atol=1e-6)
    low, high = ratio_limits(hits, trials, 0.05)
    np.testing.assert_allclose(ratio_z(hits, trials, low), Z, atol=1e-6)
    np.testing.assert_allclose(ratio_z(hits, trials, high), -Z, atol=1e-6)


def test_limits_of_arrays_are_those_of_each_entry() -> None:
    rng = np.random.default_rng(3)
    trials = rng.integers(1, 60, (40, 4))
    hits = rng.binomial(trials, rng.choice([0, 0.1, 0.5, 1], (40, 4)))
    together = contrast_limits(hits, trials, ODDS, 0.05)
    for k in range(40):
        alone = contrast_limits(hits[k], trials[k], ODDS, 0.05)
        np.testing.assert_allclose([side[k] for side in together], alone, atol=1e-7)
    mirrored = contrast_limits(hits, trials, -ODDS, 0.05)
    np.testing.assert_allclose(mirrored.low, -together.high, atol=1e-7)


def test_rates_of_0_have_intervals_of_positive_width() -> None:
    low, high = contrast_limits([0, 0], [50, 50], [1, -1], 0.05)
    assert high == pytest.approx(-low)
    assert 0.03 < high < 0.08
    low, high = contrast_limits([0, 50], [50, 50], [1, -1], 0.05)
    assert low == pytest.approx(-1)
    assert -1 < high < -0.9


def test_a_ratio_to_0_has_no_upper_limit() -> None:
    for limits in (
        ratio_limits([9, 0], [40, 40], 0.05),
        exact_ratio_limits([9, 0], [40, 40], 0.05),
    ):
        assert limits.high == math.inf
        assert 1 < limits.low < math.inf
    assert ratio_limits([0, 5], [40, 40], 0.05).low == 0


def test_exact_limits_of_a_difference_combine_those_of_its_rates_at_half_alpha() -> None:
    ones, others = (clopper_pearson(hits, 60, 0.025) for hits in (7, 20))
    found = exact_contrast_limits([7, 20], [60, 60], [1, -1], 0.05)
    assert found == pytest.approx((ones.low - others.high, ones.high - others.low))


@pytest.mark.parametrize("trials", [(30, 30), (4, 6), (7, 9), (12, 30)])
def test_continuity_correction_is_half_of_the_smallest_step(trials: tuple[int, int]) -> None:
    n, m = trials
    seen = {round(x / n - y / m, 12) for x, y in product(range(n + 1), range(m + 1))}
    steps = np.diff(sorted(seen))
    assert continuity_correction(trials) == pytest.approx(steps.min() / 2)
    assert continuity_correction((n + 0.5, m)) == 0


def test_weights_count_as_effective_rows() -> None:
    sides = [40.0, 30.0], [10.0, 30.0], [20.0, 30.0], [50.0, 60.0]
    halved = [[n / 2 for n in side] for side in sides]
    for key in PERFORMANCES:
        heavy = performance(key, counts(*sides, effect=2.0)).interval(0.05)
        fewer = performance(key, counts(*halved)).interval(0.05)
        assert (heavy.low, heavy.high) == pytest.approx((fewer.low, fewer.high))


@pytest.mark.parametrize("key", PERFORMANCES)
def test_performance_lies_in_both_of_its_intervals(key: str) -> None:
    c = counts([60, 30], [20, 10], [25, 20], [80, 90])
    found, exact = performance(key, c), performance(key, c, exact=True)
    near, wide = found.interval(0.05), exact.interval(0.05)
    assert found.value == pytest.approx(float(PERFORMANCES[key](c)))
    assert 0 < max(near.low, wide.low) < found.value < min(near.high, wide.high) < 1
    assert near.method != wide.method == CLOPPER_PEARSON
    assert found.interval(0.2).low > near.low


def test_balanced_accuracy_has_half_the_interval_of_a_difference() -> None:
    found = performance("balanced_accuracy", counts([60.0], [20.0], [25.0], [81.0])).interval(0.05)
    low, high = contrast_limits([60, 20], [85, 101], [1, -1], 0.05)
    step = 0.5 / (85 * 101)
    assert (found.low, found.high) == pytest.approx(((low - step + 1) / 2, (high + step + 1) / 2))


def scores(seed: int, n: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two score vectors with ties, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    one = (rng.normal(size=n) + labels).round(1)
    return one, (one + rng.normal(size=n)).round(1), labels


def in_order(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(positives, negatives): whether each pair is in order, ties one half."""
    ahead = scores[labels == 1][:, None] - scores[labels == 0]
    return np.where(ahead > 0, 1.0, np.where(ahead == 0, 0.5, 0.0))


def test_area_and_covariance_are_those_of_all_pairs() -> None:
    one, other, labels = scores(0)
    placed = PlacementValues.from_scores([one, other], labels, None)
    pairs = np.stack([in_order(vector, labels) for vector in (one, other)])
    assert placed.auc == pytest.approx(pairs.mean((1, 2)))
    expected = np.cov(pairs.mean(2)) / pairs.shape[1] + np.cov(pairs.mean(1)) / pairs.shape[2]
    np.testing.assert_allclose(placed.covariance, expected)


def test_weighted_area_equals_auc_by_group() -> None:
    one, _, labels = scores(1)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(labels))
    tensors = [torch.from_numpy(a) for a in (one, labels, np.zeros_like(labels))]
    judged = auc_by_group(*tensors, 1, torch.from_numpy(weights))
    assert auc(one, labels, weights).value == pytest.approx(float(judged))
    scaled, plain = (auc(one, labels, w).interval(0.05) for w in (5 * weights, weights))
    assert (scaled.low, scaled.high) == pytest.approx((plain.low, plain.high))


def test_area_of_a_perfect_order_is_not_certain() -> None:
    found = auc(np.arange(40), np.arange(40) >= 20).interval(0.05)
    assert found.high == 1
    assert found.low == pytest.approx(0.05 ** (1 / 20))  # 20 of 20, exactly


def test_area_with_one_label_only_is_undefined() -> None:
    found = auc([0.1, 0.4], [1, 1])
    assert math.isnan(found.value)
    assert math.isnan(found.interval(0.05).low)


def test_equal_scores_have_no_change_of_area() -> None:
    one, _, labels = scores(2)
    found = auc_change(one, 2 * one + 1, labels).interval(0.05)
    assert (found.low, found.high) == pytest.approx((0, 0))


def test_change_of_area_is_after_minus_before() -> None:
    one, other, labels = scores(3, 200)
    there, back = auc_change(one, other, labels), auc_change(other, one, labels)
    assert there.value == pytest.approx(auc(other, labels).value - auc(one, labels).value)
    assert there.interval(0.05).low == pytest.approx(-back.interval(0.05).high)


def test_areas_of_groups_differ_as_their_intervals_say() -> None:
    one, _, labels = scores(4, 400)
    groups = np.arange(400) % 2
    found = auc_gap(one, labels, groups, 2)
    areas = [auc(one[groups == g], labels[groups == g]) for g in (0, 1)]
    assert found.value == pytest.approx(areas[0].value - areas[1].value)
    first, second = (area.interval(0.05) for area in areas)
    down = math.hypot(areas[0].value - first.low, second.high - areas[1].value)
    assert found.interval(0.05).low == pytest.approx(found.value - down)
    many = auc_gap(one, labels, np.arange(400) % 3, 3)
    assert 0 <= many.interval(0.05).low <= many.value <= many.interval(0.05).high


@pytest.mark.parametrize("key", PERFORMANCES)
def test_a_change_of_decisions_is_after_minus_before(key: str) -> None:
    rng = np.random.default_rng(5)
    labels, before, after = rng.integers(0, 2, (3, 300))
    found = performance_change(key, before, after, labels)
    hits = [
        counts(*([float((decided * y).sum())] for decided, y in (
            (d, labels), (d, 1 - labels), (1 - d, labels), (1 - d, 1 - labels))))
        for d in (before, after)
    ]  # fmt: skip
    was, now = (float(PERFORMANCES[key](c)) for c in hits)
    assert found.value == pytest.approx(now - was)
    interval = found.interval(0.05)
    assert interval.low < found.value < interval.high
    doubled = performance_change(key, before, after, labels, np.full(300, 2.0)).interval(0.05)
    assert (doubled.low, doubled.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize("key", PERFORMANCES)
def test_a_change_is_as_uncertain_as_its_bootstrap(key: str) -> None:
    rng = np.random.default_rng(6)
    table = np.array([[[300.0, 40], [70, 150]], [[60, 80], [30, 400]]])
    kinds = np.repeat(np.arange(8), table.astype(int).ravel())
    labels, before, after = kinds // 4, kinds // 2 % 2, kinds % 2
    found = performance_change(key, before, after, labels).interval(0.05)
    drawn = np.stack(
        [rng.multinomial(int(side.sum()), side.ravel() / side.sum(), 4000) for side in table], 1
    ).reshape(-1, 2, 2, 2)
    spread = (
        performance_of_table(key, drawn.sum(-2)) - performance_of_table(key, drawn.sum(-1))
    ).std()
    assert (found.high - found.low) / (2 * Z) == pytest.approx(float(spread), rel=0.06)


@pytest.mark.parametrize("key", PERFORMANCES)
def test_the_interval_of_a_change_is_around_the_change_not_around_0(key: str) -> None:
    labels = np.arange(2000) % 2
    before, after = np.where(np.arange(2000) % 10 < 4, 1 - labels, labels), labels
    found = performance_change(key, before, after, labels)
    interval = found.interval(0.05)
    assert found.value > 0.3
    assert (interval.low + interval.high) / 2 == pytest.approx(found.value, abs=0.01)
    assert interval.low > 0.3


def test_no_observed_change_has_an_interval_of_positive_width() -> None:
    decided = np.arange(200) % 2
    found = performance_change("accuracy", decided, decided, np.arange(200) % 4 > 1).interval(0.05)
    assert found.low < -0.01
    assert found.high > 0.01

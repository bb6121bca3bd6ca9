"""Verdicts on budgets and floors, and power analysis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import false_positive_rate
from fairfix.stats.auc_intervals import auc, auc_gap
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_intervals import MetricRates, certified, p_violated, violated
from fairfix.stats.intervals import (
    Interval,
    clopper_pearson,
    continuity_correction,
    contrast_limits,
    ratio_limits,
)
from fairfix.stats.performance_intervals import PerformanceEstimate, performance
from fairfix.stats.power import at_gap, certifiable_gap, rows_needed
from fairfix.stats.verdicts import (
    Verdict,
    claim,
    floor_claim,
    holm,
)

NAMES = ("a", "b")
EXACT = ConfidenceLevel(exact=True)
Z = float(stats.norm.isf(0.05))


def table(
    rows: Sequence[float],
    tpr: Sequence[float],
    fpr: Sequence[float],
    positives: float = 0.5,
    effect: float = 1.0,
) -> Counts:
    """The counts of groups with these rows, true and false positive rates."""
    n, t, f = (torch.tensor(list(values), dtype=torch.float64) for values in (rows, tpr, fpr))
    ones, zeros = positives * n, (1 - positives) * n
    return Counts(t * ones, f * zeros, (1 - t) * ones, (1 - f) * zeros, effect)


ALIKE = table([4000, 6000], [0.7, 0.7], [0.2, 0.2])
APART = table([4000, 6000], [0.3, 0.97], [0.02, 0.3])


@pytest.mark.parametrize("groups", [2, 3, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_the_largest_contrast_is_the_size_of_the_gap(metric: str, groups: int) -> None:
    rng = np.random.default_rng(groups)
    c = table(rng.integers(40, 900, groups), rng.random(groups), rng.random(groups))
    cells, gap = MetricRates.from_counts(metric, c), METRICS[metric](c)
    assert abs(cells.estimates()).max() == pytest.approx(cells.contrast.bound(float(gap.size)))
    assert cells.signed == (groups == 2 and metric not in ("aaod", "eqodds"))


@pytest.mark.parametrize("metric", METRICS)
def test_verdicts_of_large_tables(metric: str) -> None:
    good, bad = (claim(metric, c, NAMES, 0.1) for c in (ALIKE, APART))
    assert good.verdict is Verdict.CERTIFIED
    assert bad.verdict is Verdict.VIOLATED
    assert good.rows_needed is None
    assert bad.rows_needed is None
    assert good.p_violated > 0.05 > bad.p_violated
    for c, found in ((ALIKE, good), (APART, bad)):
        assert found.value == pytest.approx(float(METRICS[metric](c).value))
        assert found.interval.low <= found.value <= found.interval.high
        assert found.title == METRICS[metric].title
        assert not found.reason.endswith(".")


@pytest.mark.parametrize("metric", METRICS)
def test_a_gap_on_few_rows_is_inconclusive_with_the_rows_needed(metric: str) -> None:
    small = table([110, 165], [0.74, 0.68], [0.22, 0.22])
    found = claim(metric, small, NAMES, 0.1)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows_needed is not None
    a, b = (found.rows_needed[name] for name in NAMES)
    assert a > 200
    assert b / a == pytest.approx(1.5, abs=0.01)


def test_a_difference_is_tested_by_its_two_limits() -> None:
    hits, trials = [700.0, 660.0], [2000.0, 2000.0]
    c = table([2000, 2000], [0.35, 0.33], [0.35, 0.33])
    found = claim("spd", c, NAMES, 0.05)
    correction = continuity_correction(trials)
    low, high = contrast_limits(hits, trials, [1, -1], 0.05)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (low - correction, high + correction)
    )
    assert float(high + correction) < 0.05
    assert found.verdict is Verdict.CERTIFIED
    surer = claim("spd", c, NAMES, float(high + correction) - 1e-6)
    assert surer.verdict is Verdict.INCONCLUSIVE
    assert (
        claim("spd", c, NAMES, 0.05, confidence=ConfidenceLevel(0.999)).verdict
        is Verdict.INCONCLUSIVE
    )


def test_a_ratio_is_tested_in_both_directions() -> None:
    c = table([3000, 3000], [0.40, 0.50], [0.40, 0.50])
    found = claim("di", c, NAMES, 0.3)
    assert found.value == pytest.approx(0.8)
    expected = ratio_limits(
        [1200, 1500], [3000, 3000], 0.05, correction=continuity_correction([3000, 3000])
    )
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected))
    assert found.verdict is Verdict.CERTIFIED
    turned = claim("di", table([3000, 3000], [0.50, 0.40], [0.50, 0.40]), NAMES, 0.3)
    assert turned.verdict is Verdict.CERTIFIED
    assert turned.interval.low == pytest.approx(1 / found.interval.high)


@pytest.mark.parametrize("metric", METRICS)
def test_exact_limits_on_request_or_with_small_counts(metric: str) -> None:
    rare = table([2000, 3000], [0.998, 0.998], [0.002, 0.002], positives=0.998)
    asked = claim(metric, ALIKE, NAMES, 0.1, confidence=EXACT)
    assert asked.interval.method == "Clopper-Pearson"
    plain = claim(metric, ALIKE, NAMES, 0.1)
    assert asked.interval.high - asked.interval.low > plain.interval.high - plain.interval.low
    itself = claim(metric, rare, NAMES, 0.1)
    assert "Clopper-Pearson" in itself.test
    assert "exact limits" in itself.reason or itself.verdict is Verdict.TOO_FEW
    assert "exact limits" not in plain.reason


def test_exact_limits_of_a_difference_by_hand() -> None:
    c = table([50, 80], [0.1, 0.5], [0.1, 0.5])
    found = claim("spd", c, NAMES, 0.05)
    few, many = clopper_pearson(5, 50, 0.025), clopper_pearson(40, 80, 0.025)
    limits = (float(few.low - many.high), float(few.high - many.low))
    assert (found.interval.low, found.interval.high) == pytest.approx(limits)


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_few_rows_never_certify_but_may_violate(metric: str) -> None:
    c = table([58, 9000], [0.5, 0.5], [0.5, 0.5])
    thin = claim(metric, c, ("few", "many"), 0.9)
    assert thin.verdict is (Verdict.CERTIFIED if metric == "spd" else Verdict.TOO_FEW)
    if metric == "eod":
        assert thin.reason == (
            "group few has 29 rows with a favorable label, and at least 30 are needed"
        )
        assert thin.rows_needed == {"few": 60, "many": 9311}
    apart = claim(metric, table([40, 9000], [0.05, 0.9], [0.05, 0.9]), NAMES, 0.2)
    assert apart.verdict is Verdict.VIOLATED


def test_one_row_is_too_few() -> None:
    found = claim("spd", table([1, 900], [1.0, 0.5], [1.0, 0.5]), NAMES, 0.1)
    assert found.verdict is Verdict.TOO_FEW
    assert found.reason.startswith("group a has 1 rows")


@pytest.mark.parametrize("metric", ["eod", "aod", "eqodds", "aaod"])
def test_an_undefined_rate_is_too_few(metric: str) -> None:
    c = table([100, 900], [0.5, 0.5], [0.5, 0.5])
    none = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = claim(metric, Counts(c.tp * none, c.fp, c.fn * none, c.tn), NAMES, 0.9)
    assert found.verdict is Verdict.TOO_FEW
    assert "group a has 0 rows with a favorable label" in found.reason
    assert math.isnan(found.value)
    assert math.isnan(found.interval.low)
    assert math.isnan(found.p_violated)
    assert found.rows_needed is None


def test_a_ratio_of_0_to_0_is_undefined() -> None:
    found = claim("di", table([500, 500], [0.0, 0.0], [0.0, 0.0]), NAMES, 0.2)
    assert found.verdict is Verdict.TOO_FEW
    assert "undefined" in found.reason
    assert math.isnan(found.interval.high)


def test_no_rows_help_a_gap_beyond_the_budget() -> None:
    found = claim("spd", table([200, 200], [0.5, 0.44], [0.5, 0.44]), NAMES, 0.05)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.rows_needed is None


def test_components_of_an_average_have_their_own_verdicts() -> None:
    found = claim("aod", table([9000, 9000], [0.8, 0.6], [0.2, 0.4]), NAMES, 0.05)
    assert found.verdict is Verdict.CERTIFIED
    assert [c.metric for c in found.alongside] == ["eod", "fprd"]
    assert [c.verdict for c in found.alongside] == [Verdict.VIOLATED, Verdict.VIOLATED]
    assert claim("spd", ALIKE, NAMES, 0.05).alongside == ()


@pytest.mark.parametrize("metric", ["spd", "di", "aod", "eqodds"])
def test_of_more_groups_every_pair_is_certified_and_one_pair_violates(metric: str) -> None:
    names = ("a", "b", "c")
    alike = table([6000] * 3, [0.6] * 3, [0.4] * 3)
    assert claim(metric, alike, names, 0.1).verdict is Verdict.CERTIFIED
    one_off = table([6000] * 3, [0.6, 0.6, 0.3], [0.4, 0.4, 0.1])
    found = claim(metric, one_off, names, 0.1)
    assert found.verdict is Verdict.VIOLATED
    pairs = [
        claim(metric, Counts(*(side[[i, j]] for side in one_off.sides)), NAMES, 0.1)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    verdicts = [pair.verdict for pair in pairs]
    assert verdicts == [Verdict.CERTIFIED, Verdict.VIOLATED, Verdict.VIOLATED]


def test_of_more_groups_violation_is_corrected_and_certification_is_not() -> None:
    c = table([1500] * 3, [0.30, 0.30, 0.385], [0.30, 0.30, 0.385])
    three = claim("spd", c, ("a", "b", "c"), 0.05)
    two = claim("spd", Counts(*(side[[0, 2]] for side in c.sides)), NAMES, 0.05)
    assert two.verdict is Verdict.VIOLATED
    assert three.verdict is Verdict.INCONCLUSIVE
    assert three.p_violated == pytest.approx(3 * two.p_violated)
    assert three.interval.high == pytest.approx(-two.interval.low)
    assert 0 < three.interval.low < -two.interval.high


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_violated_if_its_p_value_is_at_most_alpha(metric: str, exact: bool) -> None:
    rng = np.random.default_rng(7)
    agreed = {True: 0, False: 0}
    for _ in range(25):
        c = table(rng.integers(60, 900, 2), rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.9, 2))
        whole = Counts(*(side.round() for side in c.sides))
        cells = MetricRates.from_counts(metric, whole)
        beyond = bool(violated(cells, 0.1, 0.05, exact=exact))
        assert beyond == (p_violated(cells, 0.1, exact=exact) <= 0.05)
        agreed[beyond] += 1
    assert all(agreed.values())


def test_row_weights_widen_the_interval() -> None:
    light = table([2000, 2000], [0.35, 0.33], [0.35, 0.33])
    heavy = table([2000, 2000], [0.35, 0.33], [0.35, 0.33], effect=2.0)
    plain, weighted = (claim("spd", c, NAMES, 0.05) for c in (light, heavy))
    assert plain.verdict is Verdict.CERTIFIED
    assert weighted.verdict is Verdict.INCONCLUSIVE
    half = claim("spd", table([1000, 1000], [0.35, 0.33], [0.35, 0.33]), NAMES, 0.05)
    assert weighted.interval == half.interval
    assert weighted.rows_needed is not None
    assert half.rows_needed is not None
    for name in NAMES:
        assert weighted.rows_needed[name] == pytest.approx(2 * half.rows_needed[name], abs=2)


def test_weights_that_leave_few_effective_rows_are_too_few() -> None:
    found = claim("spd", table([100, 900], [0.5, 0.5], [0.5, 0.5], effect=4.5), NAMES, 0.9)
    assert found.verdict is Verdict.TOO_FEW
    assert "22.2 effective rows" in found.reason


def test_a_group_whose_weights_are_zero_has_no_rows() -> None:
    found = claim("spd", table([math.nan, 900], [0.5, 0.5], [0.5, 0.5]), NAMES, 0.9)
    assert "nan" not in found.reason


# What a table can show


@pytest.mark.parametrize("metric", METRICS)
def test_the_certifiable_gap_is_where_certification_ends(metric: str) -> None:
    c = table([900, 1500], [0.7, 0.72], [0.3, 0.29])
    largest = certifiable_gap(metric, c, 0.15)
    assert largest is not None
    assert 0 < largest < 0.15
    assert certifiable_gap(metric, c, 0.01) is None
    assert certifiable_gap(metric, c, 0.15, confidence=EXACT) < largest


def test_the_certifiable_gap_if_observed_is_certified() -> None:
    c = table([1000, 1000], [0.4, 0.4], [0.4, 0.4])
    largest = certifiable_gap("spd", c, 0.05)
    assert largest is not None

    def seen(gap: float) -> Verdict:
        shares = [0.4 + gap / 2, 0.4 - gap / 2]
        return claim("spd", table([1000, 1000], shares, shares), NAMES, 0.05).verdict

    assert seen(largest - 2e-4) is Verdict.CERTIFIED
    assert seen(largest + 2e-4) is Verdict.INCONCLUSIVE


def rows_by_formula(share: float, gap: float, budget: float) -> float:
    """Rows of each of two equal groups for a power of 80 %, were differences normal."""
    spread = math.sqrt(share * (1 - share) + (share + gap) * (1 - share - gap))

    def lack(n: float) -> float:
        z = [
            stats.norm.cdf(side * math.sqrt(n) / spread - Z)
            for side in (budget - gap, budget + gap)
        ]
        return float(sum(z)) - 1 - 0.8

    return float(optimize.brentq(lack, 10, 1e5))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.3, 0.5])
@pytest.mark.parametrize("gap", [0.0, 0.01, 0.02])
def test_rows_needed_are_near_those_of_the_normal_formula(share: float, gap: float) -> None:
    """Rare hits take more: the formula knows nothing of the exact limits that they get."""
    found = rows_needed("spd", table([100, 100], [share + gap, share], [share + gap, share]), 0.05)
    assert found is not None
    near = {0.05: 0.15, 0.1: 0.06}.get(share, 0.04)
    assert found[0] == found[1] == pytest.approx(rows_by_formula(share, gap, 0.05), rel=near)


def test_rows_needed_if_there_is_no_gap() -> None:
    seen = table([100, 300], [0.32, 0.3], [0.32, 0.3])
    pooled = table([100, 300], [0.305, 0.305], [0.305, 0.305])
    assert rows_needed("spd", seen, 0.05, true_gap=0.0) == rows_needed("spd", pooled, 0.05)
    assert rows_needed("spd", seen, 0.05) > rows_needed("spd", seen, 0.05, true_gap=0.0)
    assert rows_needed("spd", seen, 0.05, true_gap=0.05) is None


def test_rows_needed_grow_with_stricter_demands() -> None:
    c = table([100, 300], [0.3, 0.31], [0.2, 0.2])
    plain = rows_needed("eod", c, 0.05)
    assert plain is not None
    for more in (
        rows_needed("eod", c, 0.05, power=0.9),
        rows_needed("eod", c, 0.05, confidence=ConfidenceLevel(0.99)),
        rows_needed("eod", c, 0.05, confidence=EXACT),
        rows_needed("eod", c, 0.04),
        rows_needed("eqodds", c, 0.05),
    ):
        assert more is not None
        assert more[0] > plain[0]


@pytest.mark.parametrize("metric", ["spd", "eod", "aod", "di"])
def test_power_with_the_rows_needed_by_plain_simulation(metric: str) -> None:
    c = table([300, 700], [0.62, 0.6], [0.28, 0.3], positives=0.4)
    budget = 0.2 if metric == "di" else 0.08
    needed = rows_needed(metric, c, budget)
    assert needed is not None
    rng, n = np.random.default_rng(8), 4000
    sides = np.stack([side.numpy() for side in c.sides]) * (needed[0] / 300)
    ones, zeros = np.rint(sides[0] + sides[2]).astype(int), np.rint(sides[1] + sides[3]).astype(int)
    drawn = [
        rng.binomial(rows, hits / (hits + misses), (n, 2))
        for rows, hits, misses in ((ones, sides[0], sides[2]), (zeros, sides[1], sides[3]))
    ]
    tp, fp = (torch.from_numpy(hits).double() for hits in drawn)
    counts = Counts(tp, fp, torch.from_numpy(ones) - tp, torch.from_numpy(zeros) - fp)
    power = certified(MetricRates.from_counts(metric, counts), budget, 0.05).mean()
    assert power == pytest.approx(0.8, abs=0.02 + 2 * math.sqrt(0.16 / n))


# Floors, and many tests at once

MODEL = table([400, 600], [0.8, 0.8], [0.25, 0.25])


@pytest.mark.parametrize("key", PERFORMANCES)
def test_a_floor_is_certified_by_the_lower_limit(key: str) -> None:
    measured = performance(key, MODEL)
    interval = measured.interval(0.05)
    for floor, verdict in (
        (interval.low - 1e-6, Verdict.CERTIFIED),
        (interval.low + 1e-6, Verdict.INCONCLUSIVE),
        (interval.high - 1e-6, Verdict.INCONCLUSIVE),
        (interval.high + 1e-6, Verdict.VIOLATED),
    ):
        found = floor_claim(key, measured, floor)
        assert found.verdict is verdict
        assert found.interval == interval
        assert (found.p_violated <= 0.05) == (verdict is Verdict.VIOLATED)
    assert floor_claim(key, measured, 0.3).p_violated == 1
    assert floor_claim(key, measured, 0.99).p_violated < 1e-6


def test_an_undefined_performance_is_too_few() -> None:
    nothing = PerformanceEstimate(math.nan, lambda alpha: Interval(math.nan, math.nan, "none"))
    found = floor_claim("auc", nothing, 0.5)
    assert found.verdict is Verdict.TOO_FEW
    assert math.isnan(found.p_violated)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.012, 0.026, 0.05], 0.05) == [True, False, False]
    assert holm([0.012, 0.025, 0.05], 0.05) == [True, True, True]
    assert holm([math.nan, 0.02], 0.05) == [False, True]
    assert holm([math.nan, 0.03], 0.05) == [False, False]
    assert holm([], 0.05) == []


# Faults that were once left unnoticed.


def pair(hits: list[float], trials: list[float]) -> MetricRates:
    return MetricRates(np.array([hits]), np.array([trials]), Contrast.DIFFERENCE)


def test_few_rows_certify_nothing_however_wide_the_budget() -> None:
    assert not certified(pair([12.0, 12.0], [25.0, 25.0]), 0.95, 0.05)
    assert certified(pair([12.0, 12.0], [30.0, 30.0]), 0.95, 0.05)


@pytest.mark.parametrize("gap", [0.3, 0.6])
def test_moved_rates_stay_rates(gap: float) -> None:
    for hits in ([98.0, 90.0], [2.0, 10.0]):
        moved = at_gap(pair(hits, [100.0, 100.0]), gap)
        rates = moved.hits / moved.trials
        assert 0 <= rates.min() <= rates.max() <= 1
        assert rates.max() - rates.min() == pytest.approx(gap)


def test_the_lower_limit_of_many_areas_is_corrected_for_the_pairs() -> None:
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 2, 900), np.arange(900) % 3
    scores = rng.normal(size=900) + labels * np.array([2.0, 1.0, 0.0])[groups]
    areas = [auc(scores[groups == g], labels[groups == g]) for g in range(3)]

    def lower(alpha: float) -> float:
        """Of the largest difference, that of the first and the last group (MOVER)."""
        one, two = areas[0].interval(alpha), areas[2].interval(alpha)
        below = np.hypot(areas[0].value - one.low, two.high - areas[2].value)
        return float(areas[0].value - areas[2].value - below)

    found = auc_gap(scores, labels, groups, 3).interval(0.05)
    assert found.low == pytest.approx(lower(0.05 / 3))
    assert found.low < lower(0.05)


def test_the_rows_behind_a_false_positive_rate() -> None:
    assert false_positive_rate.rows == "rows with an unfavorable label"
    assert false_positive_rate.labels == (0,)

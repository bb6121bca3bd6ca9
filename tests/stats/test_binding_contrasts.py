"""The selected contrasts decide the same limits as all contrasts do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.metrics.counts import Counts
from fairfix.stats import gap_intervals
from fairfix.stats.confidence import DEFAULT_CONFIDENCE
from fairfix.stats.gap_intervals import (
    MetricRates,
    certified,
    p_violated,
    size_lower_limit,
    size_upper_limit,
)
from fairfix.stats.power import at_gap, power_at, rows_needed

METRICS = ["spd", "di", "eod", "aod", "aaod", "eqodds"]


def random_counts(groups: int, rows: int, seed: int) -> Counts:
    rng = np.random.default_rng(seed)
    ones, zeros = rng.integers(rows // 3, rows, (2, groups))
    tp = rng.binomial(ones, np.clip(rng.normal(0.7, 0.05, groups), 0, 1))
    fp = rng.binomial(zeros, np.clip(rng.normal(0.3, 0.05, groups), 0, 1))
    return Counts(*(torch.from_numpy(side).double() for side in (tp, fp, ones - tp, zeros - fp)))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Select contrasts wherever there are more than eight."""
    monkeypatch.setattr(gap_intervals, "MAX_CONTRASTS", 1)


def all_contrasts(rates: MetricRates) -> MetricRates:
    return replace(rates, chosen=rates.contrasts)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("rows", [30, 60, 400])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_limits_and_p_value_are_those_of_all_contrasts(metric: str, exact: bool, rows: int) -> None:
    rates = MetricRates.from_counts(metric, random_counts(9, rows, rows + 3))
    assert rates.n_contrasts == len(rates.contrasts) > 8
    assert rates.binding(0.05).contrasts.shape[0] == 8
    for figure in (size_upper_limit, size_lower_limit):
        expected = figure(all_contrasts(rates), 0.05, exact=exact)
        assert figure(rates, 0.05, exact=exact) == pytest.approx(expected, abs=1e-8)
    expected = p_violated(all_contrasts(rates), 0.02, exact=exact)
    assert p_violated(rates, 0.02, exact=exact) == pytest.approx(expected, rel=1e-6)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("metric", [key for key in METRICS if key != "aaod"])
def test_power_is_that_of_all_contrasts(metric: str) -> None:
    rates = at_gap(MetricRates.from_counts(metric, random_counts(7, 60, 1)), 0.02)
    factor = 8.0 if metric == "di" else 4.0
    found = power_at(rates, factor, 0.15, DEFAULT_CONFIDENCE)
    expected = power_at(all_contrasts(rates), factor, 0.15, DEFAULT_CONFIDENCE)
    assert found == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("metric", METRICS)
def test_a_hundred_groups_need_few_contrasts(metric: str) -> None:
    counts = random_counts(100, 60, 2)
    rates = MetricRates.from_counts(metric, counts)
    assert rates.n_contrasts > 4000
    assert 2000 < len(rates.binding(0.05).contrasts) <= 2048
    assert rows_needed(metric, counts, 0.1, true_gap=0.0) is not None


@pytest.mark.parametrize("metric", METRICS)
def test_the_size_is_the_largest_absolute_contrast(metric: str) -> None:
    rates = MetricRates.from_counts(metric, random_counts(5, 60, 3))
    assert rates.size == pytest.approx(abs(rates.estimates()).max())


@pytest.mark.parametrize("metric", ["spd", "aod", "eqodds", "di"])
@pytest.mark.parametrize("exact", [False, True])
def test_certified_is_an_upper_limit_below_the_budget(metric: str, exact: bool) -> None:
    rng = np.random.default_rng(1)
    cells = torch.from_numpy(rng.integers(300, 900, (4, 60, 3)).astype(np.float64))
    cells[:, :5] /= 10
    rates = MetricRates.from_counts(metric, Counts(*cells))
    seen = set()
    for budget in (0.1, 0.2, 0.3, 0.49):
        upper = size_upper_limit(rates, 0.05, exact=exact)
        wanted = (upper < rates.contrast.bound(budget)) & ~rates.has_too_few_rows()
        assert (certified(rates, budget, 0.05, exact=exact) == wanted).all()
        seen |= set(wanted.tolist())
    assert seen == {True, False}

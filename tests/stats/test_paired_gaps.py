"""Changes of a gap between many groups."""

from __future__ import annotations

import numpy as np
import pytest

from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats import paired_gaps
from fairfix.stats.paired_gaps import PairedDecisions, PairedGap, paired_rates


def rows_of(groups: int, rows: int, seed: int) -> PairedDecisions:
    rng = np.random.default_rng(seed)
    group, label = rng.integers(0, groups, rows), rng.integers(0, 2, rows)
    rate = rng.normal(0.5, 0.05, (2, groups))
    before, after = (rng.random(rows) < r[group] + 0.1 * label for r in rate)
    return PairedDecisions(before, after, label, group, np.ones(rows), groups)


@pytest.mark.parametrize("metric", ["spd", "di", "aod", "aaod", "eqodds"])
def test_contrasts_between_the_ends_decide_as_all_do(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = paired_rates(METRICS[metric], rows_of(20, 6000, 1))
    every = PairedGap.from_rates(METRICS[metric], rates)
    monkeypatch.setattr(paired_gaps, "ENDS", 3)
    ends = PairedGap.from_rates(METRICS[metric], rates)
    assert sum(map(len, ends.parts)) < sum(map(len, every.parts))
    assert ends.n_contrasts == every.n_contrasts
    assert ends.p_grown == pytest.approx(every.p_grown, rel=1e-9)
    assert ends.standard_error() == pytest.approx(every.standard_error(), rel=1e-9)


@pytest.mark.parametrize("metric", ["spd", "aaod", "eqodds"])
def test_a_hundred_groups_take_a_bounded_number_of_contrasts(metric: str) -> None:
    rates = paired_rates(METRICS[metric], rows_of(100, 20_000, 2))
    gap = PairedGap.from_rates(METRICS[metric], rates)
    assert max(map(len, gap.parts)) <= 4_000
    assert 0 <= gap.p_grown <= 1

"""Confidence intervals over splits that share rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fairfix.bench.split_statistics import MIN_SPLITS, mean_interval, paired_gain


def test_intervals_over_splits_that_share_rows_cover_the_truth() -> None:
    """Rows with mean 0: draw data, then split ten times with 30 % test rows."""
    generator = np.random.default_rng(0)
    held, naive = 0, 0
    for _ in range(400):
        values = generator.normal(size=300)
        means = np.array([generator.permutation(values)[:90].mean() for _ in range(10)])
        found = mean_interval(means, 90 / 210)
        held += found.low < 0 < found.high
        alone = mean_interval(means)
        naive += alone.low < 0 < alone.high
    assert naive / 400 < 0.75
    assert 0.92 < held / 400 < 0.99


@pytest.mark.parametrize("values", [[0.3], [0.2, 0.4]])
def test_fewer_than_three_splits_have_no_interval(values: list[float]) -> None:
    found = mean_interval(np.array(values), fewest=MIN_SPLITS)
    assert found.value == pytest.approx(0.3)
    assert np.isnan([found.low, found.high]).all()


def test_the_interval_of_a_bounded_figure_stays_in_its_bounds() -> None:
    values = np.array([0.99, 0.5, 0.98])
    free, bounded = mean_interval(values), mean_interval(values, bounds=(0.0, 1.0))
    assert free.high > 1
    assert bounded == free._replace(high=1.0)


def test_a_gain_stays_within_its_bounds() -> None:
    frame = pd.DataFrame({"identity": [0.0, 0.0, 0.9], "gda": [0.9, 0.8, 0.0]})
    gain, _ = paired_gain(frame, "gda", "identity", 0.5)
    assert (gain.low, gain.high) == (-1.0, 1.0)

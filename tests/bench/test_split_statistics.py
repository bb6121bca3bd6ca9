"""Confidence intervals over splits that share rows."""

from __future__ import annotations

import numpy as np

from fairfix.bench.split_statistics import mean_interval


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

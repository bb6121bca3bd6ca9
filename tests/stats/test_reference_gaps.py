"""Gaps of merged groups to the reference group: each as on the rows of two groups alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_intervals import MetricRates, metric_limits
from fairfix.stats.reference_gaps import reference_gaps
from tests.helpers.toys import scored_rows

NAMES = ("a", "b", "c", "d")
CONFIDENCE = ConfidenceLevel(0.95)


def merged(rows: Problem, reference: str = "c") -> Group:
    ids = rows.groups.numpy()
    unmerged = Group("race", ids, NAMES)
    others = (ids == NAMES.index(reference)).astype(np.int64)
    return Group("race", others, (f"not {reference}", reference), unmerged)


@pytest.mark.parametrize("metric", ["spd", "eod", "eqodds", "di"])
@pytest.mark.parametrize("clustered", [False, True])
def test_each_gap_is_that_of_the_two_groups_alone_at_a_corrected_level(
    metric: str, clustered: bool
) -> None:
    rows = scored_rows(600, 4, seed=3)
    if clustered:
        rows = replace(rows, clusters=torch.arange(600) // 3)
    decisions = rows.scores > 0.5
    found = reference_gaps(rows, decisions, merged(rows), METRICS[metric], confidence=CONFIDENCE)
    assert found is not None
    assert (found.reference, found.metric) == ("c", metric)
    assert [gap.name for gap in found.gaps] == ["a", "b", "d"]
    for gap in found.gaps:
        ids = torch.tensor([NAMES.index(gap.name), 2])
        here = (rows.groups[:, None] == ids).any(-1)
        pair = replace(rows, groups=(rows.groups == 2).long(), group_names=(gap.name, "c"))
        pair = pair.take(here)
        counts = pair.clustered_counts(decisions[here])
        low, high = metric_limits(MetricRates.from_counts(metric, counts), 0.05 / 3)
        assert gap.rows == int((rows.groups == ids[0]).sum())
        assert gap.value == pytest.approx(float(METRICS[metric](counts).value))
        assert (gap.low, gap.high) == pytest.approx((float(low), float(high)))


def test_opposite_gaps_that_cancel_when_merged_are_shown() -> None:
    rows = scored_rows(400, 4, seed=0)
    decisions = rows.groups.eq(0) | (rows.groups.ge(2) & (torch.arange(400) % 2 == 0))
    found = reference_gaps(rows, decisions, merged(rows, "d"), METRICS["spd"])
    assert found is not None
    assert [round(gap.value, 1) for gap in found.gaps] == [0.5, -0.5, 0.0]


def test_a_group_without_rows_or_labels_has_no_figure() -> None:
    rows = scored_rows(400, 4, seed=0)
    kept = rows.groups.ne(0) & ~(rows.groups.eq(1) & rows.labels.eq(1))
    group = merged(rows)
    rows = replace(rows, groups=torch.from_numpy(group.ids), group_names=group.names).take(kept)
    group = group.take(np.flatnonzero(kept.numpy()))
    found = reference_gaps(rows, rows.scores > 0.5, group, METRICS["eod"])
    assert found is not None
    assert [gap.name for gap in found.gaps] == ["b", "d"]
    assert math.isnan(found.gaps[0].value)
    assert math.isnan(found.gaps[0].low)


def test_groups_that_were_not_merged_have_none() -> None:
    rows = scored_rows(100)
    group = Group("group", rows.groups.numpy(), rows.group_names)
    assert reference_gaps(rows, rows.scores > 0.5, group, METRICS["spd"]) is None

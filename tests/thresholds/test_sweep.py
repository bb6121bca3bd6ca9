"""Threshold sweep: the figures of every point are exact, and the points cover the curve."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds.sweep import SweepPoint, threshold_sweep
from tests.helpers.toys import count_by_hand, gaps_by_hand, rates_by_hand, scored_rows


def check(point: SweepPoint, problem: Problem, metric: str) -> None:
    """Against decisions counted row by row."""
    counts = count_by_hand((problem.scores.double() > point.threshold).double(), problem)
    assert point.gap == pytest.approx(gaps_by_hand(counts)[metric], nan_ok=True)
    assert point.selection_rates == pytest.approx(rates_by_hand(counts)["selection"].tolist())
    tp, fp, fn, tn = counts.sum(1)
    assert point.performance == pytest.approx((tp / (tp + fn) + tn / (fp + tn)) / 2)


@pytest.mark.parametrize("metric", ["spd", "eod", "aod", "di"])
@pytest.mark.parametrize(("groups", "weighted"), [(2, False), (3, True)])
def test_every_point_is_exact(metric: str, groups: int, weighted: bool) -> None:
    problem = scored_rows(60, groups, seed=1, weighted=weighted)
    sweep = threshold_sweep(problem, Objective(metric=METRICS[metric]), 0.4)
    assert len(sweep.points) == 61
    assert (sweep.metric, sweep.performance) == (metric, "balanced_accuracy")
    assert sweep.groups == problem.group_names
    for point in (*sweep.points, sweep.current):
        check(point, problem, metric)


def test_a_long_curve_is_thinned_to_exact_points() -> None:
    problem = scored_rows(5000, seed=0)
    sweep = threshold_sweep(problem, Objective(), 0.5)
    assert 90 <= len(sweep.points) <= 101
    for point in sweep.points[::10]:
        check(point, problem, "spd")
    thresholds = np.array([point.threshold for point in sweep.points])
    assert (np.diff(thresholds) > 0).all()
    assert thresholds[[0, -1]].tolist() == [-1, 1]
    assert sweep.points[0].selection_rates == (1, 1)
    assert sweep.points[-1].selection_rates == (0, 0)


def test_crowded_scores_do_not_leave_holes() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(0.1, 0.001, 3000), rng.uniform(0, 1, 300)]).clip(0, 1)
    problem = Problem(
        torch.from_numpy(scores).float(),
        torch.from_numpy((rng.random(3300) < 0.3).astype(np.int64)),
        torch.arange(3300) % 2,
        ("a", "b"),
    )
    sweep = threshold_sweep(problem, Objective(), 0.5)
    selected = np.array([np.mean(point.selection_rates) for point in sweep.points])
    inner = np.array([point.threshold for point in sweep.points[1:-1]])
    assert np.abs(np.diff(selected)).max() < 0.03
    assert np.diff(inner).max() < 0.05


def test_the_threshold_in_use_is_exact() -> None:
    problem = scored_rows(400, seed=2)
    middle = float(problem.scores.sort().values[200])  # equal to a score: that row is negative
    point = threshold_sweep(problem, Objective(), middle).current
    assert point.threshold == middle
    assert np.mean(point.selection_rates) == pytest.approx(199 / 400)
    check(point, problem, "spd")


def test_other_performance_and_undefined_points() -> None:
    problem = scored_rows(40, seed=3)
    objective = Objective(metric=METRICS["di"], performance=PERFORMANCES["f1"])
    sweep = threshold_sweep(problem, objective, 1.0)
    assert sweep.performance == "f1"
    assert math.isnan(sweep.current.gap)
    assert math.isnan(sweep.points[-1].gap)
    assert sweep.current.performance == 0
    assert sweep.points[0].gap == 1
    assert sweep.points[0].size == 0


def test_equal_scores_share_one_threshold() -> None:
    problem = scored_rows(500, seed=0, levels=5)
    sweep = threshold_sweep(problem, Objective(), 0.5)
    assert len(sweep.points) == len(problem.scores.unique()) + 1

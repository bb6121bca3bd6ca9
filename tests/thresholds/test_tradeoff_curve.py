"""The trade-off curve against all thresholds, tried one by one."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.methods.identity import identity
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds import tradeoff_curve as module
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.tradeoff_curve import MAX_POINTS, TradeoffPoint, tradeoff_curve
from tests.helpers.toys import scored_rows

BUDGET = 0.1


def every_pair(problem: Problem, objective: Objective) -> tuple[list[float], list[float]]:
    """Probability and performance of every pair of thresholds that meets the budget here."""
    met: tuple[list[float], list[float]] = ([], [])
    by_group = [[-1.0, *problem.scores[problem.groups == g].unique().tolist()] for g in (0, 1)]
    for pair in itertools.product(*by_group):
        decisions = problem.scores > torch.tensor(pair)[problem.groups]
        counts = problem.counts(decisions)
        if objective.met(counts):
            met[0].append(float(objective.probability_met(counts)))
            met[1].append(float(objective.performance(counts)))
    return met


def best_above(points: tuple[TradeoffPoint, ...], probability: float) -> float:
    return max(p.performance for p in points if p.probability >= probability - 1e-9)


@pytest.mark.parametrize("metric", ["spd", "eod", "aaod"])
def test_shared_thresholds_are_the_front_of_all_thresholds(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_POINTS", 10_000)
    problem, objective = scored_rows(300, seed=2), Objective(METRICS[metric], BUDGET)
    points = tradeoff_curve(problem, identity(problem, objective).policy, objective)
    rated = []
    for threshold in [-1.0, *problem.scores.tolist()]:
        counts = problem.counts(problem.scores > threshold)
        if objective.met(counts):
            rated.append(
                (float(objective.probability_met(counts)), float(objective.performance(counts)))
            )
    expected = {
        one
        for one in rated
        if not any(a >= one[0] and b >= one[1] and (a, b) != one for a, b in rated)
    }
    front = sorted((p.probability, p.performance) for p in points)
    assert np.array(front) == pytest.approx(np.array(sorted(expected)))
    assert len(front) > 3


@pytest.mark.parametrize("metric", ["spd", "eod"])
def test_thresholds_per_group_are_as_good_as_all_pairs(metric: str) -> None:
    problem, objective = scored_rows(90, seed=3), Objective(METRICS[metric], BUDGET)
    points = tradeoff_curve(problem, thresholds(problem, objective).policy, objective)
    probabilities, performances = every_pair(problem, objective)
    for point in points:
        beaten = max(
            b
            for a, b in zip(probabilities, performances, strict=True)
            if a >= point.probability - 1e-9
        )
        assert beaten - 0.01 < point.performance < beaten + 1e-9


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("risk", [None, 0.4])
def test_the_choice_is_on_the_curve_and_marked(n_groups: int, risk: float | None) -> None:
    problem = scored_rows(900, n_groups, seed=4)
    objective = Objective(budget=BUDGET, risk=risk)
    for method in (identity, thresholds):
        policy = method(problem, objective).policy
        points = tradeoff_curve(problem, policy, objective)
        (chosen,) = (point for point in points if point.chosen)
        counts = problem.counts(policy.decide(problem.scores, problem.groups))
        assert chosen.probability == pytest.approx(float(objective.probability_met(counts)))
        assert chosen.performance == pytest.approx(float(objective.performance(counts)))
        assert chosen.gap == pytest.approx(float(objective.metric(counts).value))
        worth = [p.performance * p.probability for p in points]
        if risk is None:
            assert chosen.performance * chosen.probability == pytest.approx(max(worth))
        else:
            assert chosen.performance == pytest.approx(best_above(points, 1 - risk))


@pytest.mark.parametrize("metric", METRICS)
def test_probability_falls_and_performance_rises_along_the_curve(metric: str) -> None:
    problem, objective = scored_rows(2000, seed=5), Objective(METRICS[metric], BUDGET)
    for policy in (Policy.shared(0.5), Policy.by_group((0.4, 0.6))):
        points = tradeoff_curve(problem, policy, objective)
        front = [p for p in points if not p.chosen]
        assert len(points) <= MAX_POINTS
        assert sum(p.chosen for p in points) == 1
        for one, other in itertools.pairwise(front):
            assert one.probability > other.probability or math.isclose(one.probability, 1)
            assert one.performance < other.performance


def test_ends_of_a_long_curve_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, objective = scored_rows(3000, seed=6), Objective(budget=BUDGET)
    policy = Policy.by_group((0.4, 0.6))
    few = tradeoff_curve(problem, policy, objective)
    monkeypatch.setattr(module, "MAX_POINTS", 10_000)
    all_ = tradeoff_curve(problem, policy, objective)
    assert len(few) == MAX_POINTS < len(all_)
    assert {few[0], few[-1]} == {all_[0], all_[-1]}
    assert set(few) <= set(all_)


def test_a_policy_tuned_otherwise_lies_below_the_curve() -> None:
    problem, objective = scored_rows(2000, seed=7), Objective(budget=BUDGET)
    points = tradeoff_curve(problem, Policy.by_group((0.9, 0.1)), objective)
    (chosen,) = (p for p in points if p.chosen)
    assert any(
        p.probability > chosen.probability and p.performance > chosen.performance for p in points
    )


@pytest.mark.parametrize(("metric", "performance"), [("aaod", "balanced_accuracy"), ("spd", "f1")])
def test_the_policy_is_alone_where_thresholds_per_group_are_not_searched(
    metric: str, performance: str
) -> None:
    problem = scored_rows(200)
    objective = Objective(METRICS[metric], performance=PERFORMANCES[performance])
    (point,) = tradeoff_curve(problem, Policy.by_group((0.4, 0.6)), objective)
    assert point.chosen


def test_the_curve_does_not_depend_on_the_margin() -> None:
    problem, policy = scored_rows(500, seed=8), Policy.by_group((0.4, 0.6))
    objective = Objective(budget=BUDGET)
    expected = tradeoff_curve(problem, policy, objective)
    others = ({"margin": 0.02}, {"kind": "tradeoff"}, {"risk": 0.2})
    for other in others:
        assert tradeoff_curve(problem, policy, replace(objective, **other)) == expected  # type: ignore[arg-type]


def test_trivial_points_are_named() -> None:
    problem, objective = scored_rows(500, seed=9), Objective(budget=BUDGET)
    points = tradeoff_curve(problem, Policy.shared(0.5), objective)
    assert any(p.trivial and p.performance < 0.52 for p in points)
    assert not all(p.trivial for p in points)

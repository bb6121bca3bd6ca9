"""Searches under several limits against every threshold and every pair of thresholds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.limits import (
    TODAY,
    AucLimit,
    GapLimit,
    Limit,
    RangeLimit,
    SelectionChangeLimit,
    SmallestRateLimit,
)
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, auc_by_group
from fairfix.metrics.rates import selection_rate, true_positive_rate
from fairfix.thresholds import pair_search
from fairfix.thresholds.per_group import best_group_thresholds
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import best_threshold, evaluate_all_thresholds
from fairfix.thresholds.tradeoff_curve import tradeoff_curve
from tests.helpers.toys import scored_rows

SPD, EOD = METRICS["spd"], METRICS["eod"]
LIMITS: dict[str, tuple[Limit, ...]] = {
    "a second metric": (GapLimit(EOD, 0.2),),
    "another column": (GapLimit(SPD, 0.17, "race"),),
    "a ceiling": (RangeLimit(selection_rate, high=0.3),),
    "a floor": (RangeLimit(PERFORMANCES["accuracy"], low=0.68),),
    "the smallest rate": (SmallestRateLimit(true_positive_rate, 0.6, "race"),),
    "a change": (SelectionChangeLimit(0.1),),
    "several": (
        GapLimit(SPD, 0.25, "race"),
        RangeLimit(selection_rate, 0.2, 0.6),
        GapLimit(EOD, 0.3),
    ),
    "impossible": (RangeLimit(PERFORMANCES["accuracy"], low=0.99), GapLimit(EOD, 0.01, "race")),
}
KINDS: dict[str, dict[str, Any]] = {
    "chance": {},
    "risk": {"risk": 0.6},
    "margin": {"margin": 0.0},
    "trade-off": {"kind": "tradeoff"},
}


def rows(n_groups: int = 2, *, weighted: bool = False, levels: int = 0, n: int = 60) -> Problem:
    """Rows with a second column of three groups and the decisions in use today."""
    problem = scored_rows(n, n_groups, weighted=weighted, levels=levels)
    rng = np.random.default_rng(3)
    lean = problem.scores.numpy() + rng.normal(scale=0.5, size=n)
    race = torch.from_numpy(np.digitize(lean, np.quantile(lean, [0.3, 0.7])))
    return replace(
        problem, further={"race": race, TODAY: (problem.scores > problem.threshold).long()}
    )


def shared(problem: Problem, objective: Objective) -> Any:
    p = problem
    own = p.labels, p.groups, p.n_groups, objective, p.weights, p.columns
    return best_threshold(p.scores, *own)


def utilities(problem: Problem, objective: Objective, decisions: Tensor) -> Tensor:
    return objective.utility(problem.counts(decisions))


def excess_by_hand(limit: Limit, problem: Problem, decisions: Tensor) -> float:
    """How far a limit is exceeded, row by row."""
    d, y = decisions.double().numpy(), problem.labels.numpy()
    w = np.ones(len(d)) if problem.weights is None else problem.weights.numpy()
    groups = (problem.groups if limit.column is None else problem.further[limit.column]).numpy()

    def rate(here: np.ndarray) -> float:
        return float((w * d)[here].sum() / w[here].sum())

    def of(positive: bool) -> list[float]:
        kept = y == 1 if positive else np.ones(len(y), bool)
        return [rate(kept & (groups == g)) for g in range(groups.max() + 1)]

    everybody = np.ones(len(y), bool)
    match limit:
        case GapLimit(metric, budget):
            rates = of(metric is EOD)
            return max(rates) - min(rates) - budget
        case SmallestRateLimit(_, low):
            return low - min(of(True))
        case SelectionChangeLimit(change):
            today = problem.further[TODAY].double().numpy()
            return abs((w * d).sum() / (w * today).sum() - 1) - change
        case RangeLimit(figure, low, high):
            value = rate(everybody)
            if figure is not selection_rate:
                value = float((w * (d == y)).sum() / w.sum())
            return max(low - value, value - high)
    raise AssertionError(limit)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("name", LIMITS)
def test_limits_measure_what_is_counted_by_hand(name: str, weighted: bool) -> None:
    problem = rows(weighted=weighted)
    for threshold in (0.3, 0.5, 0.62):
        decisions = problem.scores > threshold
        for limit in LIMITS[name]:
            found = float(limit.excess(problem.counts(decisions)))
            assert found == pytest.approx(excess_by_hand(limit, problem, decisions))


@pytest.mark.parametrize(
    ("n_groups", "form"), [(2, {}), (2, {"levels": 12}), (3, {"weighted": True})], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LIMITS)
def test_the_shared_threshold_is_the_best_of_all(
    name: str, kind: str, form: dict[str, Any], n_groups: int
) -> None:
    problem = rows(n_groups, **form)
    objective = Objective(SPD, 0.25, limits=LIMITS[name], **KINDS[kind])
    thresholds, _ = evaluate_all_thresholds(problem)
    decisions = problem.scores.double() > thresholds.unsqueeze(1)
    every = utilities(problem, objective, decisions)
    found = shared(problem, objective)
    assert float(found.utility) == pytest.approx(float(every.max()), rel=1e-9)
    at = utilities(problem, objective, problem.scores.double() > found.threshold)
    assert float(at) == pytest.approx(float(every.max()), rel=1e-9)


def brute_force(problem: Problem, limits: tuple[Limit, ...], budget: float) -> float | None:
    """The best balanced accuracy of all pairs that keep every limit; None if no pair does."""
    best = None
    for pair in pairs_of(problem):
        decisions = problem.scores > torch.tensor(pair)[problem.groups]
        goals = (GapLimit(SPD, budget), *limits)
        if all(excess_by_hand(goal, problem, decisions) < 1e-12 for goal in goals):
            value = float(PERFORMANCES["balanced_accuracy"](problem.counts(decisions)))
            best = value if best is None else max(best, value)
    return best


def pairs_of(problem: Problem) -> list[tuple[float, ...]]:
    own = [problem.scores[problem.groups == g].unique().tolist() for g in range(problem.n_groups)]
    return list(itertools.product(*([-1.0, *scores] for scores in own)))


@pytest.mark.parametrize("name", LIMITS)
def test_pairs_of_thresholds_are_the_best_that_keep_every_limit(name: str) -> None:
    problem = rows(n=36)
    objective = Objective(SPD, 0.1234, 0.0, limits=LIMITS[name])
    found = best_group_thresholds(problem, objective)
    expected = brute_force(problem, LIMITS[name], 0.1234)
    assert (found.utility > 0) == (expected is not None)
    if expected is not None:
        assert found.utility == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LIMITS)
def test_pairs_of_thresholds_have_the_best_utility(name: str, kind: str, weighted: bool) -> None:
    problem = rows(n=40, weighted=weighted)
    objective = Objective(SPD, 0.25, limits=LIMITS[name], **KINDS[kind])
    pairs = torch.tensor(pairs_of(problem), dtype=torch.float64)
    every = utilities(problem, objective, problem.scores.double() > pairs[:, problem.groups])
    found = best_group_thresholds(problem, objective)
    assert found.utility == pytest.approx(float(every.max()), rel=1e-9)
    decisions = Policy.by_group(found.thresholds).decide(problem.scores, problem.groups)
    assert float(utilities(problem, objective, decisions)) == pytest.approx(found.utility)


def test_a_grid_that_is_refined_comes_close(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = rows(n=300)
    objective = Objective(SPD, 0.05, limits=LIMITS["several"])
    exact = best_group_thresholds(problem, objective).utility
    monkeypatch.setattr(pair_search, "ALL_PAIRS", 2**8)
    monkeypatch.setattr(pair_search, "_GRID", 2**8)
    assert best_group_thresholds(problem, objective).utility == pytest.approx(exact, abs=0.005)


def test_three_groups_are_at_least_as_good_as_their_best_shared_threshold() -> None:
    problem = rows(3, n=90)
    for name in ("another column", "several", "impossible"):
        objective = Objective(SPD, 0.1, limits=LIMITS[name])
        found = best_group_thresholds(problem, objective)
        assert found.utility >= float(shared(problem, objective).utility) - 1e-9, name


def test_the_group_that_must_be_lower_stays_lower() -> None:
    problem = rows()
    for lower in (0, 1):
        objective = Objective(SPD, 0.1, limits=LIMITS["several"])
        found = best_group_thresholds(problem, objective, lower_group=lower)
        assert found.thresholds[lower] <= found.thresholds[1 - lower]


@pytest.mark.parametrize("kind", KINDS)
def test_a_slack_limit_changes_nothing(kind: str) -> None:
    problem = rows()
    plain = Objective(SPD, 0.1, **KINDS[kind])
    slack = replace(plain, limits=(RangeLimit(selection_rate, high=1.0),))
    one, other = shared(problem, plain), shared(problem, slack)
    assert float(one.threshold) == float(other.threshold)
    assert float(one.utility) == pytest.approx(float(other.utility), rel=1e-12)


def test_a_floor_of_the_area_chooses_between_networks_and_moves_no_threshold() -> None:
    problem = rows(levels=12)
    scores = torch.stack([problem.scores, (problem.scores - 0.5).abs()])
    areas = [
        float(auc_by_group(s, problem.labels, torch.zeros_like(problem.groups), 1)) for s in scores
    ]
    assert areas[0] > 0.7 > areas[1]
    p = problem
    own = p.labels, p.groups, p.n_groups
    plain = best_threshold(scores, *own, Objective(SPD, 0.3, 0.0))
    floor = best_threshold(scores, *own, Objective(SPD, 0.3, 0.0, limits=(AucLimit(low=0.7),)))
    assert plain.utility.min() > 0
    assert floor.utility[0] == plain.utility[0]
    assert floor.utility[1] == pytest.approx(areas[1] - 0.7)
    assert floor.threshold[0] == plain.threshold[0]
    chance = best_threshold(scores, *own, Objective(SPD, 0.3, limits=(AucLimit(low=0.7),)))
    weighed = best_threshold(scores, *own, Objective(SPD, 0.3))
    assert 0 < float(chance.utility[1] / weighed.utility[1]) < 0.5
    assert chance.counts.auc is not None
    assert chance.counts.auc.tolist() == pytest.approx(areas)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_tradeoff_curve_shows_the_chance_that_all_limits_hold(grouped: bool) -> None:
    problem = rows(n=120)
    objective = Objective(SPD, 0.2, limits=LIMITS["another column"])
    policy = (
        Policy.by_group(best_group_thresholds(problem, objective).thresholds)
        if grouped
        else Policy.shared(float(shared(problem, objective).threshold))
    )
    curve = tradeoff_curve(problem, policy, objective)
    chosen = next(point for point in curve if point.chosen)
    counts = problem.counts(policy.decide(problem.scores, problem.groups))
    assert chosen.probability == float(objective.probability_met(counts))
    assert chosen.probability < float(replace(objective, limits=()).probability_met(counts))
    utility = max(point.probability * point.performance for point in curve)
    assert math.isclose(utility, chosen.probability * chosen.performance)

"""Randomized thresholds against an independent linear program and against fixed thresholds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods import get
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds.per_group import GAINS, best_group_thresholds
from fairfix.thresholds.policy import Policy, row_draws
from fairfix.thresholds.randomized import best_randomized_thresholds
from tests.helpers.toys import Floats, count_by_hand, gaps_by_hand, scored_rows

KEYS = ["spd", "eod", "fprd", "aod", "eqodds"]


def aim(metric: str, performance: str = "balanced_accuracy", budget: float = 0.137) -> Objective:
    return Objective(METRICS[metric], budget, 0.0, PERFORMANCES[performance])


def expected(policy: Policy, problem: Problem) -> Floats:
    """(4, G) expected counts by hand."""
    return count_by_hand(policy.probability(problem.scores, problem.groups), problem)


def performance_of(counts: Floats, performance: str) -> float:
    tp, fp, fn, tn = counts.sum(1)
    if performance == "accuracy":
        return float((tp + tn) / counts.sum())
    return float((tp / (tp + fn) + tn / (tn + fp)) / 2)


def program(problem: Problem, metric: str, performance: str, bound: float) -> float:
    """The best expected performance over random choices among all thresholds.

    The bound is imposed on every pair of groups.
    """
    n_groups = problem.n_groups
    thresholds = [
        torch.tensor([*problem.scores[problem.groups == g].unique().tolist(), -1.0])
        for g in range(n_groups)
    ]
    columns = [(g, float(t)) for g in range(n_groups) for t in thresholds[g]]
    counts = np.stack(
        [
            count_by_hand((problem.scores > t) & (problem.groups == g), problem)[:2]
            for g, t in columns
        ]
    )  # (columns, tp and fp, G)
    sizes = count_by_hand(torch.zeros(len(problem)), problem)
    positives, negatives = sizes[2], sizes[3]
    tpr, fpr = counts[:, 0] / positives, counts[:, 1] / negatives
    selected = counts.sum(1) / (positives + negatives)
    pairs = list(itertools.permutations(range(n_groups), 2))
    by_rate = {
        "spd": [selected],
        "eod": [tpr],
        "fprd": [fpr],
        "aod": [(tpr + fpr) / 2],
        "eqodds": [tpr, fpr],
    }
    differences = [r[:, a] - r[:, b] for r in by_rate[metric] for a, b in pairs]
    tp, fp = counts[:, 0].sum(1), counts[:, 1].sum(1)
    if performance == "accuracy":
        gain, constant = (tp - fp) / sizes.sum(), negatives.sum() / sizes.sum()
    else:
        gain, constant = (tp / positives.sum() - fp / negatives.sum()) / 2, 0.5
    shares = np.array([[float(g == h) for h, _ in columns] for g in range(n_groups)])
    solved = linprog(
        -gain, np.array(differences), np.full(len(differences), bound), shares, np.ones(n_groups)
    )
    assert solved.status == 0
    return float(constant - solved.fun)


@pytest.mark.parametrize("performance", GAINS)
@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("metric", KEYS)
def test_the_best_of_all_randomized_thresholds(
    metric: str, n_groups: int, performance: str
) -> None:
    for seed, (levels, weighted) in enumerate(itertools.product((0, 6), (False, True))):
        problem = scored_rows(45, n_groups, seed=seed, levels=levels, weighted=weighted)
        for budget in (0.011, 0.137, 0.6):
            policy = best_randomized_thresholds(problem, aim(metric, performance, budget))
            counts = expected(policy, problem)
            assert abs(gaps_by_hand(counts)[metric]) < budget
            best = program(problem, metric, performance, budget)
            assert performance_of(counts, performance) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("metric", ["spd", "eod", "fprd"])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_fixed_thresholds_are_never_better(metric: str, n_groups: int) -> None:
    """And some randomized thresholds are better than all fixed ones."""
    gained = []
    for seed in range(12):
        problem = scored_rows(36, n_groups, seed=seed, levels=5 * (seed % 3), weighted=seed % 2 > 0)
        objective = aim(metric, budget=0.0737)
        fixed = best_group_thresholds(problem, objective).utility
        policy = best_randomized_thresholds(problem, objective)
        gained.append(performance_of(expected(policy, problem), "balanced_accuracy") - fixed)
    assert min(gained) > -1e-7
    assert max(gained) > 0.01


@pytest.mark.parametrize("seed", range(30))
def test_the_budget_is_met_strictly(seed: int) -> None:
    """The solution lies on the bound; rounding must not carry the gap over it."""
    rng = np.random.default_rng(seed)
    problem = scored_rows(300, int(rng.integers(2, 5)), seed=seed, weighted=bool(seed % 2))
    metric = str(rng.choice(KEYS))
    objective = aim(metric, budget=float(rng.choice([0.001, 0.05, 0.1])))
    policy = best_randomized_thresholds(problem, objective)
    counts = problem.counts(policy.probability(problem.scores, problem.groups))
    assert bool(objective.met(counts))


@pytest.mark.parametrize("kind", ["constrained", "tradeoff"])
@pytest.mark.parametrize("metric", KEYS)
def test_chance_constrained_is_as_good_as_any_fixed_bound(metric: str, kind: str) -> None:
    problem = scored_rows(120, 3, seed=4, weighted=True)
    objective = Objective(METRICS[metric], 0.137, kind=kind)

    def utility(policy: Policy) -> float:
        positive = policy.probability(problem.scores, problem.groups)
        return float(objective.utility(problem.counts(positive)))

    result = utility(best_randomized_thresholds(problem, objective))
    of_bounds = [
        utility(best_randomized_thresholds(problem, aim(metric, budget=0.137 * rung / 40)))
        for rung in (1, 5, 10, 15, 20, 25, 30, 35, 40)
    ]
    assert result >= max(of_bounds) - 1e-6


@pytest.mark.parametrize("metric", ["spd", "eod"])
@pytest.mark.parametrize("n_groups", [2, 3])
def test_chance_constrained_is_as_good_as_the_best_fixed_thresholds(
    metric: str, n_groups: int
) -> None:
    """Mixing the best performance within a bound need not have the best chance of meeting it."""
    problem, objective = scored_rows(40, n_groups, seed=2), Objective(METRICS[metric], 0.05)
    fixed = best_group_thresholds(problem, objective)
    policy = best_randomized_thresholds(problem, objective)
    counts = problem.counts(policy.probability(problem.scores, problem.groups))
    assert float(objective.utility(counts)) >= fixed.utility - 1e-9


def test_few_thresholds_are_mixed() -> None:
    """A vertex of the program: with one gap, few of the groups need a second threshold."""
    for seed in range(10):
        problem = scored_rows(90, 3, seed=seed)
        policy = best_randomized_thresholds(problem, aim("spd", budget=0.05))
        assert sum(len(steps) for steps in policy.steps) <= 3 + 2
        assert all(0 < p <= 1 for steps in policy.steps for _, p in steps)


def test_drawn_decisions_have_the_expected_rates() -> None:
    """Over many copies of each row, each with its own id."""
    problem = scored_rows(90, 2, seed=3)
    policy = best_randomized_thresholds(problem, aim("eqodds", budget=0.01))
    assert policy.randomized
    copies = problem.take(torch.arange(90).repeat(400))
    draws = row_draws([f"row {i}" for i in range(len(copies))], "salt")
    decided = count_by_hand(policy.decide(copies.scores, copies.groups, draws), copies) / 400
    assert decided == pytest.approx(expected(policy, problem), abs=0.25)


def test_the_method_returns_the_best_randomized_thresholds() -> None:
    problem = scored_rows(60, 3, seed=1)
    objective = aim("eqodds", budget=0.05)
    result = get("thresholds").run(problem, objective, randomized=True)
    assert result.policy == best_randomized_thresholds(problem, objective)
    assert result.trajectory[1].gap < 0.05


@pytest.mark.parametrize("metric", ["di", "ad", "aaod"])
def test_metrics_that_are_not_linear_are_refused(metric: str) -> None:
    with pytest.raises(
        UsageError, match=f"support spd, eod, aod, eqodds, fprd, fnrd, not {metric}"
    ):
        best_randomized_thresholds(scored_rows(40), aim(metric))


def test_f1_is_refused() -> None:
    with pytest.raises(UsageError, match="balanced_accuracy or accuracy, not f1"):
        best_randomized_thresholds(scored_rows(40), aim("spd", "f1"))


def test_an_undefined_metric_is_refused_by_the_groups_name() -> None:
    problem = scored_rows(60, 3)
    problem = problem.take(((problem.groups < 2) | (problem.labels == 0)).nonzero()[:, 0])
    with pytest.raises(TableError, match="eqodds is undefined here: group 'c' has no rows"):
        best_randomized_thresholds(problem, aim("eqodds"))
    assert math.isfinite(
        performance_of(
            expected(best_randomized_thresholds(problem, aim("spd")), problem), "accuracy"
        )
    )

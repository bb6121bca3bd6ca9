"""Thresholds per group against all combinations of thresholds, tried one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.thresholds import per_group
from fairfix.thresholds.per_group import (
    GAINS,
    GroupThresholds,
    best_group_thresholds,
)
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import ROUND_OFF
from tests.helpers.toys import Floats, count_by_hand, scored_rows

BUDGET = 0.137  # no difference of two shares of few rows is just as large
TWO_GROUPS = ["spd", "eod", "aod", "eqodds", "fprd", "di", "fnrd"]
THREE_GROUPS = ["spd", "eod", "aod", "fprd", "di"]


def aim(metric: str = "spd", performance: str = "balanced_accuracy", **given: float) -> Objective:
    return Objective(METRICS[metric], performance=PERFORMANCES[performance], **given)  # type: ignore[arg-type]


def all_thresholds(problem: Problem) -> list[tuple[Floats, Floats]]:
    """Each group's thresholds (K,), at its scores and at -1, and their counts (4, K)."""
    scores, labels, groups = (t.numpy() for t in (problem.scores, problem.labels, problem.groups))
    weights = np.ones(len(problem)) if problem.weights is None else problem.weights.numpy()
    weights = weights / weights.mean()
    each = []
    for g in range(problem.n_groups):
        here = groups == g
        thresholds = np.append(np.unique(scores[here])[::-1], -1.0)
        positive = scores[here] > thresholds[:, None]
        good, bad = weights[here] * labels[here], weights[here] * (1 - labels[here])
        tp, fp = positive @ good, positive @ bad
        each.append((thresholds, np.array([tp, fp, good.sum() - tp, bad.sum() - fp])))
    return each


def all_tuples(problem: Problem) -> tuple[Floats, Floats]:
    """All combinations: their thresholds (M, G) and their counts (4, M, G)."""
    each = all_thresholds(problem)
    at = np.array(list(itertools.product(*(range(len(thresholds)) for thresholds, _ in each))))
    thresholds = np.stack([each[g][0][at[:, g]] for g in range(len(each))], axis=1)
    counts = np.stack([each[g][1][:, at[:, g]] for g in range(len(each))], axis=2)
    return thresholds, counts


def sizes(metric: str, counts: Floats) -> Floats:
    """The size of the gap (M,) of counts (4, M, G)."""
    tp, fp, fn, tn = counts
    selection, tpr, fpr = (tp + fp) / counts.sum(0), tp / (tp + fn), fp / (fp + tn)
    if metric == "di":
        with np.errstate(invalid="ignore"):
            return 1 - selection.min(1) / selection.max(1)
    if counts.shape[2] == 2:
        tpr_gap, fpr_gap = tpr[:, 0] - tpr[:, 1], fpr[:, 0] - fpr[:, 1]
    else:
        tpr_gap, fpr_gap = np.ptp(tpr, 1), np.ptp(fpr, 1)
    return {
        "spd": np.ptp(selection, 1),
        "eod": abs(tpr_gap),
        "fprd": abs(fpr_gap),
        "fnrd": abs(tpr_gap),
        "aod": np.ptp((tpr + fpr) / 2, 1),
        "eqodds": np.maximum(abs(tpr_gap), abs(fpr_gap)),
    }[metric]


def performances(performance: str, counts: Floats) -> Floats:
    tp, fp, fn, tn = counts.sum(2)
    if performance == "accuracy":
        return (tp + tn) / (tp + fp + fn + tn)
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


def best_of_all(
    problem: Problem, metric: str, performance: str, limit: float, lower: int | None = None
) -> float:
    """The best performance of all combinations whose gap lies below the limit."""
    thresholds, counts = all_tuples(problem)
    within = sizes(metric, counts) < limit
    if lower is not None:
        within &= ordered(problem, thresholds, lower)
    return float(performances(performance, counts)[within].max())


def ordered(problem: Problem, thresholds: Floats, lower: int) -> np.ndarray:
    """Whether thresholds can be moved so that ``lower`` has at most the other's, (M,) bool.

    A threshold at a score decides the same up to the next higher score, one at 1 without end.
    """
    scores = problem.scores[problem.groups == 1 - lower].numpy()
    rising = np.append(np.unique(scores), np.inf)
    above = rising[np.searchsorted(rising, thresholds[:, 1 - lower], side="right")]
    return thresholds[:, lower] < above


def check(result: GroupThresholds, problem: Problem, objective: Objective) -> None:
    """Counts and utility are those of the thresholds, which are exact in float32."""
    thresholds = np.array(result.thresholds)
    assert np.array_equal(thresholds.astype(np.float32), thresholds)
    decisions = problem.scores.numpy() > thresholds.astype(np.float32)[problem.groups.numpy()]
    counts = count_by_hand(torch.from_numpy(decisions), problem)
    assert torch.stack(result.counts.sides).numpy() == pytest.approx(counts, abs=1e-9)
    policy = Policy.by_group(result.thresholds)
    again = problem.counts(policy.decide(problem.scores, problem.groups))
    assert result.utility == pytest.approx(float(objective.utility(again)), abs=1e-12)


def problems(n_groups: int, n: int = 40) -> list[Problem]:
    return [
        scored_rows(n, n_groups, seed=seed, levels=levels, weighted=weighted)
        for seed, (levels, weighted) in enumerate(itertools.product((0, 9), (False, True)))
    ]


@pytest.mark.parametrize("performance", GAINS)
@pytest.mark.parametrize(
    ("metric", "n_groups"),
    [*((m, 2) for m in TWO_GROUPS), *((m, 3) for m in THREE_GROUPS)],
)
def test_against_all_combinations(metric: str, n_groups: int, performance: str) -> None:
    for problem, budget in itertools.product(problems(n_groups), (0.0137, BUDGET, 0.437)):
        objective = aim(metric, performance, budget=budget, margin=0.003)
        result = best_group_thresholds(problem, objective)
        check(result, problem, objective)
        best = best_of_all(problem, metric, performance, budget - 0.003)
        assert result.utility == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("seed", range(40))
def test_against_all_combinations_on_random_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_groups = int(rng.integers(2, 4))
    problem = scored_rows(
        int(rng.integers(9, 45)),
        n_groups,
        seed=seed,
        levels=int(rng.choice([0, 3, 8, 20])),
        weighted=bool(rng.integers(2)),
    )
    metric = str(rng.choice(THREE_GROUPS if n_groups == 3 else list(TWO_GROUPS)))
    performance = str(rng.choice(list(GAINS)))
    objective = aim(metric, performance, budget=float(rng.uniform(0.01, 0.6)), margin=0.0)
    result = best_group_thresholds(problem, objective)
    check(result, problem, objective)
    best = best_of_all(problem, metric, performance, objective.budget)
    assert result.utility == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("metric", TWO_GROUPS)
@pytest.mark.parametrize("budget", [0.05, 0.1, 0.2, 0.25])
def test_gaps_just_at_the_budget(metric: str, budget: float) -> None:
    """Where a gap equals the budget up to rounding, either side is accepted."""
    problem = scored_rows(80, levels=15)
    objective = aim(metric, budget=budget, margin=0.0)
    result = best_group_thresholds(problem, objective)
    check(result, problem, objective)
    just_below, just_above = (
        best_of_all(problem, metric, "balanced_accuracy", budget + by) for by in (-1e-12, 1e-12)
    )
    assert just_below - 1e-12 <= result.utility <= just_above + 1e-12


@pytest.mark.parametrize("lower", [0, 1])
@pytest.mark.parametrize("metric", TWO_GROUPS)
def test_ordered_thresholds_against_all_ordered_combinations(metric: str, lower: int) -> None:
    for problem, budget in itertools.product(problems(2), (0.0537, 0.437)):
        objective = aim(metric, budget=budget, margin=0.003)
        result = best_group_thresholds(problem, objective, lower_group=lower)
        check(result, problem, objective)
        assert result.thresholds[lower] <= result.thresholds[1 - lower]
        best = best_of_all(problem, metric, "balanced_accuracy", budget - 0.003, lower)
        assert result.utility == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("lower", [0, 1])
@pytest.mark.parametrize("seed", range(10))
def test_one_shared_threshold_is_an_ordered_pair(lower: int, seed: int) -> None:
    """For any interleaving of the scores of the groups."""
    problem = scored_rows(24, seed=seed)
    anything_goes = aim(budget=0.999, margin=0.0)
    thresholds = torch.cat([problem.scores, torch.tensor([-1.0])])
    shared = anything_goes.utility(problem.counts(problem.scores > thresholds.unsqueeze(1)))
    result = best_group_thresholds(problem, anything_goes, lower_group=lower)
    assert result.utility >= float(shared.max()) - 1e-12


def fixed_bounds_and_all(problem: Problem, objective: Objective) -> tuple[float, float]:
    """The best objective over the optima of 40 fixed bounds, and over all combinations."""
    key, performance = objective.metric.key, objective.performance.key
    most = 1.0 if objective.kind == "tradeoff" else objective.budget
    thresholds, counts = all_tuples(problem)
    size, good = sizes(key, counts), performances(performance, counts)
    winners = [
        int(np.where(size < most * rung / 40, good, -np.inf).argmax()) for rung in range(1, 41)
    ]
    decisions = problem.scores.numpy() > thresholds[:, problem.groups.numpy()]
    utility = objective.utility(problem.counts(torch.from_numpy(decisions)))
    return float(utility[winners].max()), float(utility.max())


@pytest.mark.parametrize("kind", ["constrained", "tradeoff"])
@pytest.mark.parametrize("metric", TWO_GROUPS)
def test_chance_constrained_is_as_good_as_any_fixed_bound(metric: str, kind: str) -> None:
    for problem in problems(2, n=60):
        objective = Objective(METRICS[metric], BUDGET, kind=kind)
        result = best_group_thresholds(problem, objective)
        check(result, problem, objective)
        of_bounds, of_all = fixed_bounds_and_all(problem, objective)
        assert of_bounds - 1e-9 <= result.utility <= of_all + 1e-12
        assert result.utility >= of_all - 0.02


@pytest.mark.parametrize("metric", THREE_GROUPS)
def test_chance_constrained_with_three_groups(metric: str) -> None:
    for problem in problems(3):
        objective = aim(metric, budget=BUDGET)
        result = best_group_thresholds(problem, objective)
        check(result, problem, objective)
        of_bounds, of_all = fixed_bounds_and_all(problem, objective)
        assert of_bounds - 1e-9 <= result.utility <= of_all + 1e-12


@pytest.mark.parametrize("metric", TWO_GROUPS)
@pytest.mark.parametrize("kind", ["constrained", "tradeoff"])
def test_a_coarse_search_finds_what_the_full_search_does(
    metric: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = scored_rows(1200, seed=1, weighted=True)
    objective = Objective(METRICS[metric], kind=kind)
    full = best_group_thresholds(problem, objective)
    monkeypatch.setattr(per_group, "_THINNED", 100)
    thin = best_group_thresholds(problem, objective)
    check(thin, problem, objective)
    assert full.utility - 2e-3 < thin.utility <= full.utility + 1e-12


def test_a_coarse_search_of_many_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = scored_rows(1800, seed=1)
    groups = torch.arange(1800) % 12
    problem = replace(rows, groups=groups, group_names=tuple(map(str, range(12))))
    full = best_group_thresholds(problem, aim(budget=0.3))
    monkeypatch.setattr(per_group, "_COARSE_RATED", 12 * math.comb(12, 2) * 30)
    thin = best_group_thresholds(problem, aim(budget=0.3))
    assert full.utility - 5e-3 < thin.utility <= full.utility + 1e-12


@pytest.mark.parametrize("groups", [2, 5, 8, 24, 41, 100])
def test_a_coarse_search_rates_a_bounded_number_of_pairs(groups: int) -> None:
    per_curve = per_group._coarse(groups)
    assert per_curve == 4096 or per_curve * groups * math.comb(groups, 2) <= 2**22


def test_a_fixed_margin_is_exact_on_any_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = scored_rows(400, seed=1)
    objective = aim(margin=0.01)
    full = best_group_thresholds(problem, objective)
    monkeypatch.setattr(per_group, "_THINNED", 5)
    assert best_group_thresholds(problem, objective).thresholds == full.thresholds


def rows(scores: Sequence[float], labels: Sequence[int], groups: Sequence[int]) -> Problem:
    return Problem(
        torch.tensor(scores), torch.tensor(labels), torch.tensor(groups), ("a", "b")
    )  # fmt: skip


@pytest.mark.parametrize("score", [1e-30, 1e-6, 0.3, 0.999])
@pytest.mark.parametrize("lower", [None, 0, 1])
def test_no_threshold_between_scores_within_round_off(score: float, lower: int | None) -> None:
    """The labels of a need a threshold between its middle scores; b's are easily separated."""
    objective = aim(performance="accuracy", budget=0.999, margin=0.0)
    for share, allowed in ((0.5 * ROUND_OFF, False), (2 * ROUND_OFF, True)):
        upper = float(np.float32(score * (1 + share)))
        scores = [score / 2, score, upper, min(1.0, score * 2), 0.0, 1.0]
        problem = rows(scores, [0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 1])
        result = best_group_thresholds(problem, objective, lower_group=lower)
        assert result.utility == pytest.approx(1.0 if allowed else 5 / 6)


def test_no_ordered_thresholds_between_groups_within_round_off() -> None:
    """Only one threshold between the upper score of a and the lower one of b has no error."""
    objective = aim(performance="accuracy", budget=0.999, margin=0.0)
    for share, allowed in ((0.5 * ROUND_OFF, False), (4 * ROUND_OFF, True)):
        upper = float(np.float32(0.3 * (1 + share)))
        problem = rows([0.3, 0.9, 0.1, upper], [0, 1, 0, 1], [0, 0, 1, 1])
        result = best_group_thresholds(problem, objective, lower_group=0)
        assert result.utility == (1.0 if allowed else 0.75)


@pytest.mark.parametrize("metric", ["ad", "aaod"])
def test_metrics_without_increasing_rates_are_refused(metric: str) -> None:
    with pytest.raises(UsageError, match=rf"support spd, .*, not {metric}\.$"):
        best_group_thresholds(scored_rows(40), aim(metric))


def test_f1_is_refused() -> None:
    with pytest.raises(UsageError, match="balanced_accuracy or accuracy, not f1"):
        best_group_thresholds(scored_rows(40), aim(performance="f1"))


@pytest.mark.parametrize(("metric", "lower"), [("eqodds", None), ("spd", 1)])
def test_a_third_group_is_refused_where_two_are_required(metric: str, lower: int | None) -> None:
    what = "with lower_group" if lower else f"for {metric}"
    with pytest.raises(UsageError, match=f"Thresholds per group {what} support two groups, not 3"):
        best_group_thresholds(scored_rows(60, 3), aim(metric), lower_group=lower)


@pytest.mark.parametrize(("metric", "label"), [("eod", 1), ("fprd", 0), ("aod", 1), ("eqodds", 0)])
def test_a_group_without_rows_of_a_label_is_refused_by_name(metric: str, label: int) -> None:
    problem = scored_rows(40)
    problem = problem.take(((problem.groups == 0) | (problem.labels != label)).nonzero()[:, 0])
    with pytest.raises(
        TableError, match=f"{metric} is undefined.*'b' has no rows with label {label}"
    ):
        best_group_thresholds(problem, aim(metric))
    assert math.isfinite(best_group_thresholds(problem, aim("spd")).utility)

"""Goals that not every method can pursue, and measures that need a limit beside them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import sklearn.metrics as sklearn
import torch
from scipy.stats import norm

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.methods._outside_result import complete_result
from fairfix.methods._result import Result
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE, METRICS
from fairfix.metrics.limits import AucLimit, GapLimit, Limit, RangeLimit, SmallestRateLimit
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import AUC, GOALS, PERFORMANCES
from fairfix.metrics.rates import positive_predictive_value, selection_rate, true_positive_rate
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.score_figures import areas_of
from fairfix.thresholds.shared import best_threshold_of
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, scored_rows

PRECISION, RECALL = PERFORMANCES["precision"], PERFORMANCES["recall"]


@pytest.mark.parametrize(
    ("key", "limits"),
    [
        ("precision", ()),
        ("auc", ()),
        ("auc", (AucLimit(low=0.6), GapLimit(METRICS["eod"], 0.2))),
        ("precision", (AucLimit(low=0.6), GapLimit(METRICS["eod"], 0.2))),
        ("precision", (RangeLimit(positive_predictive_value, low=0.6),)),
        ("recall", (RangeLimit(RECALL, low=0.6), SmallestRateLimit(true_positive_rate, 0.5))),
    ],
)
def test_precision_recall_and_auc_need_a_limit_on_something_else(
    key: str, limits: tuple[Limit, ...]
) -> None:
    objective = Objective(performance=GOALS[key], limits=limits)
    other = {"precision": "recall", "recall": "precision", "auc": "balanced_accuracy"}[key]
    with pytest.raises(UsageError, match=f"The {key} alone .* --floor {other}=0.6"):
        get("identity").run(scored_rows(40, 2), objective)


@pytest.mark.parametrize("risk", [None, "high"])
@pytest.mark.parametrize(
    ("key", "limit", "oracle"),
    [
        ("precision", RangeLimit(true_positive_rate, low=0.5), sklearn.precision_score),
        ("recall", RangeLimit(positive_predictive_value, low=0.6), sklearn.recall_score),
        ("recall", RangeLimit(selection_rate, high=0.5), sklearn.recall_score),
    ],
)
def test_the_best_precision_or_recall_within_a_limit(
    key: str, limit: RangeLimit, oracle: object, risk: str | None
) -> None:
    assert callable(oracle)
    problem = scored_rows(200, 2, seed=3)
    objective = Objective(
        budget=0.3, performance=PERFORMANCES[key], limits=(limit,), risk=risk, k=0.2
    )
    threshold = get("identity").run(problem, objective).policy.thresholds(2)[0]
    tried = torch.cat([torch.tensor([-1.0]), problem.scores]).sort().values
    decided = problem.scores > tried[:, None]
    counts = problem.counts(decided)
    worth = [
        oracle(problem.labels, row, zero_division=0.0) * float(chance)
        for row, chance in zip(decided, objective.probability_met(counts), strict=True)
    ]
    chosen = problem.scores > threshold
    found = float(objective.probability_met(problem.counts(chosen)))
    assert oracle(problem.labels, chosen) * found == pytest.approx(max(worth))
    assert 0.05 < chosen.double().mean() < 0.95
    within = replace(objective, margin=0.0, risk=None)
    fixed = problem.scores > get("identity").run(problem, within).policy.thresholds(2)[0]
    held = [
        oracle(problem.labels, row, zero_division=0.0)
        for row, met in zip(decided, objective.met(counts), strict=True)
        if met
    ]
    assert oracle(problem.labels, fixed) == pytest.approx(max(held))


@pytest.mark.parametrize("method", ["thresholds", "roc", "eqodds", "caleqodds"])
def test_methods_that_change_thresholds_refuse_the_auc(method: str) -> None:
    with pytest.raises(
        UsageError, match=f"{method} only changes thresholds, and no threshold changes"
    ):
        get(method).run(scored_rows(40, 2), Objective(performance=AUC))


def test_eqodds_refuses_a_measure_that_it_does_not_maximize() -> None:
    objective = Objective(performance=PRECISION, limits=(RangeLimit(RECALL, low=0.3),))
    with pytest.raises(UsageError, match="eqodds maximizes balanced_accuracy, accuracy, f1, not"):
        get("eqodds").run(scored_rows(40, 2), objective)


@pytest.mark.parametrize("kind", [{}, {"margin": 0.0}, {"kind": "tradeoff"}, {"risk": "high"}])
def test_networks_are_compared_by_auc_at_the_threshold_of_balanced_accuracy(
    kind: dict[str, Any],
) -> None:
    rows = scored_rows(120, 3, seed=2, levels=20, weighted=True)
    batch = torch.stack([scored_rows(120, 3, seed=s, levels=20).scores for s in (2, 7, 9)])
    objective = Objective(budget=0.3, performance=AUC, **kind)
    found = best_threshold_of(rows, batch, objective)
    usual = best_threshold_of(rows, batch, objective.for_thresholds)
    assert torch.equal(found.threshold, usual.threshold)
    for index, scores in enumerate(batch):
        auc = sklearn.roc_auc_score(rows.labels, scores, sample_weight=rows.weights)
        gap = METRICS["spd"](rows.counts(scores > usual.threshold[index]))
        size, utility = float(gap.size), float(found.utility[index])
        if "kind" in kind:
            assert utility == pytest.approx(-(0.75 * size + 0.25 * (1 - auc)))
        elif "margin" in kind:
            assert utility == pytest.approx(auc if size < 0.3 else -size)
        else:
            high = kind.get("risk") == "high"
            chance = gap.probability_within(0.3, 1.0 if high else math.sqrt(2))
            assert utility == pytest.approx((auc - 0.25 * high) * float(chance))


def test_perturb_keeps_the_network_with_the_best_auc() -> None:
    features = zoo.features(150)
    problem = biased_problem(zoo.scorer("BatchNorm before", "as written"), features)
    problem = replace(problem, labels=(features[:, 0] > 0).long())
    some = RangeLimit(PERFORMANCES["balanced_accuracy"], low=0.2)
    objective = Objective(kind="tradeoff", lambda_=0.0, performance=AUC, limits=(some,))
    result = get("perturb").run(problem, objective, trials=30)
    best = max(result.trajectory, key=lambda step: step.performance)
    assert result.state is not None
    auc = sklearn.roc_auc_score(problem.labels, problem.score(result.state))
    assert auc == pytest.approx(best.performance)
    assert auc > sklearn.roc_auc_score(problem.labels, problem.scores)
    assert "no threshold changes auc" in " ".join(result.notes)


def test_networks_compared_by_auc_within_a_limit_keep_decisions_that_are_not_trivial() -> None:
    """Without it, the best would be a network whose threshold decides all rows alike."""
    rows = scored_rows(300, 2, seed=1)
    apart = torch.where(rows.groups == 1, 0.5 + rows.scores / 2, rows.scores / 2)
    limit = RangeLimit(PERFORMANCES["balanced_accuracy"], low=0.6)
    batch = torch.stack([apart, rows.scores])
    objective = Objective(budget=0.1, performance=AUC, limits=(limit,))
    found = best_threshold_of(rows, batch, objective)
    assert int(found.utility.argmax()) == 1
    assert 0.1 < (rows.scores > found.threshold[1]).double().mean() < 0.9


def test_an_outside_method_without_a_trajectory_is_rated_by_the_auc_of_its_scores() -> None:
    problem = scored_rows(80, 2)
    done = complete_result("mine", Result(Policy.shared(0.5)), problem, Objective(performance=AUC))
    expected = sklearn.roc_auc_score(problem.labels, problem.scores)
    assert done.trajectory[1].performance == pytest.approx(expected)


@pytest.mark.parametrize("method", ["thresholds", "roc", "eqodds", "caleqodds"])
def test_methods_that_change_thresholds_refuse_the_auc_difference(method: str) -> None:
    with pytest.raises(
        UsageError, match=r"no threshold changes aucd; use .* finetune, prune or gda"
    ):
        get(method).run(scored_rows(40, 2), Objective(AUC_DIFFERENCE))


@pytest.mark.parametrize("method", ["blind", "repair"])
def test_methods_that_fit_trees_refuse_the_auc_difference(method: str) -> None:
    problem = biased_problem(zoo.scorer("BatchNorm before", "as written"), zoo.features(150))
    with pytest.raises(UsageError, match="not aucd"):
        get(method).run(problem, Objective(AUC_DIFFERENCE))


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("budget", [0.3, 0.01])
def test_networks_are_compared_by_performance_times_the_chance_of_the_auc_difference(
    n_groups: int, budget: float
) -> None:
    """Each at the threshold of best performance, whatever the chance of its gap."""
    rows = scored_rows(120, n_groups, seed=2, levels=20, weighted=True)
    batch = torch.stack([scored_rows(120, n_groups, seed=s, levels=20).scores for s in (2, 7, 9)])
    found = best_threshold_of(rows, batch, Objective(AUC_DIFFERENCE, budget, k=1.0))
    for index, scores in enumerate(batch):
        tried = torch.cat([torch.tensor([-1.0]), scores]).sort().values
        reached = PERFORMANCES["balanced_accuracy"](rows.counts(scores > tried[:, None])).max()
        areas = areas_of(rows, scores)
        chance, sizes = 1.0, []
        for i, j in itertools.combinations(range(n_groups), 2):
            gap = float(areas.value[i] - areas.value[j])
            sd = math.sqrt(float(areas.variance[i] + areas.variance[j]))
            chance *= norm.cdf((budget - gap) / sd) - norm.cdf((-budget - gap) / sd)
            sizes.append(abs(gap))
        assert float(auc_gap_size(rows, scores)) == pytest.approx(max(sizes))
        chosen = PERFORMANCES["balanced_accuracy"](rows.counts(scores > found.threshold[index]))
        assert float(chosen) == pytest.approx(float(reached))
        assert float(found.utility[index]) == pytest.approx(float(reached) * chance)


def auc_gap_size(rows: Problem, scores: torch.Tensor) -> torch.Tensor:
    counts = rows.counts(scores > 0.5)
    return AUC_DIFFERENCE(replace(counts, areas=areas_of(rows, scores))).size


def test_a_network_beyond_the_budget_keeps_its_threshold_and_ranks_by_its_gap() -> None:
    rows = scored_rows(200, 2, levels=20)
    apart = torch.where(rows.groups == 1, rows.scores, 0.05 + rows.labels * 0.9)
    objective = Objective(AUC_DIFFERENCE, 0.01, margin=0.0)
    found = best_threshold_of(rows, apart, objective)
    assert float(found.utility) == pytest.approx(-float(auc_gap_size(rows, apart)))
    assert 0.02 < (apart > found.threshold).double().mean() < 0.98


def test_limits_hold_beside_the_auc_difference() -> None:
    rows = scored_rows(400, 2, seed=3)
    plain = Objective(AUC_DIFFERENCE, 0.3)
    limited = replace(plain, limits=(RangeLimit(selection_rate, high=0.3),))
    free, kept = (best_threshold_of(rows, rows.scores, each) for each in (plain, limited))
    shares = [float((rows.scores > each.threshold).double().mean()) for each in (free, kept)]
    assert shares[0] > 0.35
    assert shares[1] < 0.3
    assert float(kept.utility) < float(free.utility)


@pytest.mark.parametrize("method", ["perturb", "gda", "finetune", "prune"])
def test_weights_change_the_auc_difference_as_reported(method: str) -> None:
    features = zoo.features(200)
    problem = biased_problem(zoo.scorer("BatchNorm before", "as written"), features)
    other = (features[:, 0] > 0).long()  # in one group the scores say less of the label
    problem = replace(problem, labels=torch.where(problem.groups == 0, other, problem.labels))
    options: dict[str, dict[str, Any]] = {
        "perturb": {"trials": 10},
        "gda": {"epochs": 4, "learning_rate": 0.01, "minibatch": 64},
        "finetune": {"steps": 40},
        "prune": {"max_units": 4, "per_step": 1},
    }
    objective = Objective(AUC_DIFFERENCE, 0.2, margin=0.0)
    result = get(method).run(problem, objective, **options[method])
    step = result.trajectory[result.chosen]
    scores = problem.scores if result.state is None else problem.score(result.state)
    areas = [
        sklearn.roc_auc_score(problem.labels[problem.groups == g], scores[problem.groups == g])
        for g in (0, 1)
    ]
    assert step.gap == pytest.approx(areas[0] - areas[1])
    decided = scores > step.threshold
    assert step.performance == pytest.approx(
        sklearn.balanced_accuracy_score(problem.labels, decided)
    )
    assert min(abs(each.gap) for each in result.trajectory) < abs(result.trajectory[0].gap)


def test_a_default_penalty_of_finetune_is_that_of_the_auc_difference() -> None:
    problem = biased_problem(zoo.scorer("BatchNorm before", "as written"), zoo.features(120))
    objective = Objective(AUC_DIFFERENCE)
    usual, named = (
        get("finetune").run(problem, objective, steps=5, **given)
        for given in ({}, {"penalty": "aucd"})
    )
    assert usual.trajectory == named.trajectory

"""Evaluation against a table counted by hand and scikit-learn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn import metrics as sklearn

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.stats.evaluation import Evaluation, evaluate
from tests.helpers.toys import count_by_hand, gaps_by_hand, rates_by_hand, scored_rows

# By hand: group a has 2 tp, 1 fp, 1 fn, 2 tn; group b has 1 tp, 0 fp, 1 fn, 2 tn. Cut at 0.5.
HAND = Problem(
    torch.tensor([0.9, 0.7, 0.3, 0.8, 0.2, 0.1, 0.6, 0.4, 0.5, 0.3]),
    torch.tensor([1, 1, 1, 0, 0, 0, 1, 1, 0, 0]),
    torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]),
    ("a", "b"),
)


def judged(problem: Problem, objective: Objective | None = None, cut: float = 0.5) -> Evaluation:
    return evaluate(
        problem,
        problem.scores,
        problem.scores > cut,
        objective or Objective(),
        (cut,) * problem.n_groups,
    )


def test_a_table_counted_by_hand() -> None:
    found = judged(HAND)
    a, b = found.groups
    assert (found.rows, a.rows, b.rows) == (10, 6, 4)
    assert (a.tp, a.fp, a.fn, a.tn) == (2, 1, 1, 2)
    assert (b.tp, b.fp, b.fn, b.tn) == (1, 0, 1, 2)
    assert (a.name, b.name) == ("a", "b")
    assert (a.threshold, b.threshold) == (0.5, 0.5)
    assert {k: (s.value, s.n) for k, s in a.rates.items()} == {
        "selection_rate": (0.5, 6),
        "tpr": (pytest.approx(2 / 3), 3),
        "fpr": (pytest.approx(1 / 3), 3),
        "accuracy": (pytest.approx(2 / 3), 6),
        "ppv": (pytest.approx(2 / 3), 3),
        "fdr": (pytest.approx(1 / 3), 3),
        "for": (pytest.approx(1 / 3), 3),
        "fnr": (pytest.approx(1 / 3), 3),
    }
    assert {k: (s.value, s.n) for k, s in b.rates.items()} == {
        "selection_rate": (0.25, 4),
        "tpr": (0.5, 2),
        "fpr": (0.0, 2),
        "accuracy": (0.75, 4),
        "ppv": (1.0, 1),
        "fdr": (0.0, 1),
        "for": (pytest.approx(1 / 3), 3),
        "fnr": (0.5, 2),
    }
    assert a.auc == pytest.approx(7 / 9)  # of 9 pairs, 0.8 lies above 0.7 and above 0.3
    assert b.auc == pytest.approx(3 / 4)
    assert found.gaps["spd"] == 0.25
    assert found.gaps["aucd"] == pytest.approx(7 / 9 - 3 / 4)
    assert found.performance["accuracy"] == pytest.approx(0.7)
    assert found.performance["balanced_accuracy"] == pytest.approx((3 / 5 + 4 / 5) / 2)
    assert found.performance["f1"] == pytest.approx(6 / 9)
    assert not found.trivial


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_figure_on_random_rows(n_groups: int, weighted: bool) -> None:
    problem = scored_rows(120, n_groups, seed=6, weighted=weighted)
    found = judged(problem)
    counts = count_by_hand(problem.scores > 0.5, problem)
    gaps = gaps_by_hand(counts)
    aucs = [
        sklearn.roc_auc_score(
            problem.labels[here],
            problem.scores[here],
            sample_weight=None if problem.weights is None else problem.weights[here],
        )
        for here in (problem.groups == g for g in range(n_groups))
    ]
    auc_difference = aucs[0] - aucs[1] if n_groups == 2 else max(aucs) - min(aucs)
    assert found.gaps == pytest.approx({**gaps, "aucd": auc_difference})
    sizes = {key: abs(value) for key, value in {**gaps, "aucd": auc_difference}.items()}
    sizes["di"] = 1 - min(gaps["di"], 1 / gaps["di"])
    assert found.gap_sizes == pytest.approx(sizes)
    rates = rates_by_hand(counts)
    for g, group in enumerate(found.groups):
        assert [group.tp, group.fp, group.fn, group.tn] == pytest.approx(counts[:, g])
        assert group.auc == pytest.approx(aucs[g])
        for name, share in group.rates.items():
            assert share.value == pytest.approx(
                rates["selection" if name == "selection_rate" else name][g], nan_ok=True
            )
    overall = sklearn.roc_auc_score(problem.labels, problem.scores, sample_weight=problem.weights)
    assert found.performance["auc"] == pytest.approx(overall)
    assert set(found.performance) == {*PERFORMANCES, "auc"}


def test_met_is_strictly_below_and_otherwise_the_objective_is_0() -> None:
    objective = Objective(budget=0.25)
    found = judged(HAND, objective)
    assert found.gap_sizes["spd"] == 0.25
    assert not found.met
    assert found.objective == 0
    found = judged(HAND, replace(objective, budget=0.26, performance=PERFORMANCES["accuracy"]))
    assert found.met
    assert found.objective == found.performance["accuracy"]


def test_undefined_is_nan_and_never_met() -> None:
    problem = replace(HAND, labels=HAND.labels * (HAND.groups == 0))
    found = judged(problem, Objective(METRICS["eod"], budget=0.99))
    assert math.isnan(found.gaps["eod"])
    assert math.isnan(found.gaps["aucd"])
    assert math.isnan(found.groups[1].auc)
    assert math.isnan(found.groups[1].rates["tpr"].value)
    assert found.groups[1].rates["tpr"].n == 0
    assert not found.met
    assert found.objective == 0
    assert not math.isnan(found.gaps["spd"])


def test_of_three_groups_one_without_auc_leaves_the_difference_undefined() -> None:
    problem = scored_rows(60, 3)
    problem = replace(problem, labels=problem.labels * (problem.groups != 2))
    assert math.isnan(judged(problem).gaps["aucd"])


@pytest.mark.parametrize(("cut", "trivial"), [(-1.0, True), (1.0, True), (0.5, False)])
def test_deciding_all_rows_alike_is_trivial(cut: float, trivial: bool) -> None:
    found = judged(HAND, cut=cut)
    assert found.trivial is trivial
    if trivial:
        assert found.met
        assert found.performance["balanced_accuracy"] == 0.5


def test_decisions_by_group_keep_their_thresholds() -> None:
    cuts = torch.tensor([0.75, 0.35])
    found = evaluate(HAND, HAND.scores, HAND.scores > cuts[HAND.groups], Objective(), (0.75, 0.35))
    assert [g.threshold for g in found.groups] == [0.75, 0.35]
    assert found.gaps["spd"] == pytest.approx(2 / 6 - 3 / 4)

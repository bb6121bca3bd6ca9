"""Goals that not every method can pursue, and measures that need a limit beside them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import sklearn.metrics as sklearn
import torch

from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.methods._outside_result import complete_result
from fairfix.methods._result import Result
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.limits import AucLimit, GapLimit, Limit, RangeLimit, SmallestRateLimit
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import AUC, PERFORMANCES
from fairfix.metrics.rates import positive_predictive_value, selection_rate, true_positive_rate
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import best_threshold_of
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, scored_rows

PRECISION, RECALL = PERFORMANCES["precision"], PERFORMANCES["recall"]


@pytest.mark.parametrize(
    ("key", "limits"),
    [
        ("precision", ()),
        ("precision", (AucLimit(low=0.6), GapLimit(METRICS["eod"], 0.2))),
        ("precision", (RangeLimit(positive_predictive_value, low=0.6),)),
        ("recall", (RangeLimit(RECALL, low=0.6), SmallestRateLimit(true_positive_rate, 0.5))),
    ],
)
def test_precision_and_recall_need_a_limit_on_something_else(
    key: str, limits: tuple[Limit, ...]
) -> None:
    objective = Objective(performance=PERFORMANCES[key], limits=limits)
    other = "recall" if key == "precision" else "precision"
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
    with pytest.raises(UsageError, match=f"{method} changes thresholds, and no threshold changes"):
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
    objective = Objective(kind="tradeoff", lambda_=0.0, performance=AUC)
    result = get("perturb").run(problem, objective, trials=30)
    best = max(result.trajectory, key=lambda step: step.performance)
    assert result.state is not None
    auc = sklearn.roc_auc_score(problem.labels, problem.score(result.state))
    assert auc == pytest.approx(best.performance)
    assert auc > sklearn.roc_auc_score(problem.labels, problem.scores)
    assert "no threshold changes auc" in " ".join(result.notes)


def test_an_outside_method_without_a_trajectory_is_rated_by_the_auc_of_its_scores() -> None:
    problem = scored_rows(80, 2)
    done = complete_result("mine", Result(Policy.shared(0.5)), problem, Objective(performance=AUC))
    expected = sklearn.roc_auc_score(problem.labels, problem.scores)
    assert done.trajectory[1].performance == pytest.approx(expected)

"""Goals that not every method can pursue, and measures that need a limit beside them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sklearn.metrics as sklearn
import torch

from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.limits import AucLimit, GapLimit, Limit, RangeLimit, SmallestRateLimit
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import positive_predictive_value, selection_rate, true_positive_rate
from tests.helpers.toys import scored_rows

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

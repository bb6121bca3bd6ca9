"""fairlearn's ThresholdOptimizer as a peer: random thresholds per group, aiming at no gap."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy import float64
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.stats.evaluation import Evaluation, evaluate

CONSTRAINTS = {"spd": "demographic_parity", "eod": "true_positive_rate_parity"}


def fairlearn_rule(problem: Problem, metric: str) -> Callable[[Problem], Tensor]:
    """Fit a ThresholdOptimizer for a key of ``CONSTRAINTS``; the result decides rows, (N,) bool."""
    from fairlearn.postprocessing import ThresholdOptimizer  # type: ignore[import-untyped]

    optimizer = ThresholdOptimizer(
        estimator=ScoreEstimator(),
        constraints=CONSTRAINTS[metric],
        objective="balanced_accuracy_score",
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(
        problem.scores.double().numpy()[:, None],
        problem.labels.numpy(),
        sensitive_features=problem.groups.numpy(),
    )

    def decide(problem: Problem) -> Tensor:
        scores, groups = problem.scores.double().numpy(), problem.groups.numpy()
        decisions = optimizer.predict(scores[:, None], sensitive_features=groups, random_state=0)
        return torch.from_numpy(decisions == 1)

    return decide


def evaluate_rule(
    rule: Callable[[Problem], Tensor], problem: Problem, objective: Objective
) -> Evaluation:
    """Evaluate the decisions of a rule that has no threshold for each group."""
    no_thresholds = (math.nan,) * problem.n_groups
    return evaluate(problem, problem.scores, rule(problem), objective, no_thresholds)


class ScoreEstimator(BaseEstimator):  # type: ignore[misc]
    """A fitted estimator whose prediction is its only feature, as fairlearn requires one."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, features: Any, labels: Any) -> ScoreEstimator:
        return self

    def predict(self, features: NDArray[float64]) -> NDArray[float64]:
        return features[:, 0]

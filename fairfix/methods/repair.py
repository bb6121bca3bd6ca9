"""Thresholds per group on a score that is repaired first (Cruz, Hardt 2024).

Thresholds per group are as good as the score that they are applied to. A mixture of boosted trees
and logistic regressions predicts the label from the inputs of the network and its score; its
prediction for rows that it was not fitted on (out of fold, or with --train on the training rows)
gets the exact best thresholds per group.

Deviation from the paper: it compares networks after thresholds and does not change their scores.
The thresholds chosen on predictions for unseen rows are used with a mixture that is fitted again on
all rows.

When not to use it: as thresholds, if the group is unknown at prediction or must not be used; or if
other programs must run the checkpoint alone (the mixture is part of the rule).

Changes: the score, by a mixture of models in the rule; thresholds per group.
Group at prediction: yes.
Gradients: no.
Training rows: optional, for the mixture.
Cost: 6 fits of 35 small trees and 24 of logistic regressions, with training rows a sixth.
Paper: Cruz, Hardt 2024; Hardt, Price, Srebro 2016.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from fairfix.data.problem import Problem
from fairfix.methods._cross_fitting import informative_columns
from fairfix.methods._label_models import fit_probability, table_features
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import RepairedScore
from fairfix.thresholds.per_group import best_group_thresholds
from fairfix.thresholds.policy import Policy


def repair(problem: Problem, objective: Objective, *, seed: int = 0) -> Result:
    """Predict the label again, then choose one threshold per group by exact search.

    Supports the metrics and performance measures of the method thresholds.

    Args:
        problem: the validation rows; needs the inputs of a network.
        objective: what is optimized.
        seed: of the folds.

    Raises:
        UsageError: if the metric, the performance measure or the number of groups is unsupported.
        TableError: if there are only scores, or too few rows of a label.
    """
    features = table_features(problem, "repair")
    learned = problem.learning_rows("repair")
    columns = informative_columns(learned)
    label = fit_probability(problem, learned, columns, "labels", seed=seed)
    scores = torch.from_numpy(label.unseen).to(problem.scores.device)
    best = best_group_thresholds(replace(problem, scores=scores), objective)
    model = RepairedScore(features.shape[1], columns, label.model)
    return policy_result(
        problem,
        objective,
        Policy.by_group(best.thresholds),
        score_model=model.of_embeddings(problem.features is None),
        validation_scores=scores,
    )

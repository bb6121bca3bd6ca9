"""Thresholds per group on a score that is repaired first (Cruz, Hardt 2024).

Thresholds per group are as good as the score that they are applied to. Boosted trees predict the
label from the inputs of the network and its score; their prediction for rows that they were not
fitted on (out of fold, or with --train on the training rows) gets the exact best thresholds per
group.

Deviation from the paper: it compares networks after thresholds and does not change their scores.
The thresholds chosen on predictions for unseen rows are used with trees that are fitted again on
all rows. The default of --k is 1.2 for metrics that depend on labels and 1.7 for others.

When not to use it: as thresholds, if the group is unknown at prediction or must not be used; or if
other programs must run the checkpoint alone (the trees are part of the rule).

Changes: the score, by trees in the rule; thresholds per group.
Group at prediction: yes.
Gradients: no.
Training rows: optional, for the trees.
Cost: 6 fits of 35 small trees, with training rows 1.
Paper: Cruz, Hardt 2024; Hardt, Price, Srebro 2016.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from fairfix.data.problem import Problem
from fairfix.methods._cross_fitting import informative_columns
from fairfix.methods._label_models import calibrated_score, fit_trees, table_features
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import RepairedScore
from fairfix.thresholds.per_group import best_group_thresholds
from fairfix.thresholds.policy import Policy

OWN_K = {False: 1.7, True: 1.2}
"""Factor on standard errors, by whether the metric depends on labels (docs/results.md)."""


def repair(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    eta: Literal["own", "mixed"] = "mixed",
) -> Result:
    """Predict the label again by trees, then choose one threshold per group by exact search.

    Supports the metrics and performance measures of the method thresholds.

    Args:
        problem: the validation rows; needs the inputs of a network.
        objective: what is optimized.
        seed: of the folds.
        eta: the new score is the prediction of the trees alone ("own") or averaged with the
            recalibrated score of the network ("mixed").

    Raises:
        UsageError: if the metric, the performance measure or the number of groups is unsupported.
        TableError: if there are only scores, or too few rows of a label.
    """
    features = table_features(problem, "repair")
    learned = problem.learning_rows("repair")
    columns = informative_columns(learned)
    label = fit_trees(problem, learned, columns, "labels", seed=seed)
    calibrated, recalibrated = None, label.unseen
    if eta == "mixed":
        calibrated, recalibrated = calibrated_score(problem)
    scores = torch.from_numpy((label.unseen + recalibrated) / 2).to(problem.scores.device)
    objective = objective.with_default_k(OWN_K[objective.metric.needs_labels])
    best = best_group_thresholds(replace(problem, scores=scores), objective)
    return policy_result(
        problem,
        objective,
        Policy.by_group(best.thresholds),
        score_model=RepairedScore(
            features.shape[1], columns, label.trees, calibrated
        ).of_embeddings(problem.features is None),
        validation_scores=scores,
    )

"""Label probabilities that stand in for labels which a network would memorize.

A rate among rows of a label is measured too well on rows that the network was trained on. Weighted
by a cross-fitted or smooth probability of the label, such a rate holds on new rows as well.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from fairfix.data.problem import Problem
from fairfix.methods._cross_fitting import (
    predicted_score,
    repaired_score,
    row_weights,
    score_logit,
)

Labels = Literal["true", "smooth", "repaired"]

_LOGIT_SCALE = 3.0  # brings logits to the size of the other columns
_LEAST = 1e-4  # distance of repaired probabilities from 0 and 1


def label_probabilities(
    problem: Problem, labels: Labels, seed: int, rows: Problem | None = None
) -> torch.Tensor:
    """Return P(label = 1) of every row, (N,) float64 on the problem's device.

    Args:
        problem: the rows that a model of the labels is fitted on.
        labels: "true" for the labels themselves; "smooth" for P(label | score, group) by logistic
            regression; "repaired" for P(label | features, score), cross-fitted.
        seed: of the folds.
        rows: other rows, (M,), whose probabilities are returned instead. The network has learned
            their labels, so that its scores say too much of them.

    Raises:
        TableError: if a label has too few rows.
    """
    match labels:
        case "true":
            return (rows or problem).labels.double()
        case "smooth":
            probabilities = _smooth(problem, rows or problem)
        case "repaired":
            score = (
                repaired_score(problem, seed) if rows is None else predicted_score(problem, rows)
            )
            probabilities = np.clip(score, _LEAST, 1 - _LEAST)
    return torch.from_numpy(probabilities).to(problem.labels.device)


def _smooth(problem: Problem, rows: Problem) -> NDArray[np.float64]:
    """Return P(label | score, group) of rows by a logistic regression that all groups share.

    Its columns are z, z^2, and for every group but the first an indicator and its product with z.
    Rows without a group are a further group.
    """
    others = [*range(1, problem.n_groups), *([-1] if problem.has_unknown_groups else [])]

    def columns(of: Problem) -> NDArray[np.float64]:
        z = score_logit(of.scores.double().cpu().numpy())[:, None] / _LOGIT_SCALE
        groups = of.groups.cpu().numpy()[:, None]
        indicators = (groups == np.array(others)).astype(float)
        return np.hstack([z, z**2, indicators, indicators * z])

    labels = problem.labels.cpu().numpy()
    with threadpool_limits(torch.get_num_threads()):
        model = LogisticRegression(C=10.0, max_iter=1000)
        model.fit(columns(problem), labels, row_weights(problem))
        probabilities: NDArray[np.float64] = model.predict_proba(columns(rows))[:, 1]
    return probabilities

"""Cross-fitted boosted trees, and the same refitted on all rows as part of a score model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import TableError
from fairfix.methods._cross_fitting import Floats, boosted_trees, out_of_fold, row_weights
from fairfix.models.score_model import Logistic, TreeEnsemble
from fairfix.models.score_model.label_model import SCALE


@dataclass(frozen=True)
class CrossFitted:
    """A probability model of every row.

    Attributes:
        out_of_fold: (N,) predicted by trees that were fitted without the row's fold.
        trees: fitted on all rows.
    """

    out_of_fold: Floats
    trees: TreeEnsemble


def cross_fit(
    problem: Problem,
    inputs: Floats,
    target: NDArray[np.int64],
    folds: NDArray[np.int64],
    rows: NDArray[np.bool_] | None = None,
) -> CrossFitted:
    """Fit boosted trees for P(target = 1), for each fold and on all rows.

    Args:
        problem: gives the row weights.
        inputs: (N, D).
        target: (N,) 0/1.
        folds: (N,) from 0.
        rows: (N,) mask of the rows to fit on, as far as they have a weight; None for all.

    Raises:
        TableError: if the rows to fit on do not have both values.
    """
    rows = np.ones(len(problem), dtype=bool) if rows is None else rows
    weights = row_weights(problem)
    rows = rows if weights is None else rows & (weights > 0)
    predicted = out_of_fold(boosted_trees, inputs, target, rows, folds, weights)
    model = boosted_trees()
    with threadpool_limits(torch.get_num_threads(), user_api="openmp"):
        model.fit(inputs[rows], target[rows], None if weights is None else weights[rows])
    trees = TreeEnsemble.from_sklearn(model)
    last = inputs.shape[1] - 1
    rounded = range(last + 1) if problem.features is None else [last]
    return CrossFitted(predicted, _apart(trees, inputs[rows], rounded))


def _apart(trees: TreeEnsemble, inputs: Floats, rounded: Iterable[int]) -> TreeEnsemble:
    """Return the trees with thresholds on rounded inputs midway between values of ``inputs``.

    Thresholds may equal a value of many. What a network gives, its score or embeddings, has another
    round-off with another batch size or machine, and a row must not change sides by that.
    """
    arrays = trees.arrays()
    for column in rounded:
        here = ~arrays["is_leaf"] & (arrays["feature"] == column)
        values = np.unique(inputs[:, column])
        above = np.searchsorted(values, arrays["threshold"][here], side="right")
        between = np.clip(above, 1, len(values) - 1)
        middle = (values[between - 1] + values[between]) / 2
        arrays["threshold"][here] = np.where(above == between, middle, arrays["threshold"][here])
    return TreeEnsemble(inputs.shape[1], arrays)


def calibrated_score(problem: Problem, logit: Floats) -> tuple[Logistic, Floats]:
    """Return a logistic regression of the label on the logit and its square, and P(label = 1).

    Args:
        problem: labels and row weights.
        logit: (N,) of the network's scores, clipped.

    Returns:
        The regression, and (N,) its probabilities.
    """
    scaled = logit / SCALE
    inputs = np.column_stack([scaled, scaled**2])
    labels = problem.labels.cpu().numpy()
    model = LogisticRegression(C=100.0, max_iter=1000).fit(inputs, labels, row_weights(problem))
    return Logistic(model.coef_[0], model.intercept_[0]), model.predict_proba(inputs)[:, 1]


def table_features(problem: Problem, method: str) -> Tensor:
    """Return the features (N, D) that a score model reads (``Problem.model_features``).

    Raises:
        TableError: if the problem has only scores.
        CheckpointError: if the network takes no matrix of numbers and has no last linear layer.
    """
    if problem.model_features is None:
        raise TableError(
            f"{method} reads the inputs of the network and needs a model, not only scores; pass "
            "the model or choose another method."
        )
    return problem.model_features

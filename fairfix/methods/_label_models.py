"""Boosted trees for a label or a group, as part of a score model and for rows they did not see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import TableError
from fairfix.methods._cross_fitting import (
    N_FOLDS,
    Floats,
    boosted_trees,
    classifier_inputs,
    fitted_classifier,
    out_of_fold,
    row_weights,
    score_logit,
)
from fairfix.models.score_model import Logistic, TreeEnsemble
from fairfix.models.score_model.label_model import SCALE


@dataclass(frozen=True)
class FittedTrees:
    """A probability model of every row.

    Attributes:
        unseen: (N,) predicted by trees that were not fitted on the row.
        trees: fitted on all rows to learn from.
    """

    unseen: Floats
    trees: TreeEnsemble


def fit_trees(
    problem: Problem,
    learned: Problem,
    columns: NDArray[np.int64],
    target: Literal["labels", "groups"],
    *,
    seed: int,
    among: int | None = None,
) -> FittedTrees:
    """Fit boosted trees for the probability of label 1 or group 1.

    Args:
        problem: the rows to predict. If they are those to learn from, five further fits leave out
            a fold each.
        learned: the rows to learn from (``Problem.learning_rows``), with row weights.
        columns: numbers of the feature columns; the logit of the score is the last input.
        target: what is predicted.
        seed: of the folds.
        among: fit on rows of this label alone; None for all.

    Raises:
        TableError: if the rows to fit on do not have both values.
    """
    inputs = classifier_inputs(learned, columns)
    known: NDArray[np.int64] = getattr(learned, target).cpu().numpy()
    weights = row_weights(learned)
    rows = np.ones(len(learned), dtype=bool) if weights is None else weights > 0
    if among is not None:
        rows &= learned.labels.cpu().numpy() == among
    if len(np.unique(known[rows])) < 2:
        raise TableError("There are too few rows of a group or a label to fit a model; add rows.")
    with threadpool_limits(torch.get_num_threads(), user_api="openmp"):
        model = fitted_classifier(boosted_trees, inputs, known, rows, weights)
        if learned is problem:
            folds = stratified_folds(problem, N_FOLDS, seed)
            unseen = out_of_fold(boosted_trees, inputs, known, rows, folds, weights)
        else:
            unseen = model.predict_proba(classifier_inputs(problem, columns))[:, 1]
    last = len(columns)
    rounded = range(last + 1) if learned.features is None else [last]
    return FittedTrees(unseen, _apart(TreeEnsemble.from_sklearn(model), inputs[rows], rounded))


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


def calibrated_score(problem: Problem) -> tuple[Logistic, Floats]:
    """Return a logistic regression of the label on the score's logit and its square.

    Returns:
        The regression, and (N,) its probabilities P(label = 1).
    """
    scaled = score_logit(problem.scores.double().cpu().numpy()) / SCALE
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

"""Cross-fitting: predict every row by a model that was fitted without it.

A threshold that is chosen on rows which a model has memorized does not hold on new rows, so models
of labels and groups are fitted on all folds but one and predict that one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import TableError
from fairfix.metrics.counts import in_rows

Floats = NDArray[np.float64]

N_FOLDS = 5
SMALLEST_SCORE = 1e-6
"""Scores are clipped to [1e-6, 1 - 1e-6] before their logit is taken."""
FEWEST_ROWS = 8
"""Rows in which a column must differ from its median to be an input."""
_SAME = 1e-6  # values closer than this do not differ


class Classifier(Protocol):
    """A binary classifier in the manner of scikit-learn."""

    def fit(self, X: Floats, y: NDArray[np.int64], sample_weight: Floats | None) -> object: ...

    def predict_proba(self, X: Floats) -> Floats: ...


AnyClassifier = TypeVar("AnyClassifier", bound=Classifier)


def boosted_trees() -> HistGradientBoostingClassifier:
    """Return the classifier of a label or a group: few, strongly regularized boosted trees."""
    return HistGradientBoostingClassifier(
        max_iter=35,
        learning_rate=0.12,
        max_leaf_nodes=12,
        min_samples_leaf=25,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,  # of the rows that bins are made from, beyond 200,000
    )


def informative_columns(problem: Problem) -> NDArray[np.int64]:
    """Return the numbers of the feature columns that a classifier gets, ascending.

    Left out are columns that differ from their median in fewer than 8 rows.
    """
    features = problem.model_features
    if features is None:
        return np.zeros(0, dtype=np.int64)
    values = features.cpu().numpy()
    differ = np.abs(values - np.nanmedian(values, axis=0)) > _SAME
    return np.flatnonzero(differ.sum(0) >= FEWEST_ROWS)


def classifier_inputs(problem: Problem, columns: NDArray[np.int64]) -> Floats:
    """Return some feature columns and the logit of the score, (N, K + 1).

    Args:
        problem: the rows.
        columns: (K,) numbers of feature columns, see ``informative_columns``.
    """
    logit = score_logit(problem.scores.double().cpu().numpy())
    features = problem.model_features
    if features is None or len(columns) == 0:
        return logit[:, None]
    return np.column_stack([features[:, columns].double().cpu().numpy(), logit])


def score_logit(scores: Floats) -> Floats:
    """Return the logits (N,) of scores (N,) in [0, 1], clipped to [1e-6, 1 - 1e-6]."""
    clipped = np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE)
    logits: Floats = np.log(clipped) - np.log1p(-clipped)
    return logits


def fitted_classifier(
    make_model: Callable[[], AnyClassifier],
    inputs: Floats,
    target: NDArray[np.int64],
    rows: NDArray[np.bool_],
    weights: Floats | None,
) -> AnyClassifier:
    """Return a new classifier that is fitted on some of the rows; see ``out_of_fold``."""
    model = make_model()
    model.fit(inputs[rows], target[rows], None if weights is None else weights[rows])
    return model


def out_of_fold(
    make_model: Callable[[], Classifier],
    inputs: Floats,
    target: NDArray[np.int64],
    rows: NDArray[np.bool_],
    folds: NDArray[np.int64],
    weights: Floats | None = None,
) -> Floats:
    """Return P(target = 1) of every row, (N,), by a model fitted on rows of the other folds.

    Args:
        make_model: returns a new classifier.
        inputs: (N, D).
        target: (N,) 0/1.
        rows: (N,) mask of the rows that models are fitted on, as far as they have a weight; all
            rows are predicted.
        folds: (N,) from 0, see ``stratified_folds``.
        weights: (N,) row weights; None counts every row once.

    Raises:
        TableError: if the rows to fit on outside of a fold do not have both values.
    """
    predicted = np.empty(len(inputs))
    rows = rows if weights is None else rows & (weights > 0)
    with threadpool_limits(torch.get_num_threads(), user_api="openmp"):
        for fold in np.unique(folds):
            inside = folds == fold
            fitted = rows & ~inside
            if len(np.unique(target[fitted])) < 2:
                raise TableError(
                    "There are too few rows of a group or a label to fit a model without a fifth "
                    "of the rows; add rows."
                )
            model = fitted_classifier(make_model, inputs, target, fitted, weights)
            predicted[inside] = model.predict_proba(inputs[inside])[:, 1]
    return predicted


def row_weights(problem: Problem) -> Floats | None:
    """Return the row weights as a classifier takes them, (N,); None if there are none."""
    if problem.weights is None:
        return None
    weights: Floats = in_rows(problem.weights).cpu().numpy()
    return weights


def repaired_score(problem: Problem, seed: int) -> Floats:
    """Return the cross-fitted P(label = 1) of every row given its features and score, (N,).

    Args:
        problem: the rows.
        seed: of the folds.

    Raises:
        TableError: if a label has too few rows.
    """
    return out_of_fold(
        boosted_trees,
        classifier_inputs(problem, informative_columns(problem)),
        problem.labels.cpu().numpy(),
        np.ones(len(problem), dtype=bool),
        stratified_folds(problem, N_FOLDS, seed),
        row_weights(problem),
    )


def predicted_score(problem: Problem, rows: Problem) -> Floats:
    """Return P(label = 1) of other rows (M,), by a model fitted on all rows of the problem.

    Raises:
        TableError: if the problem's rows of positive weight have one label.
    """
    columns, weights = informative_columns(problem), row_weights(problem)
    fitted = np.ones(len(problem), dtype=bool) if weights is None else weights > 0
    labels = problem.labels.cpu().numpy()
    if len(np.unique(labels[fitted])) < 2:
        raise TableError("There are too few rows of a label to fit a model; add rows.")
    inputs = classifier_inputs(problem, columns)
    with threadpool_limits(torch.get_num_threads(), user_api="openmp"):
        model = fitted_classifier(boosted_trees, inputs, labels, fitted, weights)
        predicted: Floats = model.predict_proba(classifier_inputs(rows, columns))[:, 1]
    return predicted

"""Models of a label or a group, as part of a score model and for rows they did not see."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import log_loss
from threadpoolctl import threadpool_limits
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import TableError
from fairfix.methods._cross_fitting import (
    N_FOLDS,
    AnyClassifier,
    Floats,
    boosted_trees,
    classifier_inputs,
    fitted_classifier,
    out_of_fold,
    row_weights,
)
from fairfix.methods._linear_classifiers import CalibratedScore, LinearClassifier
from fairfix.methods._mixture_weights import mixture_weights
from fairfix.models.score_model import Mixture, TreeEnsemble

PENALTIES = (0.01, 0.1, 1.0)
"""Inverse strengths of the penalty of logistic regression (scikit-learn's C) to choose from."""


@dataclass(frozen=True)
class FittedProbability:
    """A probability model of every row.

    Attributes:
        unseen: (N,) predicted by a model that was not fitted on the row.
        model: fitted on all rows to learn from.
    """

    unseen: Floats
    model: Mixture


def fit_probability(
    problem: Problem,
    learned: Problem,
    columns: NDArray[np.int64],
    target: Literal["labels", "groups"],
    *,
    seed: int,
    among: int | None = None,
) -> FittedProbability:
    """Fit the probability of label 1 or group 1 by trees and logistic regressions.

    The members are boosted trees, a logistic regression with the penalty that predicts unseen rows
    best, and for labels a logistic regression on the score alone. Their weights make the labels or
    groups of unseen rows most likely.

    Args:
        problem: the rows to predict. If they are those to learn from, five further fits of every
            member leave out a fold each.
        learned: the rows to learn from (``Problem.learning_rows``), with row weights. The
            regression on the score learns from ``problem``, because a network says too much of the
            rows it was trained on.
        columns: numbers of the feature columns; the logit of the score is the last input.
        target: what is predicted.
        seed: of the folds.
        among: fit on rows of this label alone; None for all.

    Raises:
        TableError: if the rows to fit on do not have both values.
    """
    learner = _Learner.of(problem, learned, columns, target, seed, among)
    linear = [learner.fit(partial(LinearClassifier, penalty)) for penalty in PENALTIES]
    best = min(linear, key=lambda member: learner.log_loss(member.unseen))
    trees = learner.fit(boosted_trees)
    members = [trees.unseen, best.unseen]
    calibrated = None
    if target == "labels":
        on_score = _Learner.of(problem, problem, columns[:0], target, seed, among)
        alone = on_score.fit(CalibratedScore)
        calibrated = alone.model.logistic()
        members.append(alone.unseen)
    weights = learner.mixture_weights(members)
    last = len(columns)
    rounded = range(last + 1) if learned.features is None else [last]
    mixture = Mixture(
        weights,
        _apart(TreeEnsemble.from_sklearn(trees.model), learner.inputs[learner.rows], rounded),
        best.model.standardized_logistic(),
        calibrated,
    )
    return FittedProbability(np.average(members, axis=0, weights=weights), mixture)


@dataclass(frozen=True)
class _Member(Generic[AnyClassifier]):
    """A classifier fitted on all rows to learn from, and its prediction of unseen rows (N,)."""

    model: AnyClassifier
    unseen: Floats


@dataclass(frozen=True)
class _Learner:
    """The rows that members are fitted on, and those that they predict.

    Attributes:
        inputs: (L, D) of the rows to learn from.
        known: (L,) 0 or 1, to predict.
        rows: (L,) mask of the rows to fit on.
        weights: (L,) row weights; None counts every row once.
        folds: (L,) of the rows to learn from, if they are those to predict.
        other: the learner of the rows to predict, if they are others.
    """

    inputs: Floats
    known: NDArray[np.int64]
    rows: NDArray[np.bool_]
    weights: Floats | None
    folds: NDArray[np.int64]
    other: _Learner | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        learned: Problem,
        columns: NDArray[np.int64],
        target: Literal["labels", "groups"],
        seed: int,
        among: int | None,
    ) -> _Learner:
        """Return the learner of a problem; see ``fit_probability``.

        Raises:
            TableError: if the rows to fit on do not have both values.
        """
        known: NDArray[np.int64] = getattr(learned, target).cpu().numpy()
        weights = row_weights(learned)
        rows = known >= 0 if weights is None else (known >= 0) & (weights > 0)
        if among is not None:
            rows &= learned.labels.cpu().numpy() == among
        if len(np.unique(known[rows])) < 2:
            raise TableError(
                "There are too few rows of a group or a label to fit a model; add rows."
            )
        other = None
        if learned is not problem:
            other = cls.of(problem, problem, columns, target, seed, among)
        return cls(
            classifier_inputs(learned, columns),
            known,
            rows,
            weights,
            stratified_folds(learned, N_FOLDS, seed),
            other,
        )

    def fit(self, make_model: Callable[[], AnyClassifier]) -> _Member[AnyClassifier]:
        """Fit a classifier on all rows to learn from, and predict rows that it did not see."""
        with threadpool_limits(torch.get_num_threads(), user_api="openmp"):
            model = fitted_classifier(make_model, self.inputs, self.known, self.rows, self.weights)
            if self.other is not None:
                return _Member(model, model.predict_proba(self.other.inputs)[:, 1])
        unseen = out_of_fold(
            make_model, self.inputs, self.known, self.rows, self.folds, self.weights
        )
        return _Member(model, unseen)

    def log_loss(self, unseen: Floats) -> float:
        """Return the mean log loss of predictions (N,) on the rows that count."""
        on = self.other or self
        weights = None if on.weights is None else on.weights[on.rows]
        return float(log_loss(on.known[on.rows], unseen[on.rows], sample_weight=weights))

    def mixture_weights(self, members: Sequence[Floats]) -> Floats:
        """Return the weights of the members' predictions (N,) each; see ``mixture_weights``."""
        on = self.other or self
        weights = None if on.weights is None else on.weights[on.rows]
        return mixture_weights(np.stack(members)[:, on.rows], on.known[on.rows], weights)


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

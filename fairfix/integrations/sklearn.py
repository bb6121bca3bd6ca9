"""scikit-learn: a classifier with a threshold that keeps a fairness gap within a budget."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_predict
from sklearn.utils import check_array, column_or_1d, get_tags, indexable
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted

from fairfix._utils.text import quoted_list
from fairfix.errors import UsageError
from fairfix.methods import get
from fairfix.methods._goal import check_goal
from fairfix.methods.identity import identity
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, is_trivial
from fairfix.thresholds.per_group import supported_metrics
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.api_read import load, predict
from fairfix.workflows.case import Case
from fairfix.workflows.debias import make_objective
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.warnings import NEARLY_TRIVIAL

SCORE, LABEL = "(score)", "(label)"
"""Columns beside that of the groups, whose name is the user's."""


class FairThresholdClassifier(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Wrap a binary classifier and choose its threshold by an objective with a fairness budget.

    The threshold is the exact best one for cross-validated scores; the classifier is then fitted
    on all rows. Wrap a fitted classifier in ``sklearn.frozen.FrozenEstimator`` to keep it as it is
    and choose the threshold for its scores on rows that it was not fitted on.

    Args:
        estimator: a classifier with ``predict_proba``.
        metric: key of the fairness metric, from ``fairfix.metrics.names()``.
        budget: largest allowed absolute gap, in (0, 1).
        performance: "balanced_accuracy", "accuracy" or "f1".
        by_group: choose one threshold per group; ``predict`` then needs the groups.
        favorable: the favorable label; None takes the larger of the two.
        privileged: the privileged one of two groups; None infers it as ``fairfix.load`` does.
        cv: number of folds, or a splitter, for the scores that the threshold is chosen on.

    Attributes:
        classes_: the two labels, ascending.
        estimator_: the classifier, fitted on all rows.
        rule_: the threshold or thresholds as a ``fairfix.DecisionRule``.
        notes_: what was inferred, short sentences without a full stop.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> rng = np.random.default_rng(0)
        >>> group = rng.choice(["f", "m"], 2000)
        >>> X = rng.normal(size=(2000, 2)) + 0.5 * (group == "m")[:, None]
        >>> y = (X.sum(1) + rng.normal(size=2000) > 0).astype(int)
        >>> fair = FairThresholdClassifier(LogisticRegression(), budget=0.1, privileged="m")
        >>> decisions = fair.fit(X, y, sensitive_features=group).predict(X)
        >>> bool(abs(decisions[group == "f"].mean() - decisions[group == "m"].mean()) < 0.1)
        True
    """

    # Metadata routing passes the groups on without further requests.
    __metadata_request__fit: ClassVar = {"sensitive_features": True}
    __metadata_request__predict: ClassVar = {"sensitive_features": True}
    __metadata_request__score: ClassVar = {"sensitive_features": True}

    def __init__(
        self,
        estimator: Any,
        *,
        metric: str = "spd",
        budget: float = 0.05,
        performance: str = "balanced_accuracy",
        by_group: bool = False,
        favorable: Any = None,
        privileged: Any = None,
        cv: Any = 5,
    ) -> None:
        self.estimator = estimator
        self.metric = metric
        self.budget = budget
        self.performance = performance
        self.by_group = by_group
        self.favorable = favorable
        self.privileged = privileged
        self.cv = cv

    @in_library_terms
    def fit(self, X: Any, y: ArrayLike, *, sensitive_features: ArrayLike) -> Self:
        """Fit the classifier and choose the threshold.

        Warns if no threshold meets the budget on these rows, or if its balanced accuracy is near
        that of deciding all rows alike.

        Args:
            X: (N, D), whatever the classifier takes.
            y: (N,) labels of two values.
            sensitive_features: (N,) the group of each row.

        Raises:
            FairfixError: if a setting, a label or a group is invalid.
        """
        objective = make_objective(self.metric, self.budget, performance=self.performance)
        check_goal(objective, "thresholds", get("thresholds").changes)
        X, y, sensitive_features = indexable(X, y, sensitive_features)
        labels = _binary_labels(self, y)
        scores = cross_val_predict(self.estimator, X, labels, cv=self.cv, method="predict_proba")
        self.estimator_ = clone(self.estimator).fit(X, labels)
        self.classes_ = self.estimator_.classes_
        for about in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, about):
                setattr(self, about, getattr(self.estimator_, about))
        self._favorable = self._place_of_favorable()
        name = getattr(sensitive_features, "name", None)
        self._group_column = "group" if name is None else str(name)
        case = load(
            None,
            {
                SCORE: self._scores(scores),
                LABEL: (labels == self.classes_[self._favorable]).astype(int),
                self._group_column: _groups(sensitive_features),
            },
            score=SCORE,
            label=LABEL,
            group=self._group_column,
            privileged=self.privileged,
        )
        self._choose(case, objective)
        return self

    def _place_of_favorable(self) -> int:
        """Return the position of the favorable label among the classes."""
        if self.favorable is None:
            return 1
        places = np.flatnonzero(self.classes_ == self.favorable)
        if len(places) != 1:
            raise UsageError(
                f"The favorable label {self.favorable!r} is not among those of y, "
                f"{quoted_list(map(str, self.classes_))}; name one of them."
            )
        return int(places[0])

    def _scores(self, probabilities: NDArray[Any]) -> NDArray[Any]:
        """Return the probability of the favorable label, (N,), without round-off above 1."""
        return probabilities[:, self._favorable].clip(max=1.0)

    def _choose(self, case: Case, objective: Objective) -> None:
        """Choose the thresholds on the scores of a case, and keep them as a rule."""
        problem = case.problem
        method = thresholds if self.by_group else identity
        policy = method(problem, objective).policy
        chosen = policy.thresholds(problem.n_groups)
        shared = {"threshold": chosen[0]}
        each = {"thresholds": dict(zip(problem.group_names, chosen, strict=True))}
        label = str(self.classes_[self._favorable])
        self.rule_ = DecisionRule(
            **(each if policy.needs_group else shared),
            group_column=self._group_column if policy.needs_group else None,
            positive_label=label,
            output_label=label,
            metric=objective.metric.key,
            budget=objective.budget,
        )
        self.notes_ = case.notes
        counts = problem.counts(policy.decide(problem.scores, problem.groups))
        for sentence in self._doubts(counts, objective):
            warnings.warn(sentence, stacklevel=4)

    def _doubts(self, counts: Counts, objective: Objective) -> Iterator[str]:
        """Yield what is wrong with the decisions on the rows that the threshold was chosen on."""
        key = objective.metric.key
        possible = not self.by_group and key in supported_metrics()
        remedy = f"raise the budget{', or give by_group=True' if possible else ''}"
        if not bool(objective.met(counts)):
            value = float(objective.metric(counts).value)
            yield f"No threshold meets the budget: {key} is {value:.3f} at the best; {remedy}."
        kept = float(PERFORMANCES["balanced_accuracy"](counts))
        if is_trivial(counts):
            yield f"The threshold decides nearly all rows alike; {remedy}."
        elif kept < NEARLY_TRIVIAL:
            yield f"Balanced accuracy is {kept:.3f} with this threshold; {remedy}."

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each label by the wrapped classifier, (N, 2)."""
        check_is_fitted(self, "rule_")
        found: NDArray[Any] = self.estimator_.predict_proba(X)
        return found

    @in_library_terms
    def predict(self, X: Any, *, sensitive_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return the label of each row, (N,): the favorable one above the threshold.

        Args:
            X: (N, D).
            sensitive_features: (N,) the group of each row; needed with ``by_group``.

        Raises:
            UsageError: if groups are needed and missing.
            TableError: if a group has no threshold.
        """
        scores = self._scores(self.predict_proba(X))
        if self.rule_.threshold is not None:
            decisions = scores > self.rule_.threshold
        else:
            if sensitive_features is None:
                raise UsageError(
                    "There is one threshold per group; give the group of each row as "
                    "sensitive_features."
                )
            rows = {SCORE: scores, self._group_column: _groups(sensitive_features)}
            decisions = predict(
                None, rows, score=SCORE, group=self._group_column, rule=self.rule_
            ).decisions
        favorable = self._favorable
        found: NDArray[Any] = self.classes_[np.where(decisions, favorable, 1 - favorable)]
        return found

    def score(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sensitive_features: ArrayLike | None = None,
    ) -> float:
        """Return the accuracy of ``predict``, as classifiers of scikit-learn do.

        Args:
            X: (N, D).
            y: (N,) labels.
            sample_weight: (N,) weights of the rows; None counts every row once.
            sensitive_features: see ``predict``.
        """
        decisions = self.predict(X, sensitive_features=sensitive_features)
        return float(accuracy_score(y, decisions, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.estimator)
        tags.classifier_tags.multi_class = False
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        return tags


def _groups(sensitive_features: ArrayLike) -> NDArray[Any]:
    """Return the group of each row, (N,).

    Raises:
        UsageError: if a row has none.
    """
    groups: NDArray[Any] = column_or_1d(sensitive_features)
    missing = int(pd.isna(groups).sum())
    if missing:
        raise UsageError(
            f"sensitive_features has no group for {missing} of {len(groups)} rows; remove these "
            "rows, or give them a group of their own, such as 'unknown'."
        )
    return groups


def _binary_labels(estimator: object, y: ArrayLike | None) -> NDArray[Any]:
    """Return labels of two values, (N,).

    Raises:
        ValueError: as scikit-learn's checks of estimators ask for.
    """
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    labels = column_or_1d(check_array(y, ensure_2d=False, dtype=None, input_name="y"), warn=True)
    kind = type_of_target(labels, input_name="y")
    if kind != "binary":
        raise ValueError(
            f"Only binary classification is supported. Unknown label type: {kind}; encode y as "
            "two values, the favorable one and the other."
        )
    found: NDArray[Any] = labels
    return found

"""A scikit-learn classifier with fairfix's threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import _num_samples

import fairfix
from fairfix.errors import TableError, UsageError
from fairfix.integrations.sklearn import FairThresholdClassifier
from fairfix.methods.identity import identity


class Grouped(FairThresholdClassifier):
    """For checks that know of no groups: every other row is in the second one."""

    def fit(self, X: Any, y: Any, *, sensitive_features: Any = None) -> Grouped:
        if sensitive_features is None:
            sensitive_features = np.arange(_num_samples(X)) % 2
        return super().fit(X, y, sensitive_features=sensitive_features)


EXPECTED = {
    "check_classifiers_train": "the threshold is not that of the largest probability",
}


@pytest.mark.filterwarnings("ignore:No threshold meets:UserWarning")
@pytest.mark.filterwarnings("ignore:The threshold decides nearly:UserWarning")
@pytest.mark.filterwarnings("ignore:Balanced accuracy is:UserWarning")
@parametrize_with_checks(
    [Grouped(LogisticRegression(), cv=2)], expected_failed_checks=lambda _: EXPECTED
)
def test_it_passes_the_checks_of_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


GROUP = np.random.default_rng(0).choice(["f", "m"], 800)
X = np.random.default_rng(1).normal(size=(800, 3)) + 0.7 * (GROUP == "m")[:, None]
LABEL = (X.sum(1) + np.random.default_rng(2).normal(size=800) > 1).astype(int)
FITTED = FrozenEstimator(LogisticRegression().fit(X[:400], LABEL[:400]))


def gap(decisions: np.ndarray, groups: np.ndarray = GROUP) -> float:
    return float(decisions[groups == "f"].mean() - decisions[groups == "m"].mean())


@pytest.mark.parametrize("by_group", [False, True])
def test_the_threshold_is_that_of_the_method(by_group: bool) -> None:
    """A fitted classifier in fairfix gives the same thresholds for the same rows."""
    fair = FairThresholdClassifier(FITTED, budget=0.2, privileged="m", by_group=by_group)
    fair.fit(X[400:], LABEL[400:], sensitive_features=pd.Series(GROUP[400:], name="sex"))
    rows = {**{f"x{i}": X[400:, i] for i in range(3)}, "label": LABEL[400:], "sex": GROUP[400:]}
    case = fairfix.load(FITTED, rows, group="sex", privileged="m")
    method = "thresholds" if by_group else "identity"
    rule = fairfix.debias(case, method, budget=0.2, test=rows_of(slice(0, 400)), seed=0).rule
    assert (fair.rule_.threshold, fair.rule_.thresholds) == (rule.threshold, rule.thresholds)
    audit = fairfix.audit(case, fair.rule_, budget=0.2)
    decided = fair.predict(X[400:], sensitive_features=GROUP[400:])
    assert audit.groups[0].claim.value == pytest.approx(gap(decided, GROUP[400:]), abs=1e-12)


def rows_of(part: slice) -> dict[str, Any]:
    return {
        **{f"x{i}": X[part, i] for i in range(3)},
        "label": LABEL[part],
        "sex": GROUP[part],
    }


def test_scores_are_cross_validated_and_the_classifier_is_fitted_on_all_rows() -> None:
    model = LogisticRegression()
    fair = FairThresholdClassifier(model, budget=0.3, cv=4, privileged="m")
    fair.fit(X, LABEL, sensitive_features=GROUP)
    assert not hasattr(model, "coef_")
    np.testing.assert_array_equal(
        fair.predict_proba(X), LogisticRegression().fit(X, LABEL).predict_proba(X)
    )
    scores = cross_val_predict(model, X, LABEL, cv=4, method="predict_proba")[:, 1]
    given = {"score": scores, "label": LABEL, "group": GROUP}
    case = fairfix.load(None, given, score="score", privileged="m")
    policy = identity(case.problem, fairfix.Objective(budget=0.3)).policy
    assert fair.rule_.threshold == policy.thresholds(1)[0]


def test_labels_are_those_of_y() -> None:
    words = np.where(LABEL, "granted", "denied")
    fair = FairThresholdClassifier(FITTED_WORDS, budget=0.3, favorable="denied", privileged="m")
    decided = fair.fit(X, words, sensitive_features=GROUP).predict(X)
    assert set(decided) == {"denied", "granted"}
    scores = fair.predict_proba(X)[:, list(fair.classes_).index("denied")]
    np.testing.assert_array_equal(decided == "denied", scores > fair.rule_.threshold)
    assert fair.rule_.positive_label == "denied"


FITTED_WORDS = FrozenEstimator(
    LogisticRegression().fit(X[:400], np.where(LABEL, "granted", "denied")[:400])
)


@pytest.mark.parametrize("by_group", [False, True])
def test_it_works_in_pipelines_and_searches(by_group: bool) -> None:
    import sklearn

    forest = RandomForestClassifier(5, random_state=0)
    fair = FairThresholdClassifier(forest, budget=0.3, cv=2, by_group=by_group)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), fair)
        search = GridSearchCV(pipeline, {"fairthresholdclassifier__budget": [0.4, 0.6]}, cv=2)
        search.fit(X, LABEL, sensitive_features=GROUP)
        decided = search.best_estimator_.predict(X, sensitive_features=GROUP)
        scored = search.score(X, LABEL, sensitive_features=GROUP)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert scored == (decided == LABEL).mean()
    assert clone(fair).budget == 0.3


def test_what_was_inferred_is_noted() -> None:
    fair = FairThresholdClassifier(FITTED, budget=0.3).fit(X, LABEL, sensitive_features=GROUP)
    assert "'m' is taken as privileged" in fair.notes_[0]


@pytest.mark.parametrize(
    ("settings", "groups", "error", "message"),
    [
        ({"metric": "sdp"}, GROUP, UsageError, "did you mean 'spd'"),
        ({"budget": 2}, GROUP, UsageError, "budget must be in"),
        ({"favorable": 2}, GROUP, UsageError, "favorable label 2 is not among"),
        ({}, np.where(X[:, 0] > 0, None, GROUP), UsageError, "no group for .* remove these rows"),
        ({}, np.full(800, "f"), TableError, "at least two groups"),
        ({"privileged": "x"}, GROUP, TableError, "'x'"),
        ({"metric": "ppvd", "by_group": True}, GROUP, UsageError, "Thresholds per group support"),
    ],
)
def test_what_does_not_fit_is_refused(settings: Any, groups: Any, error: Any, message: str) -> None:
    fair = FairThresholdClassifier(FITTED, **settings)
    with pytest.raises(error, match=message):
        fair.fit(X, LABEL, sensitive_features=groups)


def test_groups_are_required() -> None:
    fair = FairThresholdClassifier(FITTED, by_group=True, budget=0.3)
    with pytest.raises(TypeError, match="sensitive_features"):
        fair.fit(X, LABEL)  # type: ignore[call-arg]
    fair.fit(X, LABEL, sensitive_features=GROUP)
    with pytest.raises(UsageError, match="as sensitive_features"):
        fair.predict(X)
    with pytest.raises(TableError, match="no threshold for group 'x'"):
        fair.predict(X[:2], sensitive_features=["f", "x"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"budget": 0.01}, "decides nearly all rows alike; raise the budget, or give by_group"),
        ({"budget": 0.1}, "Balanced accuracy is 0.530 with this threshold; raise the budget, or"),
    ],
)
def test_a_threshold_of_little_use_is_said(settings: dict[str, Any], message: str) -> None:
    fair = FairThresholdClassifier(FITTED, privileged="m", **settings)
    with pytest.warns(UserWarning, match=message):
        fair.fit(X, LABEL, sensitive_features=GROUP)


def test_a_budget_that_no_threshold_meets_is_said() -> None:
    """The score shows little but the group, and thresholds per group do not support the metric."""
    rows = 2.0 * (GROUP == "m")[:, None] + 0.01 * X[:, :1]
    model = FrozenEstimator(LogisticRegression().fit(rows, LABEL))
    fair = FairThresholdClassifier(model, metric="ppvd", budget=0.01, privileged="m")
    with pytest.warns(
        UserWarning, match=r"budget: ppvd is -0\.\d+ at the best; raise the budget\.$"
    ):
        fair.fit(rows, LABEL, sensitive_features=GROUP)


def test_networks_of_skorch() -> None:
    skorch = pytest.importorskip("skorch", reason="skorch is not installed")
    from torch import nn

    network = skorch.NeuralNetClassifier(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(1)),
        max_epochs=3,
        verbose=0,
    )
    fair = FairThresholdClassifier(network, budget=0.3, cv=2, privileged="m")
    fair.fit(X.astype(np.float32), LABEL, sensitive_features=GROUP)
    scores = fair.estimator_.predict_proba(X.astype(np.float32))[:, 1]
    decided = fair.predict(X.astype(np.float32))
    np.testing.assert_array_equal(decided, scores > fair.rule_.threshold)

"""Models of labels and groups predict rows that they were not fitted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fairfix.errors import TableError
from fairfix.methods._cross_fitting import (
    boosted_trees,
    classifier_inputs,
    informative_columns,
    out_of_fold,
    repaired_score,
    score_logit,
)
from fairfix.models.inputs import Inputs
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, random_state, scored_rows


def test_a_row_is_predicted_by_a_model_that_has_not_seen_its_fold() -> None:
    rng = np.random.default_rng(0)
    inputs, folds = rng.normal(size=(90, 2)), np.arange(90) % 3
    target = (inputs[:, 0] + rng.normal(size=90) > 0).astype(np.int64)
    weights, rows = rng.uniform(0.5, 2, 90), inputs[:, 1] > -1
    predicted = out_of_fold(LogisticRegression, inputs, target, rows, folds, weights)
    for row in (0, 40, 89):
        fitted = rows & (folds != folds[row])
        model = LogisticRegression().fit(inputs[fitted], target[fitted], weights[fitted])
        assert predicted[row] == pytest.approx(model.predict_proba(inputs[[row]])[0, 1])


def test_a_fold_without_which_a_value_is_missing_is_refused() -> None:
    target, folds = np.array([1, 1, 0, 0, 0, 0]), np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(TableError, match="too few rows of a group or a label"):
        out_of_fold(LogisticRegression, np.eye(6), target, np.ones(6, bool), folds)


def test_inputs_are_the_columns_that_vary_and_the_clipped_logit() -> None:
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    features[:, 1] = 3
    features[:7, 2], features[7:, 2] = 1, 0
    features[:8, 3], features[8:, 3] = 1, 0
    problem = replace(scored_rows(20), inputs=Inputs.of(features))
    problem.scores[:3] = torch.tensor([0.0, 1.0, 0.25])
    columns = informative_columns(problem)
    assert columns.tolist() == [0, 3]
    inputs = classifier_inputs(problem, columns)
    assert inputs[:, :2] == pytest.approx(features[:, [0, 3]].numpy())
    bound = np.log(1e-6 / (1 - 1e-6))
    assert inputs[:3, 2] == pytest.approx([bound, -bound, -np.log(3)])


@pytest.mark.parametrize("features", [None, torch.rand(20, 1, 4, 4)], ids=["none", "images"])
def test_without_columns_the_score_is_the_only_input(features: torch.Tensor | None) -> None:
    given = None if features is None else Inputs.of(features)
    problem = replace(scored_rows(20), inputs=given)
    inputs = classifier_inputs(problem, informative_columns(problem))
    assert inputs == pytest.approx(score_logit(problem.scores.double().numpy())[:, None])


def test_the_repaired_score_finds_what_the_network_missed() -> None:
    """The label follows one feature and the score nothing; row weights count."""
    features = zoo.features(300)
    noise = torch.randn(300, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 3] + 0.3 * noise > 0).long()
    problem = replace(biased_problem(zoo.scorer("modules"), features), labels=labels)
    before = random_state()
    repaired = repaired_score(problem, seed=1)
    assert random_state() == before
    agree = (repaired > 0.5) == labels.numpy().astype(bool)
    assert agree.mean() > 0.8
    assert np.array_equal(repaired, repaired_score(problem, seed=1))
    assert not np.array_equal(repaired, repaired_score(problem, seed=2))
    even = replace(problem, weights=torch.full((300,), 3.0))
    assert repaired_score(even, seed=1) == pytest.approx(repaired)
    heavy = replace(problem, weights=1.0 + 4 * labels)
    assert repaired_score(heavy, seed=1).mean() > repaired.mean() + 0.03


def test_a_label_that_is_not_in_the_features_is_not_memorized() -> None:
    features = zoo.features(300)
    labels = torch.arange(300) % 2
    problem = replace(biased_problem(zoo.scorer("modules"), features), labels=labels)
    inputs = classifier_inputs(problem, informative_columns(problem))
    memory = boosted_trees().fit(inputs, labels.numpy()).predict(inputs) == labels.numpy()
    fresh = (repaired_score(problem, seed=0) > 0.5) == labels.numpy().astype(bool)
    assert memory.mean() > 0.8
    assert fresh.mean() == pytest.approx(0.5, abs=0.1)

"""Trees are evaluated as scikit-learn does; arrays that are not trees are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from sklearn.ensemble import HistGradientBoostingClassifier

from fairfix.errors import UsageError
from fairfix.models.score_model import Logistic, TreeEnsemble
from tests.helpers.score_models import boosted, tree_arrays


def test_trees_equal_those_of_scikit_learn() -> None:
    model = boosted(5)
    inputs = default_rng(9).normal(size=(2_000, 5))
    inputs[default_rng(8).random(inputs.shape) < 0.1] = np.nan
    splits = np.concatenate([each[0].nodes["num_threshold"] for each in model._predictors])
    inputs[: len(splits), 0] = splits  # rows at a threshold
    found = TreeEnsemble.from_sklearn(model).probability(torch.from_numpy(inputs)).numpy()
    np.testing.assert_allclose(found, model.predict_proba(inputs)[:, 1], rtol=0, atol=1e-12)


def test_a_split_off_for_missing_values_alone_is_kept() -> None:
    inputs = np.repeat([[1.0], [np.nan]], 50, axis=0)
    model = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5, early_stopping=False)
    model.fit(inputs, np.isnan(inputs[:, 0]))
    found = TreeEnsemble.from_sklearn(model).probability(torch.from_numpy(inputs))
    np.testing.assert_allclose(found, model.predict_proba(inputs)[:, 1], rtol=0, atol=1e-12)


def test_trees_by_hand() -> None:
    trees = TreeEnsemble(2, tree_arrays())
    inputs = torch.tensor([[9.0, 0.5], [9.0, 0.6], [9.0, torch.nan]], dtype=torch.float64)
    assert trees(inputs).tolist() == [-0.625, 2.375, -0.625]


def test_a_row_alone_has_the_bits_it_has_among_others() -> None:
    trees, inputs = TreeEnsemble.from_sklearn(boosted(5)), torch.randn(50, 5).double()
    assert torch.equal(torch.cat([trees(row[None]) for row in inputs]), trees(inputs))


def chain(depth: int) -> dict[str, Any]:
    """One tree that goes right ``depth`` times."""
    nodes = 2 * depth + 1
    own = np.arange(nodes)
    inner = (own % 2 == 0) & (own < nodes - 1)
    zeros = np.zeros(nodes)
    return {
        "feature": np.zeros(nodes, np.int32),
        "threshold": zeros,
        "left": np.where(inner, own + 1, own),
        "right": np.where(inner, own + 2, own),
        "value": zeros,
        "is_leaf": ~inner,
        "missing_left": inner,
        "tree_start": np.array([0]),
        "baseline": np.array(0.0),
    }


def test_the_deepest_tree_that_is_evaluated_has_64_levels() -> None:
    assert TreeEnsemble(1, chain(64)).depth == 64
    with pytest.raises(UsageError, match="deeper than 64"):
        TreeEnsemble(1, chain(65))


def test_at_most_1000_trees_are_evaluated() -> None:
    leaf = chain(0)
    leaves = {name: np.repeat(array, 1001) for name, array in leaf.items() if name != "baseline"}
    leaves |= {"tree_start": np.arange(1001), "baseline": leaf["baseline"]}
    with pytest.raises(UsageError, match="more than 1000 trees"):
        TreeEnsemble(1, leaves)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("feature", np.array([2, 0, 0, 0]), "outside 0 to 1"),
        ("feature", np.array([-1, 0, 0, 0]), "outside"),
        ("feature", np.array([0.0, 0, 0, 0]), "float64 values"),
        ("left", np.array([0, 1, 2, 3]), "come after it"),
        ("left", np.array([3, 1, 2, 3]), "same tree"),
        ("left", np.array([9, 1, 2, 3]), "outside"),
        ("right", np.array([1, 1, 2, 3]), "exactly one node"),
        ("value", np.array([0, np.nan, 0, 0]), "NaN"),
        ("threshold", np.array([np.inf, 0, 0, 0]), "infinite"),
        ("threshold", np.zeros(3), "shape"),
        ("is_leaf", np.array([0, 1, 1, 1]), "int64 values"),
        ("is_leaf", np.array([False, True, True, False]), "come after it"),
        ("tree_start", np.array([0, 2]), "same tree"),
        ("tree_start", np.array([1, 3]), "begin with 0"),
        ("tree_start", np.array([0, 3, 3]), "increase"),
        ("tree_start", np.array([0, 9]), "begin with 0"),
        ("tree_start", np.array([], np.int64), "begin with 0"),
        ("baseline", np.array([0.0]), "shape"),
        ("other", np.array(0.0), "incomplete"),
    ],
)
def test_arrays_that_are_not_trees_are_refused(name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TreeEnsemble(2, {**tree_arrays(), name: value})


def test_a_missing_array_is_refused() -> None:
    arrays = tree_arrays()
    del arrays["value"]
    with pytest.raises(UsageError, match="incomplete"):
        TreeEnsemble(2, arrays)


@pytest.mark.parametrize(("coefficients", "intercept"), [([], 0.0), ([np.nan], 0), ([1.0], [0.0])])
def test_a_logistic_model_without_finite_coefficients_is_refused(
    coefficients: Any, intercept: Any
) -> None:
    with pytest.raises(UsageError):
        Logistic(coefficients, intercept)

"""blind and repair against independent fits and brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import CheckpointError, TableError, UsageError
from fairfix.methods.blind import blind
from fairfix.methods.repair import repair
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.score_model import BlindScore
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.per_group import best_group_thresholds
from tests.helpers import zoo

SEED = 3


@cache
def problem() -> Problem:
    """400 rows; feature 0 is the group, feature 1 follows it, the label follows both."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 2, 400)
    features = rng.normal(size=(400, zoo.WIDTH)).astype(np.float32)
    features[:, 0] = groups
    features[:, 1] += groups
    labels = (features[:, 1] + features[:, 2] + rng.normal(size=400) > 0.5).astype(np.int64)
    scorer = zoo.scorer("modules")
    inputs = torch.from_numpy(features)
    return Problem(
        scorer.score(inputs),
        torch.from_numpy(labels),
        torch.from_numpy(groups),
        ("a", "b"),
        scorer,
        Inputs.of(inputs),
    )


def trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.12,
        max_iter=35,
        max_leaf_nodes=12,
        min_samples_leaf=25,
        l2_regularization=1.0,
        early_stopping=False,
    )


def predictions(x: Any, target: Any, fit_on: Any) -> Any:
    """Predictions by models that were fitted without the row's fold."""
    folds = stratified_folds(problem(), 5, SEED)
    found = np.empty(len(x))
    for fold in range(5):
        rows = fit_on & (folds != fold)
        found[folds == fold] = (
            trees().fit(x[rows], target[rows]).predict_proba(x[folds == fold])[:, 1]
        )
    return found


def parts(metric: str, eta_kind: str) -> tuple[Any, Any]:
    """Utility and unfairness of a positive decision, from the formulas."""
    given = problem()
    assert given.features is not None
    y, a = given.labels.numpy(), given.groups.numpy()
    z = torch.logit(given.scores.double(), eps=1e-6).numpy()
    x = np.column_stack([given.features.numpy()[:, 1:].astype(float), z])  # without the group
    everyone = np.ones(len(y), bool)
    counted = {"spd": everyone, "eod": y == 1, "fprd": y == 0}[metric]
    eta, gamma = predictions(x, y, everyone), predictions(x, a, counted)
    if eta_kind == "mixed":
        scaled = np.column_stack([z / 3, (z / 3) ** 2])
        fitted = LogisticRegression(C=100.0, max_iter=1000).fit(scaled, y)
        eta = (eta + fitted.predict_proba(scaled)[:, 1]) / 2
    pi, p0, p1 = y.mean(), (counted & (a == 0)).mean(), (counted & (a == 1)).mean()
    w = gamma / p1 - (1 - gamma) / p0
    w = {"spd": w, "eod": eta * w, "fprd": (1 - eta) * w}[metric]
    return eta / (2 * pi) - (1 - eta) / (2 * (1 - pi)), w


@pytest.mark.parametrize("eta", ["own", "mixed"])
@pytest.mark.parametrize("metric", ["spd", "eod", "fprd"])
def test_blind_finds_the_best_multiplier_and_threshold(metric: str, eta: Any) -> None:
    """No pair on the grid of multipliers does better on predictions for unseen rows."""
    given, objective = problem(), Objective(METRICS[metric], margin=0.0)
    result = blind(given, objective, seed=SEED, eta=eta)
    utility, w = parts(metric, eta)
    y, a = given.labels.numpy(), given.groups.numpy()
    counted = {"spd": y >= 0, "eod": y == 1, "fprd": y == 0}[metric]
    best = -1.0
    for multiplier in np.linspace(-1, 1, 61) * 2.5 * utility.std() / w.std():
        base = utility - multiplier * w
        decided = base > np.sort(base)[:-1, None]  # one row for each threshold
        first, second = (decided[:, counted & (a == g)].mean(1) for g in (0, 1))
        balanced = (decided[:, y == 1].mean(1) + 1 - decided[:, y == 0].mean(1)) / 2
        best = max(best, balanced[np.abs(first - second) < 0.05].max())
    assert result.trajectory[1].performance == pytest.approx(best, abs=1e-9)
    model = result.score_model
    assert isinstance(model, BlindScore)
    assert result.validation_scores is not None
    expected = 1 / (1 + np.exp(-(utility - model.multiplier * w)))
    assert result.validation_scores.numpy() == pytest.approx(expected, abs=1e-12)


def test_blind_does_not_read_the_protected_attribute() -> None:
    """Another value in its column changes nothing, and the refitted trees score all rows."""
    given = problem()
    assert given.features is not None
    assert given.protected_inputs == (0,)
    result = blind(given, Objective(), seed=SEED)
    assert result.score_model is not None
    assert 0 not in result.score_model.columns
    turned = given.features.clone()
    turned[:, 0] = 1 - turned[:, 0]
    before, after = (
        result.score_model.apply(rows, given.scores).score for rows in (given.features, turned)
    )
    assert torch.equal(before, after)
    assert result.validation_scores is not None
    near = np.corrcoef(before.numpy(), result.validation_scores.numpy())[0, 1]
    assert 0.8 < near < 1


def test_repair_has_the_best_thresholds_of_predictions_for_unseen_rows() -> None:
    given, objective = problem(), Objective(margin=0.0)
    result = repair(given, objective, seed=SEED, eta="own")
    assert given.features is not None
    z = torch.logit(given.scores.double(), eps=1e-6).numpy()
    x = np.column_stack([given.features.numpy().astype(float), z])
    eta = predictions(x, given.labels.numpy(), np.ones(len(given), bool))
    assert result.validation_scores is not None
    assert result.validation_scores.numpy() == pytest.approx(eta, abs=1e-12)
    best = best_group_thresholds(replace(given, scores=torch.from_numpy(eta)), objective)
    assert result.policy.thresholds(2) == pytest.approx(best.thresholds)
    assert result.score_model is not None
    again = trees().fit(x, given.labels.numpy()).predict_proba(x)[:, 1]
    modeled = result.score_model.apply(given.features, given.scores)
    assert modeled.score.numpy() == pytest.approx(again, abs=1e-12)


def test_round_off_of_the_score_changes_no_tree() -> None:
    """Thresholds of scikit-learn can equal a value; here they lie between two."""
    given = problem()
    for method in (blind, repair):
        model = method(given, Objective(), seed=SEED, eta="own").score_model
        assert model is not None
        assert given.features is not None
        before = model.apply(given.features, given.scores).score
        for side in (0.0, 1.0):
            moved = torch.nextafter(given.scores, torch.tensor(side))
            after = model.apply(given.features, moved).score
            assert torch.equal(before, after)


@pytest.mark.parametrize("method", [blind, repair])
def test_no_tree_is_fitted_to_rows_without_weight(method: Any) -> None:
    weights = (torch.arange(400) % 3 > 0).double()
    given = replace(problem(), weights=weights)
    assert given.features is not None
    other = torch.where(weights[:, None] > 0, given.features, given.features.flip(0))
    other[:, 0] = given.features[:, 0]  # the group
    models = [
        method(replace(given, inputs=Inputs.of(rows)), Objective(), seed=SEED).score_model
        for rows in (given.features, other)
    ]
    first, second = (model.eta.trees.arrays() for model in models)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_what_a_score_model_cannot_serve_is_refused() -> None:
    given = problem()
    with pytest.raises(UsageError, match="blind supports spd, eod, fprd, not di"):
        blind(given, Objective(METRICS["di"]))
    one_label = replace(given, labels=given.labels * given.groups)
    with pytest.raises(TableError, match="favorable label in both groups, but group 'a' has none"):
        blind(one_label, Objective(METRICS["eod"]))
    scorer = Scorer(nn.Sequential(nn.Conv2d(1, 1, 2), nn.Flatten()), Output.LOGIT)
    images = replace(given, scorer=scorer, inputs=Inputs.of(torch.rand(400, 1, 2, 2)))
    for method in (blind, repair):
        with pytest.raises(CheckpointError, match="no last linear layer"):
            method(images, Objective())


def test_a_network_can_imitate_the_trees() -> None:
    """Its scores rank the rows much more as the trees do than the unmodified network's."""
    given, objective = problem(), Objective(budget=0.1)
    trees_result = blind(given, objective, seed=SEED)
    result = blind(given, objective, seed=SEED, distill=True)
    assert result.score_model is None
    assert result.state is not None
    assert "imitates the trees" in result.notes[0]
    assert trees_result.validation_scores is not None
    target = trees_result.validation_scores.numpy()
    before, after = (
        stats.spearmanr(target, scores.numpy()).statistic
        for scores in (given.scores, given.score(result.state))
    )
    assert after > before + 0.3
    steps = result.trajectory
    assert steps[result.chosen].utility > steps[0].utility

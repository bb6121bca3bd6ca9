"""blind and repair against independent fits and brute force."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import CheckpointError, TableError, UsageError
from fairfix.methods.blind import blind
from fairfix.methods.repair import repair
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.score_model import BlindScore, RepairedScore
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


def linear(penalty: float) -> Any:
    return make_pipeline(
        StandardScaler(),
        FunctionTransformer(partial(np.clip, a_min=-5, a_max=5)),
        LogisticRegression(C=penalty, max_iter=300),
    )


def on_score() -> Any:
    powers = FunctionTransformer(lambda x: np.column_stack([x[:, -1] / 3, (x[:, -1] / 3) ** 2]))
    return make_pipeline(powers, LogisticRegression(C=100.0, max_iter=1000))


def unseen(make: Any, x: Any, target: Any, fit_on: Any) -> Any:
    """Predictions by models that were fitted without the row's fold."""
    folds = stratified_folds(problem(), 5, SEED)
    found = np.empty(len(x))
    for fold in range(5):
        rows = fit_on & (folds != fold)
        found[folds == fold] = (
            make().fit(x[rows], target[rows]).predict_proba(x[folds == fold])[:, 1]
        )
    return found


def mean_log(predicted: Any, target: Any, rows: Any) -> float:
    """Mean log likelihood of the target on some rows."""
    return float(np.log(np.where(target == 1, predicted, 1 - predicted))[rows].mean())


def predictions(x: Any, target: Any, fit_on: Any, with_score: bool) -> Any:
    """The most likely mixture of trees and the best linear model, and of the score for labels."""
    members = [unseen(trees, x, target, fit_on)]
    candidates = [unseen(partial(linear, c), x, target, fit_on) for c in (0.01, 0.1, 1.0)]
    members.append(max(candidates, key=lambda each: mean_log(each, target, fit_on)))
    if with_score:
        members.append(unseen(on_score, x, target, fit_on))
    shares = np.full(len(members), 1 / len(members))
    likely = np.where(target == 1, members, 1 - np.array(members))[:, fit_on]
    for _ in range(5000):  # expectation maximization
        joint = shares[:, None] * likely
        shares = (joint / joint.sum(0)).mean(1)
    return shares @ np.array(members)


@cache
def parts(metric: str) -> tuple[Any, Any, Any]:
    """Utility and unfairness of a positive decision, and P(label), from the formulas."""
    given = problem()
    assert given.features is not None
    y, a = given.labels.numpy(), given.groups.numpy()
    z = torch.logit(given.scores.double(), eps=1e-6).numpy()
    x = np.column_stack([given.features.numpy()[:, 1:].astype(float), z])  # without the group
    everyone = np.ones(len(y), bool)
    counted = {"spd": everyone, "eod": y == 1, "fprd": y == 0}[metric]
    eta, gamma = predictions(x, y, everyone, True), predictions(x, a, counted, False)
    pi, p0, p1 = y.mean(), (counted & (a == 0)).mean(), (counted & (a == 1)).mean()
    w = gamma / p1 - (1 - gamma) / p0
    w = {"spd": w, "eod": eta * w, "fprd": (1 - eta) * w}[metric]
    aware = predictions(
        np.column_stack([given.features.numpy().astype(float), z]), y, everyone, True
    )
    return eta / (2 * pi) - (1 - eta) / (2 * (1 - pi)), w, aware


@pytest.mark.parametrize("metric", ["spd", "eod", "fprd"])
def test_blind_finds_the_best_multiplier_and_threshold(metric: str) -> None:
    """No pair on the grid of multipliers does better on predictions for unseen rows.

    Rates among rows of one label are counted by probabilities of the label.
    """
    given, objective = problem(), Objective(METRICS[metric], margin=0.0)
    result = blind(given, objective, seed=SEED)
    utility, w, p = parts(metric)
    y, a = given.labels.numpy(), given.groups.numpy()
    favorable = y if metric == "spd" else p
    counted = {"spd": np.ones(len(y)), "eod": favorable, "fprd": 1 - favorable}[metric]
    best, performance = -1.0, 0.0
    for multiplier in np.linspace(-1, 1, 61) * 2.5 * utility.std() / w.std():
        base = utility - multiplier * w
        decided = base > np.sort(base)[:-1, None]  # one row for each threshold
        rates = [np.average(decided, axis=1, weights=counted * (a == g)) for g in (0, 1)]
        tpr = np.average(decided, axis=1, weights=favorable)
        balanced = (tpr + 1 - np.average(decided, axis=1, weights=1 - favorable)) / 2
        balanced[np.abs(rates[0] - rates[1]) >= 0.05] = 0
        if balanced.max() > best:
            best, chosen = balanced.max(), decided[balanced.argmax()]
            performance = (chosen[y == 1].mean() + 1 - chosen[y == 0].mean()) / 2
    assert result.trajectory[1].performance == pytest.approx(performance, abs=0.005)
    model = result.score_model
    assert isinstance(model, BlindScore)
    assert result.validation_scores is not None
    expected = 1 / (1 + np.exp(-(utility - model.multiplier * w)))
    assert result.validation_scores.numpy() == pytest.approx(expected, abs=1e-3)


def test_blind_does_not_read_the_protected_attribute() -> None:
    """Another value in its column changes nothing, and the refitted models score all rows."""
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
    result = repair(given, objective, seed=SEED)
    assert given.features is not None
    z = torch.logit(given.scores.double(), eps=1e-6).numpy()
    x = np.column_stack([given.features.numpy().astype(float), z])
    y, everyone = given.labels.numpy(), np.ones(len(given), bool)
    assert result.validation_scores is not None
    scores = result.validation_scores
    assert scores.numpy() == pytest.approx(predictions(x, y, everyone, True), abs=1e-3)
    best = best_group_thresholds(replace(given, scores=scores), objective)
    assert result.policy.thresholds(2) == pytest.approx(best.thresholds)
    assert isinstance(result.score_model, RepairedScore)
    eta = result.score_model.eta
    members = [make().fit(x, y).predict_proba(x)[:, 1] for make in (trees, on_score)]
    by_penalty = [linear(c).fit(x, y).predict_proba(x)[:, 1] for c in (0.01, 0.1, 1.0)]
    modeled = result.score_model.apply(given.features, given.scores).score.numpy()
    again = [eta.weights.numpy() @ [members[0], each, members[1]] for each in by_penalty]
    assert any(modeled == pytest.approx(each, abs=1e-9) for each in again)


def test_round_off_of_the_score_changes_no_tree() -> None:
    """Thresholds of scikit-learn can equal a value; here they lie between two."""
    given = problem()
    for method in (blind, repair):
        model = method(given, Objective(), seed=SEED).score_model
        assert isinstance(model, BlindScore | RepairedScore)
        assert given.features is not None
        before = model.eta.trees(model.inputs(given.features, given.scores))
        for side in (0.0, 1.0):
            moved = torch.nextafter(given.scores, torch.tensor(side))
            assert torch.equal(before, model.eta.trees(model.inputs(given.features, moved)))


@pytest.mark.parametrize("method", [blind, repair])
def test_no_model_is_fitted_to_rows_without_weight(method: Any) -> None:
    weights = (torch.arange(400) % 3 > 0).double()
    given = replace(problem(), weights=weights)
    assert given.features is not None
    other = torch.where(weights[:, None] > 0, given.features, given.features.flip(0))
    other[:, 0] = given.features[:, 0]  # the group
    models = [
        method(replace(given, inputs=Inputs.of(rows)), Objective(), seed=SEED).score_model
        for rows in (given.features, other)
    ]
    first, second = (model.eta.arrays() for model in models)
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


def test_a_network_can_imitate_the_models() -> None:
    """Its scores rank the rows much more as they do than the unmodified network's."""
    given, objective = problem(), Objective(budget=0.1)
    modeled = blind(given, objective, seed=SEED)
    result = blind(given, objective, seed=SEED, distill=True)
    assert result.score_model is None
    assert result.state is not None
    assert "imitates other models" in result.notes[0]
    assert modeled.validation_scores is not None
    target = modeled.validation_scores.numpy()
    before, after = (
        stats.spearmanr(target, scores.numpy()).statistic
        for scores in (given.scores, given.score(result.state))
    )
    assert after > before + 0.3
    steps = result.trajectory
    assert steps[result.chosen].utility > steps[0].utility

"""Recalibration keeps every decision and makes the scores fit the labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from fairfix.data.problem import Problem
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.recalibration import (
    Recalibration,
    difference,
    fit_platt,
    fold_affine,
    moved_policy,
)
from tests.helpers import zoo

FEATURES = zoo.features(300)
OUTPUTS = ["modules", "one probability", "two logits", "two probabilities"]
POLICY = Policy.shared(0.37)


def problem(scorer: Scorer, weights: torch.Tensor | None = None) -> Problem:
    """Rows whose labels follow a steeper and shifted function of the logit."""
    scores = scorer.score(FEATURES)
    draws = torch.from_numpy(np.random.default_rng(0).random(len(scores)))
    logits = scores.double().logit(1e-9)
    steeper = 4 * (logits - logits.mean()) / logits.std() + 1
    labels = (draws < steeper.sigmoid()).long()
    groups = torch.arange(len(scores)) % 2
    return Problem(scores, labels, groups, ("a", "b"), scorer, Inputs.of(FEATURES), weights)


def cross_entropy(scores: torch.Tensor, rows: Problem) -> float:
    loss = nn.functional.binary_cross_entropy(scores.double(), rows.labels.double())
    return float(loss)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("complement", [False, True])
def test_scores_change_and_decisions_do_not(name: str, complement: bool) -> None:
    scorer = zoo.scorer(name)
    scorer.complement = complement
    rows, before = problem(scorer), scorer.weights()
    slope, intercept = fit_platt(scorer, rows) or (0.0, 0.0)
    changed = fold_affine(scorer, slope, intercept)
    assert changed is not None
    scores = changed.score(FEATURES)
    expected = (slope * rows.scores.double().logit(1e-9) + intercept).sigmoid()
    assert scores.double().numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert cross_entropy(scores, rows) < cross_entropy(rows.scores, rows)
    moved = moved_policy(POLICY, slope, intercept)
    assert torch.equal(moved.decide(scores, rows.groups), POLICY.decide(rows.scores, rows.groups))
    pair = (scorer, POLICY), (changed, moved)
    assert difference([rows], *pair, Recalibration(slope, intercept)) == ""
    assert all(torch.equal(value, before[key]) for key, value in scorer.weights().items())


def test_the_fit_is_that_of_scikit_learn_with_row_weights() -> None:
    scorer = zoo.scorer("modules")
    rows = problem(scorer)
    weights = torch.from_numpy(np.random.default_rng(1).integers(1, 4, len(rows)).astype(float))
    found = fit_platt(scorer, replace(rows, weights=weights))
    z = rows.scores.double().logit(1e-9).numpy()[:, None]
    oracle = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000)
    oracle.fit(z, rows.labels.numpy(), sample_weight=weights.numpy())
    assert found == pytest.approx((oracle.coef_[0, 0], oracle.intercept_[0]), rel=1e-3)


def test_scores_in_reverse_order_are_left_alone() -> None:
    scorer = zoo.scorer("modules")
    rows = problem(scorer)
    assert fit_platt(scorer, rows) is not None
    assert fit_platt(scorer, replace(rows, labels=1 - rows.labels)) is None


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Linear(FEATURES.shape[1], 1, bias=False), nn.Flatten(0)),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(FEATURES.shape[1], 1))),
    ],
    ids=["no bias", "weight norm"],
)
def test_a_network_without_a_visible_last_layer_is_not_changed(network: nn.Module) -> None:
    assert fold_affine(Scorer(network.eval(), Output.LOGIT), 2.0, 0.1) is None


def test_a_layer_after_the_last_linear_one_is_noticed() -> None:
    class Squashed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(FEATURES.shape[1], 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(x).tanh().squeeze(1)

    scorer = Scorer(Squashed().eval(), Output.LOGIT)
    rows, changed = problem(scorer), fold_affine(scorer, 3.0, 0.5)
    assert changed is not None
    moved = moved_policy(POLICY, 3.0, 0.5)
    reason = difference([rows], (scorer, POLICY), (changed, moved), Recalibration(3.0, 0.5))
    assert reason == "the output of the network does not follow from its last linear layer alone"


def test_a_decision_that_round_off_would_change_is_noticed() -> None:
    scorer = zoo.scorer("modules")
    rows = problem(scorer)
    two = rows.scores.sort().values[149:151].double()
    close = Policy.shared(float(two[0]))  # equal to a score, which is on the negative side
    changed = fold_affine(scorer, 3.0, 0.5)
    assert changed is not None
    other = Policy.shared(float(changed.score(FEATURES).sort().values[149].double()) - 1e-6)
    reason = difference([rows], (scorer, close), (changed, other), Recalibration(3.0, 0.5))
    assert reason == "round-off would change 1 of 300 decisions"


def test_thresholds_beyond_all_scores_stay() -> None:
    steps = Policy((((0.5, 1.0),), ((1.0, 0.3), (-1.0, 0.1))))
    assert moved_policy(steps, 2.0, 0.0) == steps

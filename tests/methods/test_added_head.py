"""A head that finetune adds to the logit of the score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.errors import CheckpointError, TableError, UsageError
from fairfix.methods._added_head import AddedHead
from fairfix.methods.finetune import finetune
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.score_model import ResidualHead
from fairfix.models.scorer import Output, Scorer
from tests.methods.test_finetune import proxy_problem

QUICK = {"head": True, "steps": 80, "learning_rate": 0.005}
OBJECTIVE = Objective(budget=0.1)


def scaled_problem() -> Problem:
    """Inputs with another center and scale; the network undoes them."""
    problem = proxy_problem()
    assert problem.features is not None
    assert problem.scorer is not None
    weight, bias = problem.scorer.network.parameters()
    features = 50 + 10 * problem.features
    with torch.no_grad():
        bias.sub_(5 * weight.sum())
        weight.div_(10)
    return replace(problem, inputs=Inputs.of(features), scores=problem.scorer.score(features))


def test_a_head_is_zero_at_first() -> None:
    problem = proxy_problem()
    added = AddedHead(problem, seed=0)
    assert added.problem.scorer is not None
    model = added.score_model(added.problem.scorer.weights())
    torch.testing.assert_close(added.scores(model).float(), problem.scores)


def test_the_head_of_the_rule_scores_as_the_one_that_was_trained() -> None:
    """Without standardized inputs, and in float64."""
    added = AddedHead(scaled_problem(), seed=0)
    scorer, inputs = added.problem.network()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    before = scorer.score(inputs)
    assert (before - added.problem.scores).abs().max() > 0.1
    scores = added.scores(added.score_model(scorer.weights()))
    assert scores.numpy() == pytest.approx(before.numpy(), abs=1e-4)


def test_a_head_removes_the_effect_of_a_proxy_and_leaves_the_weights() -> None:
    problem = scaled_problem()
    result = finetune(problem, OBJECTIVE, **QUICK)
    retuned, chosen = result.trajectory[0], result.trajectory[result.chosen]
    assert chosen.utility > retuned.utility + 0.1
    assert result.state is None
    assert isinstance(result.score_model, ResidualHead)
    assert problem.features is not None
    scores = result.score_model.apply(problem.features, problem.scores).score.numpy()
    proxy = problem.features[:, 0].numpy()
    before, after = (abs(np.corrcoef(proxy, s)[0, 1]) for s in (problem.scores.numpy(), scores))
    assert after < before / 2


def test_a_head_that_is_not_better_is_left_out() -> None:
    result = finetune(proxy_problem(), OBJECTIVE, head=True, steps=0)
    assert (result.chosen, result.state, result.score_model) == (0, None, None)


def test_a_network_that_cannot_be_changed_gets_a_head() -> None:
    problem = proxy_problem()
    assert problem.scorer is not None
    problem.scorer.is_fixed = True
    assert finetune(problem, OBJECTIVE, **QUICK).score_model is not None


def test_what_a_head_cannot_serve_is_refused() -> None:
    problem = proxy_problem()
    with pytest.raises(UsageError, match="remove --layers or --head"):
        finetune(problem, OBJECTIVE, head=True, layers="head")
    with pytest.raises(TableError, match="needs a model, not only scores"):
        finetune(replace(problem, scorer=None, inputs=None), OBJECTIVE, head=True)
    scorer = Scorer(nn.Sequential(nn.Conv2d(1, 1, 2), nn.Flatten()), Output.LOGIT)
    inputs = Inputs.of(torch.rand(len(problem), 1, 2, 2))
    images = replace(problem, scorer=scorer, inputs=inputs)
    with pytest.raises(CheckpointError, match="no last linear layer"):
        finetune(images, OBJECTIVE, head=True)

"""A folded threshold decides at 0.5 as the rule did at its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fairfix.data.problem import Problem
from fairfix.errors import CheckpointError, UsageError
from fairfix.models.scorer import Output, Scorer
from fairfix.thresholds.folding import fold_threshold
from tests.helpers import zoo
from tests.helpers.toys import biased_problem

FEATURES = zoo.features(300)
OUTPUTS = ["modules", "one probability", "two logits", "two probabilities", "conv2d"]


def middle(scores: torch.Tensor, share: float) -> float:
    """Halfway between two neighboring scores, ``share`` of the way up."""
    ordered = scores.unique()
    k = int(share * (len(ordered) - 1))
    return float(ordered[k : k + 2].double().mean().float())


def problem_for(scorer: Scorer) -> Problem:
    return biased_problem(scorer, FEATURES)


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_decisions_are_unchanged_on_other_rows(name: str, complement: bool, share: float) -> None:
    scorer = zoo.scorer(name)
    scorer.complement = complement
    before = scorer.weights()
    problem = problem_for(scorer)
    threshold = middle(problem.scores, share)
    folded = fold_threshold(scorer, threshold, problem)
    other = torch.randn(500, zoo.WIDTH, generator=torch.Generator().manual_seed(5))
    for rows in (FEATURES, other):
        decisions = scorer.score(rows) > threshold
        assert 0 < int(decisions.sum()) < len(rows)
        assert torch.equal(folded.score(rows) > 0.5, decisions)
    assert all(torch.equal(before[k], v) for k, v in scorer.weights().items())
    changed = [k for k, v in folded.weights().items() if not torch.equal(before[k], v)]
    assert changed == [list(before)[-1]]  # the last bias


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 1.0])
def test_a_threshold_that_decides_all_rows_alike_is_refused(threshold: float) -> None:
    scorer = zoo.scorer("modules")
    with pytest.raises(UsageError, match="gives all rows the same decision"):
        fold_threshold(scorer, threshold, problem_for(scorer))


def sequential(*layers: nn.Module) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        for layer in layers:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("network", "output"),
    [
        (sequential(nn.Linear(zoo.WIDTH, 4), nn.ReLU(), nn.Linear(4, 1, bias=False)), Output.LOGIT),
        (sequential(nn.Linear(zoo.WIDTH, 2), nn.ReLU(), nn.Linear(2, 1, bias=False)), Output.LOGIT),
        (sequential(nn.Linear(zoo.WIDTH, 1), nn.ReLU(), nn.Linear(1, 2, bias=False)),
         Output.LOGITS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at", ["a cut", "below all scores"])
def test_a_network_without_a_last_bias_is_refused(
    network: nn.Module, output: Output, at: str
) -> None:
    scorer = Scorer(network, output).eval()
    problem = problem_for(scorer)
    lowest = float(problem.scores.min()) / 2
    threshold = lowest if at == "below all scores" else middle(problem.scores, 0.8)
    with pytest.raises(CheckpointError, match="its last layer has no bias"):
        fold_threshold(scorer, threshold, problem)


class Scaled(nn.Module):
    """Something other than a sigmoid behind the last layer, with its middle elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = sequential(nn.Linear(zoo.WIDTH, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (3 * self.layer(x)).sigmoid() ** 3


def test_a_network_that_ends_otherwise_is_refused() -> None:
    scorer = Scorer(Scaled(), Output.PROB).eval()
    problem = problem_for(scorer)
    with pytest.raises(CheckpointError, match="does not give the same decisions"):
        fold_threshold(scorer, middle(problem.scores, 0.8), problem)


def test_the_problem_keeps_its_own_scorer() -> None:
    scorer = zoo.scorer("modules")
    problem = replace(problem_for(scorer), threshold=0.3)
    folded = fold_threshold(scorer, middle(problem.scores, 0.4), problem)
    assert problem.scorer is scorer
    assert folded is not scorer
    assert torch.equal(scorer.score(FEATURES), problem.scores)

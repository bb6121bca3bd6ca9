"""No method runs more rows at once than the batch size, nor holds many copies of a network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fairfix import methods
from fairfix.data.problem import Problem
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.weight_batches import perturbations
from fairfix.models.weight_batches.perturbations import RandomPerturbations, batch_size
from tests.helpers import zoo
from tests.helpers.toys import biased_problem

BATCH = 16
QUICK: dict[str, dict[str, Any]] = {
    "prune": {"per_step": 3},
    "prune by gradient": {"per_step": 3, "score": "gradient"},
    "gda": {"epochs": 2},
    "perturb": {"trials": 3},
    "layerwise": {"calls": 3},
    "adversarial": {"rounds": 1, "critic_steps": 2, "network_steps": 2},
}


class Counting(nn.Module):
    """A network that notes how many rows it gets, and that no sequence of layers replaces.

    Attributes:
        most: the largest number of rows, of all copies.
    """

    most = 0

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        Counting.most = max(Counting.most, len(x))
        output: Tensor = self.network(x)
        return output * 1


def counted(batch: int) -> Problem:
    scorer = zoo.scorer("modules")
    scorer.network = Counting(scorer.network)
    scorer.batch_size = batch
    problem = biased_problem(scorer, zoo.features(120))
    Counting.most = 0
    return problem


@pytest.mark.parametrize("name", QUICK)
def test_a_method_obeys_the_batch_size(name: str) -> None:
    found = {}
    for batch in (BATCH, 1000):
        problem = counted(batch)
        method = methods.get(name.partition(" ")[0])
        result = method.run(problem, Objective(), seed=0, **QUICK[name])
        assert 0 < Counting.most <= batch
        found[batch] = result.trajectory
    for one, other in zip(*found.values(), strict=True):
        assert one.performance == pytest.approx(other.performance, abs=1e-5)


@pytest.mark.parametrize(("kib", "expected"), [(1, 64), (4096, 32), (2**14, 8), (2**20, 1)])
def test_fewer_draws_of_large_networks_are_scored_at_once(kib: int, expected: int) -> None:
    parameters = [torch.empty(kib * 256, device="meta")]
    assert batch_size(Inputs.of(torch.empty(100, 3)), parameters) == expected


@pytest.mark.parametrize("shapes", [[(3, 5), (5,)], [(7, 11), (1,), (100, 3)], [(64, 2), (19,)]])
def test_factors_drawn_in_pieces_are_those_of_one_draw(
    shapes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perturbations, "_PIECE", 64)
    parameters = {str(i): nn.Parameter(torch.randn(shape)) for i, shape in enumerate(shapes)}
    parameters["transposed"] = nn.Parameter(torch.randn(4, 6).t())
    before = [parameter.detach().clone() for parameter in parameters.values()]
    draws = RandomPerturbations(parameters, sd=0.1, seed=3)
    draws.apply(5)
    sizes = [tensor.numel() for tensor in before]
    generator = torch.Generator().manual_seed(3 * 1_000_003 + 5)
    factors = torch.randn(sum(sizes), generator=generator).mul_(0.1).add_(1)
    assert torch.equal(draws.factors(5), factors)
    for parameter, old, part in zip(parameters.values(), before, factors.split(sizes), strict=True):
        assert torch.equal(parameter, old * part.view(old.shape))


def test_a_large_network_is_drawn_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(120))
    expected = methods.get("perturb").run(problem, Objective(), seed=0, trials=9)
    monkeypatch.setattr("fairfix.methods.perturb.LARGE", 0)

    def fails(self: object, trials: object) -> None:
        raise AssertionError("several draws at once")

    monkeypatch.setattr(RandomPerturbations, "batch", fails)
    found = methods.get("perturb").run(problem, Objective(), seed=0, trials=9)
    assert found.chosen == expected.chosen
    for one, other in zip(found.trajectory, expected.trajectory, strict=True):
        assert one.utility == pytest.approx(other.utility, abs=1e-4)

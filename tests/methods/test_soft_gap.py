"""The differentiable gap, its gradient, and the scores by which units are removed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.methods import prune
from fairfix.methods._soft_gap import soft_gap, soft_gap_gradient
from fairfix.metrics.fairness_metrics import AUC_DIFFERENCE, METRICS
from fairfix.metrics.objective import Objective
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.models.scorer import MAX_BATCH, Output, Scorer
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, count_by_hand, gaps_by_hand, scored_rows

FEATURES = zoo.features(60).double()


def problem_of(name: str, n_groups: int = 2, *, weighted: bool = False) -> Problem:
    """In double precision, so that finite differences are exact enough."""
    scorer = zoo.scorer(name).double()
    return biased_problem(scorer, FEATURES, n_groups, weighted=weighted)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_proxy_is_the_metric_with_scores_for_decisions(n_groups: int, weighted: bool) -> None:
    problem = scored_rows(50, n_groups, weighted=weighted)
    expected = gaps_by_hand(count_by_hand(problem.scores, problem))
    expected["di"] -= 1
    found = {
        key: float(soft_gap(metric, problem.scores, problem.cells))
        for key, metric in METRICS.items()
    }
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("key", METRICS)
@pytest.mark.parametrize("n_groups", [2, 3])
def test_equal_scores_of_all_rows_have_no_gap(key: str, n_groups: int) -> None:
    problem = scored_rows(8 * n_groups, n_groups)  # of equal base rates, for the accuracy
    same = torch.full((len(problem),), 0.3)
    assert float(soft_gap(METRICS[key], same, problem.cells)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("key", ["spd", "eqodds", "di"])
@pytest.mark.parametrize("name", ["BatchNorm before", "conv2d", "two logits"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_against_autograd_on_the_definition(
    key: str, name: str, weighted: bool
) -> None:
    """In one pass, and in batches that the rows do not divide evenly into."""
    problem = problem_of(name, weighted=weighted)
    scorer, features = problem.network()
    parameters = list(scorer.parameters())
    weights = torch.ones(len(problem)) if problem.weights is None else problem.weights

    def mean(scores: Tensor, rows: Tensor) -> Tensor:
        return (scores * weights)[rows].sum() / weights[rows].sum()

    scores = scorer(features.batch())
    a, b = problem.groups == 0, problem.groups == 1
    y = problem.labels == 1
    gap = {
        "spd": mean(scores, a) - mean(scores, b),
        "di": mean(scores, a) / mean(scores, b) - 1,
        "eqodds": torch.maximum(
            (mean(scores, a & y) - mean(scores, b & y)).abs(),
            (mean(scores, a & ~y) - mean(scores, b & ~y)).abs(),
        ),
    }[key]
    expected = torch.autograd.grad(gap, parameters, materialize_grads=True)
    for batch in (MAX_BATCH, 7):
        scorer.batch_size = batch
        found_scores, value, gradients = soft_gap_gradient(
            METRICS[key], scorer, problem, parameters
        )
        assert found_scores.detach().numpy() == pytest.approx(scores.detach().numpy())
        assert float(value) == pytest.approx(gap.item())
        assert not value.requires_grad
        for found, right in zip(gradients, expected, strict=True):
            assert found.numpy() == pytest.approx(right.numpy(), abs=1e-10)


def test_parameters_without_a_part_in_the_output_have_gradient_0() -> None:
    problem = problem_of("modules")
    scorer, _ = problem.network()
    idle = torch.ones(3, dtype=torch.float64, requires_grad=True)
    used = next(scorer.parameters())
    _, _, (first, second) = soft_gap_gradient(METRICS["spd"], scorer, problem, [idle, used])
    assert torch.equal(first, torch.zeros_like(idle))
    assert bool(second.any())


def change_of(
    problem: Problem, metric: str, score: str, *, inputs: bool = False
) -> tuple[Tensor, Scorer, list[prune.PrunableLayer]]:
    scorer, features = problem.network()
    layers = find_prunable_layers(scorer, features.batch(slice(2)), inputs=inputs)
    change, scores, bias = prune._change(score, scorer, problem, Objective(METRICS[metric]), layers)
    assert torch.equal(scores, problem.scores)
    assert float(bias) == pytest.approx(float(soft_gap(METRICS[metric], scores, problem.cells)))
    return change, scorer, layers


@pytest.mark.parametrize("metric", ["spd", "aaod", "di"])
@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_removal_score_is_the_first_order_change_of_the_proxy(name: str, metric: str) -> None:
    """Against central differences: the slots of one unit scaled by 1 - h."""
    problem = problem_of(name, 3)
    change, scorer, layers = change_of(problem, metric, "removal", inputs=True)
    parameters = dict(scorer.named_parameters())
    h = 1e-5

    def scaled(layer: prune.PrunableLayer, unit: int, factor: float) -> float:
        before = {slot.name: parameters[slot.name].detach().clone() for slot in layer.parameters}
        with torch.no_grad():
            for slot in layer.parameters:
                entries = parameters[slot.name].movedim(slot.dim, 0)
                entries[unit * slot.block : (unit + 1) * slot.block] *= factor
        value = soft_gap(METRICS[metric], scorer.score(FEATURES), problem.cells)
        with torch.no_grad():
            for key, tensor in before.items():
                parameters[key].copy_(tensor)
        return float(value)

    expected = [
        (scaled(layer, unit, 1 - h) - scaled(layer, unit, 1 + h)) / (2 * h)
        for layer in layers
        for unit in range(layer.units)
    ]
    assert np.abs(expected).max() > 1e-4
    assert change.numpy() == pytest.approx(np.array(expected), abs=1e-7)


class ByHand(nn.Module):
    """A hidden layer of three units behind BatchNorm, read twice; and one in a sum."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(1)
            self.first, self.norm = nn.Linear(zoo.WIDTH, 3), nn.BatchNorm1d(3)
            self.second, self.gate = nn.Linear(3, 3), nn.Linear(3, 3)
            self.out = nn.Linear(3, 1)
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.first(x).relu())
        second, gate = self.second(h), self.gate(h)
        total = (second + h.roll(1, 1)) * gate.sigmoid()
        self.kept = [h, second, gate]
        return self.out(total)


@pytest.mark.parametrize("batch", [MAX_BATCH, 7])
def test_the_gradient_score_is_minus_the_summed_gradient_by_the_activations(
    batch: int,
) -> None:
    """A sigmoid before a product cannot be silenced, so the gate is no layer to prune."""
    network = ByHand().double().eval()
    problem = biased_problem(Scorer(network, Output.LOGIT, batch_size=batch).eval(), FEATURES)
    change, scorer, layers = change_of(problem, "spd", "gradient")
    assert [layer.name for layer in layers] == ["network.first", "network.second"]
    scores = scorer(FEATURES)
    gap = scores[problem.groups == 0].mean() - scores[problem.groups == 1].mean()
    kept = scorer.network.kept[:2]
    expected = torch.cat([-g.sum(0) for g in torch.autograd.grad(gap, kept)])
    assert change.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_the_gradient_score_exists_for_every_unit(name: str) -> None:
    change, _, layers = change_of(problem_of(name), "spd", "gradient", inputs=True)
    assert change.shape == (sum(layer.units for layer in layers),)
    assert bool(change.isfinite().all())
    assert bool(change.any())


def test_convolutions_sum_the_gradient_over_places() -> None:
    problem = problem_of("conv2d")
    change, scorer, layers = change_of(problem, "spd", "gradient")
    network = scorer.network
    seen: list[Tensor] = []
    for layer in (network.b, network.out):
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    scores = scorer(FEATURES)
    gap = scores[problem.groups == 0].mean() - scores[problem.groups == 1].mean()
    first, second = torch.autograd.grad(gap, seen)
    expected = torch.cat([first.sum((0, 2, 3)), second.unflatten(1, (2, 9)).sum((0, 2))])
    assert [layer.units for layer in layers] == [3, 2]
    assert change.numpy() == pytest.approx(-expected.numpy(), abs=1e-6)


def soft_areas(scores: Tensor, problem: Problem) -> Tensor:
    """By comparing all pairs of rows of a group."""
    logits = scores.logit()
    weights = torch.ones_like(scores) if problem.weights is None else problem.weights
    areas = []
    for g in range(problem.n_groups):
        here = problem.groups == g
        won = torch.sigmoid((logits[here, None] - logits[here]) / 0.5)
        positive, negative = ((weights * (problem.labels == y))[here] for y in (1, 0))
        areas.append(positive @ (won @ negative) / positive.sum() / negative.sum())
    return torch.stack(areas)


@pytest.mark.parametrize("n_groups", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_soft_auc_difference_compares_all_pairs(n_groups: int, weighted: bool) -> None:
    problem = scored_rows(60, n_groups, weighted=weighted)
    scores = problem.scores.double().requires_grad_()
    areas = soft_areas(scores, problem)
    expected = areas[0] - areas[1] if n_groups == 2 else areas.max() - areas.min()
    found = soft_gap(AUC_DIFFERENCE, scores, problem.cells)
    assert float(found.detach()) == pytest.approx(float(expected.detach()))
    gradients = [torch.autograd.grad(gap, scores)[0] for gap in (found, expected)]
    assert torch.allclose(*gradients)


def test_the_soft_auc_difference_of_many_rows_compares_with_some() -> None:
    problem = scored_rows(4000, 2)
    scores = problem.scores.double().requires_grad_()
    areas = soft_areas(scores, problem)
    found = soft_gap(AUC_DIFFERENCE, scores, problem.cells)
    assert float(found.detach()) == pytest.approx(float((areas[0] - areas[1]).detach()), abs=0.002)
    (found_gradient,) = torch.autograd.grad(found, scores)
    (expected,) = torch.autograd.grad(areas[0] - areas[1], scores)
    assert float((found_gradient - expected).norm() / expected.norm()) < 0.05
    assert float(found_gradient.abs().min()) > 0


def test_the_soft_auc_difference_needs_both_labels_in_every_group() -> None:
    problem = scored_rows(40, 2)
    cells = problem.cells.clone()
    cells[:, 3] = 0
    assert soft_gap(AUC_DIFFERENCE, problem.scores, cells).isnan()

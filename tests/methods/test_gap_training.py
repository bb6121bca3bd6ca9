"""Training on balanced cross-entropy and a soft gap, against its formulas in numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.errors import TableError, UsageError
from fairfix.methods._gap_training import Job, StratifiedBatches, train_jobs
from fairfix.methods._label_probabilities import label_probabilities
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.models.scorer import Output, Scorer
from tests.helpers import zoo
from tests.helpers.toys import biased_problem, random_state

Floats = NDArray[np.float64]
PER_CELL = 48


def linear_problem(n: int = 150, *, weighted: bool = False) -> Problem:
    """A logistic regression in float64; one cell has fewer than 48 rows."""
    linear = nn.Linear(zoo.WIDTH, 1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        linear.weight.copy_(0.3 * torch.randn(1, zoo.WIDTH, generator=generator))
        linear.bias.fill_(0.1)
    scorer = Scorer(linear, Output.LOGIT)
    return biased_problem(scorer, zoo.features(n).double(), weighted=weighted)


class TrainedByHand:
    """Stratified draws, the gradient of the loss, Adam, and the moving average."""

    def __init__(self, problem: Problem, metric: str, labels: Floats, mu: float, seed: int) -> None:
        assert problem.scorer is not None
        assert problem.features is not None
        ones = np.ones((len(problem), 1))
        self.inputs = np.hstack([problem.features.numpy(), ones])
        self.cells = (2 * problem.groups + problem.labels).numpy()
        weights = np.ones(len(problem)) if problem.weights is None else problem.weights.numpy()
        self.weights = weights / weights.mean()
        self.labels, self.mu, self.metric = labels, mu, metric
        self.generator = np.random.default_rng(seed)
        state = problem.scorer.network.state_dict()
        self.theta = np.concatenate([state["weight"][0].numpy(), state["bias"].numpy()])

    def gradient(self) -> Floats:
        rows = []
        for cell in range(4):
            inside = np.flatnonzero(self.cells == cell)
            repeat = len(inside) < PER_CELL
            rows.append(self.generator.choice(inside, PER_CELL, replace=repeat))
        drawn = np.concatenate(rows)
        share = np.bincount(self.cells)[self.cells[drawn]] / len(self.cells) / PER_CELL
        v, p, x = share * self.weights[drawn], self.labels[drawn], self.inputs[drawn]
        z = x @ self.theta
        base = np.average(self.labels, weights=self.weights)
        s = 1 / (1 + np.exp(-z))
        entropy = v * ((1 - p) * s / (2 * (1 - base)) - p * (1 - s) / (2 * base))
        q = 1 / (1 + np.exp(-z / 0.5))
        among = v * p if self.metric == "eod" else v
        second = self.cells[drawn] >= 2
        w = np.where(second, -among / among[second].sum(), among / among[~second].sum())
        slope = np.sign(w @ q) * w * q * (1 - q) / 0.5
        return (entropy + self.mu * slope) @ x

    def averages(self, steps: int) -> list[Floats]:
        theta, average = self.theta, self.theta
        first, second = np.zeros_like(theta), np.zeros_like(theta)
        found = []
        for step in range(1, steps + 1):
            self.theta = theta
            g = self.gradient()
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            scaled = np.sqrt(second / (1 - 0.999**step)) + 1e-8
            theta = theta - 1e-3 * first / (1 - 0.9**step) / scaled
            decay = min(0.95, step / (step + 5))
            average = decay * average + (1 - decay) * theta
            found.append(average)
        return found


@pytest.mark.parametrize("metric", ["spd", "eod"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("labels", ["true", "smooth"])
def test_snapshots_are_those_of_the_formulas(metric: str, weighted: bool, labels: str) -> None:
    problem = linear_problem(weighted=weighted)
    probabilities = label_probabilities(problem, labels, seed=0)
    jobs = [Job(probabilities, 1.0), Job(probabilities, 2.0)]
    before = random_state()
    found = list(train_jobs(problem, METRICS[metric], jobs, seed=7, steps=40, every=15))
    assert random_state() == before
    assert [(each.job, each.step) for each in found] == [
        (job, step) for job in range(2) for step in (15, 30, 40)
    ]
    for job in (0, 1):
        by_hand = TrainedByHand(problem, metric, probabilities.numpy(), jobs[job].mu, seed=7)
        averages = by_hand.averages(40)
        for each in found[3 * job : 3 * job + 3]:
            theta = torch.cat([each.weights["weight"][0], each.weights["bias"]]).numpy()
            assert theta == pytest.approx(averages[each.step - 1], abs=1e-9)
            scores = 1 / (1 + np.exp(-by_hand.inputs @ averages[each.step - 1]))
            assert each.scores.numpy() == pytest.approx(scores, abs=1e-9)


def test_minibatches_stand_for_all_rows() -> None:
    """Importance weights of every draw add up to the shares of the cells."""
    problem = linear_problem(400)
    batches = StratifiedBatches(problem, 5, seed=0)
    cell = 2 * problem.groups + problem.labels
    rows = batches.draw()
    assert cell[rows].tolist() == [c for c in range(4) for _ in range(5)]
    assert len(rows.unique()) == 20
    sums = torch.zeros(4, dtype=torch.float64).index_add(0, cell[rows], batches.importance(rows))
    assert torch.allclose(sums, torch.bincount(cell).double() / 400)
    batches.restart()
    assert torch.equal(rows, batches.draw())
    assert not torch.equal(rows, batches.draw())


def test_rows_without_weight_are_not_drawn() -> None:
    problem = linear_problem(60)
    weights = torch.ones(60, dtype=torch.float64)
    weights[::3] = 0
    batches = StratifiedBatches(replace(problem, weights=weights), 20, seed=0)
    assert bool((weights[batches.draw()] > 0).all())


def test_a_cell_without_rows_is_refused() -> None:
    problem = linear_problem(60)
    problem = replace(problem, labels=problem.labels * (problem.groups == 0))
    with pytest.raises(TableError, match="group 'b' has no row with favorable label; add rows"):
        StratifiedBatches(problem, 5, seed=0)


def test_only_the_layers_named_are_trained_and_nothing_of_the_problem_changes() -> None:
    problem = biased_problem(zoo.scorer("BatchNorm behind"), zoo.features(120))
    assert problem.scorer is not None
    before = problem.scorer.weights()
    last = list(dict(problem.scorer.network.named_parameters()))[-1].rpartition(".")[0]
    job = Job(problem.labels, 1.0)
    (snapshot,) = train_jobs(problem, METRICS["eod"], [job], seed=0, layers=last, steps=3)
    changed = {name for name, value in snapshot.weights.items() if not value.equal(before[name])}
    assert changed == {f"{last}.weight", f"{last}.bias"}
    assert list(snapshot.weights) == list(before)
    after = problem.scorer.weights()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(problem.score(snapshot.weights), snapshot.scores)
    with pytest.raises(UsageError, match="no layer"):
        next(train_jobs(problem, METRICS["eod"], [job], seed=0, layers="none"))


def test_a_job_ends_when_its_scores_are_no_longer_finite() -> None:
    problem = linear_problem()
    labels = problem.labels.double()
    jobs = [Job(labels, float("inf")), Job(labels, 1.0)]
    found = list(train_jobs(problem, METRICS["spd"], jobs, seed=0, steps=4, every=2))
    assert [(each.job, each.step) for each in found] == [(1, 2), (1, 4)]


def test_memory_is_that_of_a_batch() -> None:
    """Minibatches run in parts of the scorer's batch size, with the same result."""
    problem = linear_problem()
    assert problem.scorer is not None

    def last_scores() -> Tensor:
        jobs = [Job(problem.labels, 1.0)]
        (snapshot,) = train_jobs(problem, METRICS["spd"], jobs, seed=0, steps=5)
        return snapshot.scores

    whole = last_scores()
    problem.scorer.batch_size = 191  # leaves a part of one row
    assert torch.allclose(last_scores(), whole, atol=1e-12)


def test_smooth_labels_are_calibrated_in_every_group() -> None:
    problem = biased_problem(zoo.scorer("modules"), zoo.features(600), 3)
    smooth = label_probabilities(problem, "smooth", seed=0)
    for group in range(3):
        inside = problem.groups == group
        rate = float(problem.labels[inside].double().mean())
        assert float(smooth[inside].mean()) == pytest.approx(rate, abs=0.02)
    assert torch.equal(label_probabilities(problem, "true", seed=0), problem.labels.double())


@pytest.mark.parametrize("complement", [False, True])
@pytest.mark.parametrize("output", list(Output))
def test_logits_are_those_of_the_scores(output: Output, complement: bool) -> None:
    network = nn.Linear(4, 2 if output.is_two else 1)
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(network)
    if output is Output.PROB:
        module.append(nn.Sigmoid())
    if output is Output.PROBS:
        module.append(nn.Softmax(1))
    scorer = Scorer(module, output, complement=complement)
    assert torch.allclose(scorer.differentiable_logit(rows).sigmoid(), scorer(rows), atol=1e-6)
    assert torch.allclose(scorer.differentiable_logit(rows[:1]).sigmoid(), scorer(rows[:1]))

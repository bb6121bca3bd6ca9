"""The loops of the public research code in plain torch, which fairfix is timed against.

Each function does the same work, in the same order and as often, as the code published with Savani
et al. (2020) and Marcinkevics et al. (2022): a grid of 101 thresholds for each evaluation, one
scikit-learn call per threshold, unit influences from hooks on the activations, a forward pass for
every value that is needed. Bugs of that code that would change the amount of work are left out:
networks stay in evaluation mode, removed units are not selected again, the unmodified network is a
candidate, and data are kept in the type that they are used in. Nothing here uses fairfix.

A ``network`` maps features (N, D) to probabilities (N,); it is copied, never changed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threshold_grid import (
    GridResult,
    LabeledRows,
    constrained_threshold,
    most_accurate_threshold,
)
from torch import Tensor, nn


@dataclass
class Candidates:
    """The networks that a loop evaluated, and the best of them."""

    rows: LabeledRows
    choose: Callable[[NDArray[np.float32], LabeledRows], GridResult]
    value: Callable[[GridResult], float]
    results: list[GridResult] = field(default_factory=list)
    best: int | None = None
    network: nn.Module | None = None

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> GridResult:
        """Evaluate a network at its own threshold, and keep a copy if it is the best so far."""
        result = self.choose(network(self.rows.features).numpy(), self.rows)
        best_value = -math.inf if self.best is None else self.value(self.results[self.best])
        self.results.append(result)
        if self.value(result) > best_value:
            self.best, self.network = len(self.results) - 1, copy.deepcopy(network)
        return result


def least_biased(rows: LabeledRows, floor: float) -> Candidates:
    """Choose thresholds by balanced accuracy; the least bias wins, given a performance floor."""
    return Candidates(
        rows,
        most_accurate_threshold,
        lambda one: -abs(one.bias) if one.performance >= floor else -math.inf,
    )


def best_within(rows: LabeledRows, limit: float) -> Candidates:
    """Choose thresholds and networks by the best balanced accuracy with abs(bias) < limit."""
    return Candidates(
        rows,
        lambda scores, rows: constrained_threshold(scores, rows, limit),
        lambda one: one.performance if abs(one.bias) < limit else 0.0,
    )


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the linear layers in order; the last one computes the output."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def prune(
    network: nn.Module, rows: LabeledRows, *, units: int, per_step: int, floor: float = 0.52
) -> Candidates:
    """Remove units whose activation drives the bias, and evaluate after every step.

    Args:
        units: number of units to remove in total.
        per_step: number of units per step; influences are computed again for each step.
    """
    network = copy.deepcopy(network).eval()
    candidates = least_biased(rows, floor)
    direction = math.copysign(1.0, candidates.evaluate(network).bias)
    layers = linear_layers(network)[:-1]
    owner = [(layer, unit) for layer in layers for unit in range(layer.out_features)]
    remaining = np.ones(len(owner), dtype=bool)
    for first in range(0, units, per_step):
        driving = direction * activation_influence(network, layers, rows)
        driving[~remaining] = -np.inf
        for index in np.argsort(-driving)[: min(per_step, units - first)]:
            layer, unit = owner[index]
            with torch.no_grad():
                layer.weight[unit] = 0
                layer.bias[unit] = 0
            remaining[index] = False
        candidates.evaluate(network)
    return candidates


def activation_influence(
    network: nn.Module, layers: list[nn.Linear], rows: LabeledRows
) -> NDArray[np.float32]:
    """Return (units,) the gradient of the soft bias by layer outputs, summed over the rows."""
    outputs: list[Tensor] = []

    def record(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    handles = [layer.register_forward_hook(record) for layer in layers]
    network.zero_grad()
    rows.soft_gap(network(rows.features)).backward()
    for handle in handles:
        handle.remove()
    gradients = [output.grad for output in outputs if output.grad is not None]
    return torch.cat([gradient.sum(0) for gradient in gradients]).numpy()


def gda(
    network: nn.Module,
    rows: LabeledRows,
    *,
    epochs: int,
    minibatch: int,
    learning_rate: float,
    seed: int,
    floor: float = 0.52,
) -> Candidates:
    """Minimize the soft bias by mini-batches, and evaluate after every epoch.

    Each batch must have rows of both groups.
    """
    assert rows.features is not None
    network = copy.deepcopy(network).eval()
    candidates = least_biased(rows, floor)
    direction = math.copysign(1.0, candidates.evaluate(network).bias)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows.labels), generator=generator).split(minibatch):
            descend(direction * rows.soft_gap(network(rows.features[batch]), batch), optimizer)
        candidates.evaluate(network)
    return candidates


def perturb(
    network: nn.Module, rows: LabeledRows, *, trials: int, sd: float, limit: float, seed: int
) -> Candidates:
    """Multiply the weights by normal draws around 1, and evaluate every draw."""
    unmodified, network = network, copy.deepcopy(network).eval()
    candidates = best_within(rows, limit)
    candidates.evaluate(network)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(trials):
        network.load_state_dict(unmodified.state_dict())
        for parameter in network.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data = parameter.data * (draw * sd + 1)
        candidates.evaluate(network)
    return candidates


def adversarial(
    network: nn.Module,
    rows: LabeledRows,
    *,
    rounds: int,
    critic_steps: int,
    network_steps: int,
    minibatch: int,
    learning_rate: float,
    weight: float,
    limit: float,
    seed: int,
) -> Candidates:
    """Train a critic of the bias and the network in turn, and evaluate after every round.

    The inputs of the critic and the scores of the network take one forward pass each. The bias of a
    minibatch that lacks a group counts as 0.
    """
    assert rows.features is not None
    features, labels = rows.features, rows.labels.to(rows.features.dtype)
    network = copy.deepcopy(network).eval()
    candidates = best_within(rows, limit)
    candidates.evaluate(network)
    critic = _critic(linear_layers(network)[-1].in_features * minibatch, seed).to(features.dtype)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return torch.randint(len(labels), (minibatch,), generator=generator)

    for _ in range(rounds):
        network.requires_grad_(False)
        critic.requires_grad_(True)
        for _ in range(critic_steps):
            batch = draw()
            bias = rows.soft_gap(network(features[batch]), batch).nan_to_num()
            guess = critic(last_hidden(network, features[batch]).reshape(-1))
            descend((guess - bias).square().mean(), critic_optimizer)
        network.requires_grad_(True)
        critic.requires_grad_(False)
        for _ in range(network_steps):
            batch = draw()
            guess = critic(last_hidden(network, features[batch]).reshape(-1)).abs().squeeze()
            entropy = nn.functional.binary_cross_entropy(network(features[batch]), labels[batch])
            descend((weight * (guess - limit) + 1).clamp(min=1) * entropy, optimizer)
        candidates.evaluate(network)
    return candidates


def _critic(inputs: int, seed: int) -> nn.Sequential:
    """Return a network with three hidden layers of 32."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks = [(nn.Linear(width, 32), nn.ReLU()) for width in (inputs, 32, 32)]
        return nn.Sequential(*(layer for block in blocks for layer in block), nn.Linear(32, 1))


def last_hidden(network: nn.Module, features: Tensor) -> Tensor:
    """Return the inputs of the last linear layer, (N, H)."""
    captured: list[Tensor] = []
    handle = linear_layers(network)[-1].register_forward_pre_hook(
        lambda _layer, inputs: captured.append(inputs[0])
    )
    network(features)
    handle.remove()
    return captured[0]


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Take one optimizer step."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def layerwise(
    network: nn.Module,
    rows: LabeledRows,
    *,
    layers: int,
    entries: int,
    calls: int,
    trees: Any,
    limit: float,
    seed: int,
) -> Candidates:
    """Optimize some weights of one layer after another by boosted trees, and evaluate every call.

    Args:
        layers: number of linear layers, from the last one backwards.
        entries: number of weights of a layer to move, each within 2.2 standard deviations.
        calls: evaluated networks per layer, at least 10; the first ones are random.
        trees: a regressor that predicts standard deviations. scikit-optimize's own does not run on
            current numpy and scikit-learn.
    """
    from skopt import gbrt_minimize

    network = copy.deepcopy(network).eval().requires_grad_(False)
    candidates = best_within(rows, limit)
    candidates.evaluate(network)
    generator = np.random.default_rng(seed)

    def tune(weights: Tensor) -> None:
        before = weights.clone()
        moved = generator.choice(len(weights), min(entries, len(weights)), replace=False)
        reach = 2.2 * float(weights.std())
        box = [(entry - reach, entry + reach) for entry in weights[moved].tolist()]

        def loss(point: list[float]) -> float:
            weights[moved] = torch.tensor(point, dtype=weights.dtype)
            return -candidates.value(candidates.evaluate(network))

        gbrt_minimize(loss, box, base_estimator=trees, n_calls=calls, random_state=seed)
        weights.copy_(before)

    for layer in linear_layers(network)[::-1][:layers]:
        tune(layer.weight.view(-1))
    return candidates

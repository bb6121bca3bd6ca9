"""What fairfix is timed against: the loops of the public research code, in plain torch.

Each function does, in the same order and as often, what the code published with Savani et al.
(2020) and Marcinkevics et al. (2022) does: a grid of 101 cuts for each judgment, one scikit-learn
call a cut, unit influences from hooks on the activations, a forward pass for whatever is looked at.
Where that code slips, the slip is left out if it would change how much work is done: networks stay
in evaluation mode, units once removed are not picked again, the untouched network is a candidate,
and data are held in the type that they are used in. Nothing here uses fairfix.

A ``network`` gives probabilities (N,) for features (N, D); it is copied, never changed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from grid import Judged, Rows, constrained_cut, most_accurate_cut
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass
class Trail:
    """The networks that a loop judged, and the most worthy of them."""

    rows: Rows
    cut: Callable[[NDArray[np.float32], Rows], Judged]
    worth: Callable[[Judged], float]
    judged: list[Judged] = field(default_factory=list)
    best: int | None = None
    network: nn.Module | None = None

    @torch.no_grad()
    def judge(self, network: nn.Module) -> Judged:
        """Judge a network at its own cut, and keep a copy if it is the best so far."""
        now = self.cut(network(self.rows.features).numpy(), self.rows)
        least = -math.inf if self.best is None else self.worth(self.judged[self.best])
        self.judged.append(now)
        if self.worth(now) > least:
            self.best, self.network = len(self.judged) - 1, copy.deepcopy(network)
        return now


def least_biased(rows: Rows, floor: float) -> Trail:
    """Cuts by balanced accuracy alone; the least bias wins, given a performance of ``floor``."""
    return Trail(
        rows,
        most_accurate_cut,
        lambda one: -abs(one.bias) if one.performance >= floor else -math.inf,
    )


def best_within(rows: Rows, limit: float) -> Trail:
    """The best balanced accuracy with abs(bias) < limit wins, of cuts and of networks."""
    return Trail(
        rows,
        lambda scores, rows: constrained_cut(scores, rows, limit),
        lambda one: one.performance if abs(one.bias) < limit else 0.0,
    )


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Its linear layers in order; the last one gives the output."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def prune(
    network: nn.Module, rows: Rows, *, units: int, per_step: int, floor: float = 0.52
) -> Trail:
    """Remove units whose activation drives the bias, and judge after every step.

    Args:
        units: how many are removed in all.
        per_step: how many between two judgments; influences are computed anew each time.
    """
    network = copy.deepcopy(network).eval()
    trail = least_biased(rows, floor)
    direction = math.copysign(1.0, trail.judge(network).bias)
    layers = linear_layers(network)[:-1]
    owner = [(layer, unit) for layer in layers for unit in range(layer.out_features)]
    alive = np.ones(len(owner), dtype=bool)
    for first in range(0, units, per_step):
        driving = direction * activation_influence(network, layers, rows)
        driving[~alive] = -np.inf
        for index in np.argsort(-driving)[: min(per_step, units - first)]:
            layer, unit = owner[index]
            with torch.no_grad():
                layer.weight[unit] = 0
                layer.bias[unit] = 0
            alive[index] = False
        trail.judge(network)
    return trail


def activation_influence(
    network: nn.Module, layers: list[nn.Linear], rows: Rows
) -> NDArray[np.float32]:
    """(units,) the soft bias's gradient by each layer's output, summed over the rows."""
    outputs: list[Tensor] = []

    def keep(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        output.retain_grad()
        outputs.append(output)

    handles = [layer.register_forward_hook(keep) for layer in layers]
    network.zero_grad()
    rows.soft_gap(network(rows.features)).backward()
    for handle in handles:
        handle.remove()
    gradients = [output.grad for output in outputs if output.grad is not None]
    return torch.cat([gradient.sum(0) for gradient in gradients]).numpy()


def gda(
    network: nn.Module,
    rows: Rows,
    *,
    epochs: int,
    minibatch: int,
    learning_rate: float,
    seed: int,
    floor: float = 0.52,
) -> Trail:
    """Descend the soft bias by mini-batches, and judge after every epoch.

    Each batch must hold rows of both groups.
    """
    assert rows.features is not None
    network = copy.deepcopy(network).eval()
    trail = least_biased(rows, floor)
    direction = math.copysign(1.0, trail.judge(network).bias)
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows.labels), generator=generator).split(minibatch):
            descend(direction * rows.soft_gap(network(rows.features[batch]), batch), optimizer)
        trail.judge(network)
    return trail


def perturb(
    network: nn.Module, rows: Rows, *, trials: int, sd: float, limit: float, seed: int
) -> Trail:
    """Multiply the weights by normal draws around 1, and judge every draw."""
    original, network = network, copy.deepcopy(network).eval()
    trail = best_within(rows, limit)
    trail.judge(network)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(trials):
        network.load_state_dict(original.state_dict())
        for parameter in network.parameters():
            draw = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data = parameter.data * (draw * sd + 1)
        trail.judge(network)
    return trail


def adversarial(
    network: nn.Module,
    rows: Rows,
    *,
    rounds: int,
    critic_steps: int,
    network_steps: int,
    minibatch: int,
    learning_rate: float,
    weight: float,
    limit: float,
    seed: int,
) -> Trail:
    """A critic of the bias and the network take turns, and every round is judged.

    What the critic reads and what the network scores come from a forward pass each. The bias of a
    minibatch that lacks a group counts as 0.
    """
    assert rows.features is not None
    features, labels = rows.features, rows.labels.to(rows.features.dtype)
    network = copy.deepcopy(network).eval()
    trail = best_within(rows, limit)
    trail.judge(network)
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
        trail.judge(network)
    return trail


def _critic(inputs: int, seed: int) -> nn.Sequential:
    """Three hidden layers of 32."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks = [(nn.Linear(width, 32), nn.ReLU()) for width in (inputs, 32, 32)]
        return nn.Sequential(*(layer for block in blocks for layer in block), nn.Linear(32, 1))


def last_hidden(network: nn.Module, features: Tensor) -> Tensor:
    """(N, H) what the last linear layer reads."""
    read: list[Tensor] = []
    handle = linear_layers(network)[-1].register_forward_pre_hook(
        lambda _layer, inputs: read.append(inputs[0])
    )
    network(features)
    handle.remove()
    return read[0]


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step down the loss."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def layerwise(
    network: nn.Module,
    rows: Rows,
    *,
    layers: int,
    entries: int,
    calls: int,
    trees: Any,
    limit: float,
    seed: int,
) -> Trail:
    """Let boosted trees move some weights of one layer after another, and judge every call.

    Args:
        layers: how many linear layers, from the last one back.
        entries: how many weights of a layer are moved, each within 2.2 standard deviations.
        calls: networks judged a layer; at least 10, the first ones at random.
        trees: a regressor that gives standard deviations. scikit-optimize's own one does not run
            on current numpy and scikit-learn.
    """
    from skopt import gbrt_minimize

    network = copy.deepcopy(network).eval().requires_grad_(False)
    trail = best_within(rows, limit)
    trail.judge(network)
    generator = np.random.default_rng(seed)

    def tune(weights: Tensor) -> None:
        before = weights.clone()
        moved = generator.choice(len(weights), min(entries, len(weights)), replace=False)
        reach = 2.2 * float(weights.std())
        box = [(entry - reach, entry + reach) for entry in weights[moved].tolist()]

        def loss(point: list[float]) -> float:
            weights[moved] = torch.tensor(point, dtype=weights.dtype)
            return -trail.worth(trail.judge(network))

        gbrt_minimize(loss, box, base_estimator=trees, n_calls=calls, random_state=seed)
        weights.copy_(before)

    for layer in linear_layers(network)[::-1][:layers]:
        tune(layer.weight.view(-1))
    return trail

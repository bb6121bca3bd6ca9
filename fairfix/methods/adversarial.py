"""Adversarial fine-tuning against a critic of the bias (Savani and others 2020, algorithm 3).

A critic reads the last hidden layer of a whole minibatch and learns to predict the minibatch's
bias. Then the network is tuned on what the critic says and on its own cross-entropy; the two take
turns, and every round is judged at its exact best cut.

Fine-tuning by the labels can learn the rows by heart, and then nothing they say of the result can
be believed. So one half of the rows is learned from, and round and cut are chosen on the other.

While the critic learns, the network stands still, so its hidden layer is computed once a round.

When not to use it: the bias of 64 rows is mostly noise, and a last hidden layer that has collapsed
to little more than the score tells a critic little about groups; then the untouched network at its
best cut is what comes back.

Changes: weights and cut.
Group at prediction: no.
Gradients: yes.
Cost: 16 rounds of 200 critic and 100 network steps.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from fairfix.data.problem import Problem
from fairfix.data.splitting import holdout
from fairfix.errors import UsageError
from fairfix.methods._fine_tuning import descend, fine_tune
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.methods._soft_gap import proxy
from fairfix.metrics.objective import Objective
from fairfix.models.activations import LayerInput

CHOSEN_ON = 0.5  # share of the rows that are not learned from


def adversarial(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    rounds: int = 16,
    critic_steps: int = 200,
    network_steps: int = 100,
    minibatch: int = 64,
    learning_rate: float = 1e-3,
    entropy_share: float = 0.75,
    loss: Literal["paper", "hinge"] = "paper",
    critic_layer: str = "",
    patience: int = 0,
) -> Result:
    """Fine-tune all weights against a critic that predicts the bias of a minibatch.

    Args:
        problem: needs the network.
        rounds: turns of critic and network, at most; 0 leaves the network as it is.
        critic_steps: steps of the critic a round.
        network_steps: steps of the network a round.
        minibatch: rows a step, drawn with replacement.
        learning_rate: Adam's step size, of critic and network.
        entropy_share: the papers' lambda, in [0, 1]. In the paper's loss the share of the
            cross-entropy, in the hinge the slope of the bias.
        loss: "paper" = (1 - share) * abs(critic) + share * cross-entropy; "hinge" = max(1,
            share * (abs(critic) - budget) + 1) * cross-entropy, as in the authors' code.
        critic_layer: the layer whose input the critic reads; empty for the last one.
        patience: stop after so many rounds without a better candidate; 0 never stops early.
    """
    if min(rounds, critic_steps, network_steps, patience) < 0 or minibatch < 2:
        raise UsageError("adversarial needs counts of 0 or more and a minibatch of 2 or more.")
    if not 0 < learning_rate < math.inf or not 0 <= entropy_share <= 1:
        raise UsageError("adversarial needs a learning rate > 0 and an entropy share in [0, 1].")
    learned_from, unseen = holdout(problem, CHOSEN_ON, seed)
    learned = problem.take(learned_from)
    scorer, features = learned.network()
    search = Search(problem, objective, unseen=unseen)
    reader = LayerInput(scorer, features[:2], critic_layer)
    width = reader.run(scorer, features[:2])[1].shape[1]
    cells, labels = learned.cells.to(features.dtype), learned.labels.to(features.dtype)
    generator = torch.Generator().manual_seed(seed)
    critic = _critic(width * minibatch, generator, features.device)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate, fused=True)
    optimizer = torch.optim.Adam(scorer.parameters(), lr=learning_rate, fused=True)

    def draw() -> Tensor:
        return torch.randint(len(learned), (minibatch,), generator=generator)

    def train_critic() -> None:
        with torch.no_grad():
            scores, hidden = reader.run(scorer, features)
        for _ in range(critic_steps):
            rows = draw()
            bias = proxy(objective.metric, scores[rows], cells[rows])
            descend((critic(hidden[rows].reshape(-1)) - bias).square().mean(), critic_optimizer)

    def train_network() -> None:
        for _ in range(network_steps):
            rows = draw()
            scores, hidden = reader.run(scorer, features[rows])
            if not scores.isfinite().all():
                return
            entropy = nn.functional.binary_cross_entropy(scores, labels[rows])
            bias = critic(hidden.reshape(-1)).abs().squeeze()
            if loss == "paper":
                total = (1 - entropy_share) * bias + entropy_share * entropy
            else:
                total = (entropy_share * (bias - objective.budget) + 1).clamp(min=1) * entropy
            descend(total, optimizer)

    def one_round() -> None:
        train_critic()
        train_network()

    def stale(scores: Tensor) -> bool:
        return 0 < patience <= len(search.steps) - 1 - search.best.index

    fine_tune(
        search,
        scorer,
        problem.network()[1],
        task="adversarial",
        rounds=rounds,
        one_round=one_round,
        done=stale,
        seed=seed,
    )
    return search.result(
        f"learned from {len(learned)} of the fitting rows, chosen on the other {len(unseen)} alone"
    )


def _critic(inputs: int, generator: torch.Generator, device: torch.device) -> nn.Module:
    """Three hidden layers of 32, initialized from a stream of its own."""
    sizes = [inputs, 32, 32, 32, 1]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        linear = nn.utils.skip_init(nn.Linear, before, after)
        bound = 1 / math.sqrt(before)
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(device)

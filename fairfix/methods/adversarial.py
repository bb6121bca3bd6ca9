"""Adversarial fine-tuning against a critic (Savani, White, Govindarajulu 2020, algorithm 3).

A critic network gets the last hidden layer of a whole minibatch and is trained to predict the soft
gap of the minibatch. Then the network is trained on the critic's prediction and on its own
cross-entropy. The two alternate, and the network is evaluated after every round at its exact
optimal threshold.

Deviations from the paper: training on labels overfits, after which the rows do not show how good
the result is. So without --train the network is trained on one half of the validation rows, and
round and threshold are chosen on the other half. The critic predicts the gap of the scores, where
the paper has the gap of the decisions, and its prediction enters as an absolute value, as in the
authors' code: the network would drive a signed one to -1. Minibatches are drawn with replacement
within each combination of group and label, in proportion to its rows, so that the gap of nearly
every minibatch is defined; one whose gap is not is skipped and counted.

When not to use it: the gap of 64 rows is mostly noise, and a last hidden layer that holds little
more than the score tells a critic little about groups. The result then is the unmodified network at
its best threshold.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: yes.
Training rows: optional, for critic and losses.
Cost: 16 rounds of 200 critic and 100 network steps.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from fairfix._utils.constraints import Range
from fairfix.data.problem import Problem
from fairfix.data.splitting import holdout
from fairfix.methods._fine_tuning import descend, fine_tune
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.objective import Objective
from fairfix.models.activations import LayerInput
from fairfix.models.empty_layer import empty_layer

SELECTION_SHARE = 0.5  # share of the validation rows that the network is not trained on


def adversarial(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    rounds: Annotated[int, Range(0)] = 16,
    critic_steps: Annotated[int, Range(0)] = 200,
    network_steps: Annotated[int, Range(0)] = 100,
    minibatch: Annotated[int, Range(2)] = 64,
    learning_rate: Annotated[float, Range(0, low_open=True)] = 1e-3,
    entropy_share: Annotated[float, Range(0, 1)] = 0.75,
    loss: Literal["paper", "hinge"] = "paper",
    critic_layer: str = "",
    patience: Annotated[int, Range(0)] = 0,
) -> Result:
    """Fine-tune all weights against a critic that predicts the gap of a minibatch.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of the halves, the critic, minibatches and dropout.
        rounds: alternations of critic and network, at most; 0 leaves the network unchanged.
        critic_steps: steps of the critic per round.
        network_steps: steps of the network per round.
        minibatch: rows per step. They are drawn with replacement, stratified by group and label.
        learning_rate: step size of Adam. It is the same for critic and network.
        entropy_share: lambda in the paper. It is the share of the cross-entropy in the loss
            "paper", the slope of the gap in the loss "hinge".
        loss: loss of the network: "paper" is (1 - share) * abs(critic) + share * cross-entropy;
            "hinge" is max(1, share * (abs(critic) - budget) + 1) * cross-entropy, as in the
            authors' code.
        critic_layer: layer whose input the critic gets; empty for the last one.
        patience: rounds without a better candidate before it stops; 0 never stops early.

    Raises:
        CheckpointError: if the network has no linear or convolutional layer.
        TableError: if the problem has only scores, or its training rows have no groups.
        UsageError: if ``critic_layer`` is not a layer that runs.
    """
    training, selection_rows = problem.learning_rows("adversarial"), None
    if training is problem:
        training_rows, selection_rows = holdout(problem, SELECTION_SHARE, seed)
        training = problem.take(training_rows)
    scorer, inputs = training.network()
    search = CandidateSearch(problem, objective, selection_rows=selection_rows)
    reader = LayerInput(scorer, inputs.batch(slice(2)), critic_layer)
    width = reader.run(scorer, inputs.take(slice(2)))[1].shape[1]
    cells, labels = (x.to(training.scores.dtype) for x in (training.cells, training.labels))
    generator = torch.Generator().manual_seed(seed)
    critic = _critic(width * minibatch, generator, inputs.device)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=learning_rate, fused=True)
    optimizer = torch.optim.Adam(scorer.parameters(), lr=learning_rate, fused=True)

    draw = _StratifiedDraw(2 * training.groups + training.labels, minibatch, generator)
    skipped = 0

    def train_critic() -> None:
        nonlocal skipped
        with torch.no_grad():  # the network is fixed here: one pass per round
            scores, hidden = reader.run(scorer, inputs)
        for _ in range(critic_steps):
            rows = draw()
            gap = soft_gap(objective.metric, scores[rows], cells[rows])
            loss_of_critic = (critic(hidden[rows].reshape(-1)) - gap).square().mean()
            skipped += not descend(loss_of_critic, critic_optimizer)

    def train_network() -> None:
        for _ in range(network_steps):
            rows = draw()
            scores, hidden = reader.run(scorer, inputs.take(rows))
            if not scores.isfinite().all():
                return
            entropy = nn.functional.binary_cross_entropy(scores, labels[rows])
            gap = critic(hidden.reshape(-1)).abs().squeeze()
            if loss == "paper":
                total = (1 - entropy_share) * gap + entropy_share * entropy
            else:
                total = (entropy_share * (gap - objective.budget) + 1).clamp(min=1) * entropy
            descend(total, optimizer)

    def train_round() -> None:
        train_critic()
        train_network()

    def out_of_patience(scores: Tensor) -> bool:
        return 0 < patience <= len(search.steps) - 1 - search.best.index

    fine_tune(
        search,
        scorer,
        problem.network()[1],
        task="adversarial",
        rounds=rounds,
        train_round=train_round,
        should_stop=out_of_patience,
        seed=seed,
    )
    notes = []
    if skipped:
        notes.append(f"{skipped} minibatches of the critic lacked rows of a group and were skipped")
    if selection_rows is not None:
        notes.append(
            f"trained on {len(training)} of the validation rows; the candidate was chosen on the "
            f"other {len(selection_rows)}"
        )
    return search.result(*notes)


class _StratifiedDraw:
    """Draw minibatches with replacement that have rows of each stratum as its share of all rows.

    Each stratum has at least one row in a minibatch, as far as there is room.

    Args:
        strata: (N,) integers.
        minibatch: rows of a draw.
        generator: of the draws.
    """

    def __init__(self, strata: Tensor, minibatch: int, generator: torch.Generator) -> None:
        _, strata = strata.cpu().unique(return_inverse=True)
        sizes = strata.bincount()
        counts = _proportional(sizes, minibatch)
        self._rows = strata.argsort(stable=True)
        self._first = (sizes.cumsum(0) - sizes).repeat_interleave(counts)
        self._sizes = sizes.repeat_interleave(counts)
        self._generator = generator

    def __call__(self) -> Tensor:
        """Return the row numbers of a minibatch, in random order."""
        share = torch.rand(len(self._sizes), generator=self._generator, dtype=torch.float64)
        rows = self._rows[self._first + (share * self._sizes).long()]
        return rows[torch.randperm(len(rows), generator=self._generator)]


def _proportional(sizes: Tensor, total: int) -> Tensor:
    """Return whole numbers with this total in proportion to sizes; 1 at least, if there is room."""
    exact = sizes.double() * total / sizes.sum()
    counts = exact.floor().long()
    if len(sizes) <= total:
        counts = counts.clamp(min=1)
    missing = total - int(counts.sum())
    step = 1 if missing > 0 else -1
    for _ in range(abs(missing)):
        surplus = torch.where(counts > 1, exact - counts, torch.inf) if step < 0 else counts - exact
        counts[surplus.argmin()] += step
    return counts


def _critic(inputs: int, generator: torch.Generator, device: torch.device) -> nn.Module:
    """Return the critic, three hidden layers of 32, initialized from the generator."""
    sizes = [inputs, 32, 32, 32, 1]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        linear = empty_layer(nn.Linear, before, after)
        bound = 1 / math.sqrt(before)
        with torch.no_grad():
            for parameter in linear.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(device)

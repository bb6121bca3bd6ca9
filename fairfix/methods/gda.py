"""Bias gradient descent/ascent (Marcinkevics, Ozkan, Vogt 2022, algorithm 2).

Small minibatch steps move the soft gap towards 0. After every epoch the network is evaluated at its
exact optimal threshold, and the best epoch is kept.

Deviations from the paper: without --train, gradients are taken on the validation rows, on which the
epoch is chosen as well; standard errors count 1.2 times for it. (On re-splits of six networks
neither halving the rows nor cross-fitting the choice did better on new rows.) The optimizer is
Adam, as in the authors' code; optimizer "sgd" is the paper's. The step size is 1e-4 and a run has
at most 40 epochs, where the paper has 1e-5 and 100 to 200; and a run ends early once the gap has
crossed 0 by more than the budget, where the paper runs every epoch. --evaluations 4 evaluates
within an epoch as well; on the networks that settings are chosen on it was no better, and for spd
the budget held less often (docs/results.md).

When not to use it: the loss does not include performance, so long runs flatten the scores. If a
group has few rows of a label, its gradient is mostly noise.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: yes.
Training rows: optional, for gradients.
Cost: up to 40 epochs.
Paper: Marcinkevics, Ozkan, Vogt 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from fairfix._utils.constraints import Range
from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.methods._fine_tuning import descend, private_random_state
from fairfix.methods._result import Result
from fairfix.methods._shared_network import JointSearch, all_finite, shared_networks
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters
from fairfix.models.scorer import Scorer


def gda(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    epochs: Annotated[int, Range(0)] = 40,
    learning_rate: Annotated[float, Range(0, low_open=True)] = 1e-4,
    minibatch: Annotated[int, Range(2)] = 256,
    evaluations: Annotated[int, Range(1)] = 1,
    optimizer: Literal["adam", "sgd"] = "adam",
    train_mode: bool = False,
    layers: str = "",
) -> Result:
    """Fine-tune the weights to reduce the soft gap by small gradient steps.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of minibatches and dropout.
        epochs: passes over the rows to learn from, at most; 0 leaves the network unchanged. The
            run ends early once the gap of the validation rows has crossed 0 by more than the
            budget.
        learning_rate: step size.
        minibatch: rows per step; a batch in which a group lacks the needed rows is skipped.
        evaluations: evaluations of the network in an epoch, at most one for each minibatch.
        optimizer: "adam" as in the authors' code, "sgd" as in the paper.
        train_mode: take gradients with dropout and BatchNorm in training mode; the network is
            evaluated in evaluation mode in either case.
        layers: layers to change. Names or patterns, comma-separated; head is the last one; empty
            for all.

    Raises:
        TableError: if the problem has only scores, or its training rows have no groups.
        UsageError: if a layer is unknown.
    """
    (result,) = gda_labels(
        [problem],
        objective,
        seed=seed,
        epochs=epochs,
        learning_rate=learning_rate,
        minibatch=minibatch,
        evaluations=evaluations,
        optimizer=optimizer,
        train_mode=train_mode,
        layers=layers,
    )
    return result


def gda_labels(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    epochs: int,
    learning_rate: float,
    minibatch: int,
    evaluations: int,
    optimizer: Literal["adam", "sgd"],
    train_mode: bool,
    layers: str,
) -> tuple[Result, ...]:
    """Move the mean of the sizes of the soft gaps of problems that share a network towards 0.

    A step takes a minibatch of the rows of each problem. An epoch has as many as the problem with
    the most rows has minibatches; others begin again.
    """
    networks, metric = shared_networks(problems), objective.metric
    learned = [problem.learning_rows("gda") for problem in problems]
    search = JointSearch.of(problems, objective, learned)
    signs = [math.copysign(1.0, float(soft_gap(metric, p.scores, p.cells))) for p in learned]
    parameters = list(select_parameters(networks[0][0].network, layers).values())

    def late(networks: list[tuple[Scorer, Inputs]]) -> list[tuple[Scorer, Inputs]]:
        return networks if train_mode else [late_layers(*each, parameters) for each in networks]

    evaluated = learners = late(networks)
    if learned[0] is not problems[0]:
        pairs = zip(networks, learned, strict=True)
        learners = late([(scorer, p.inputs) for (scorer, _), p in pairs if p.inputs is not None])
    step = optimizer_of(optimizer, parameters, learning_rate)
    cells = [p.cells.to(p.scores.dtype) for p in learned]
    sizes = [len(p) for p in learned]
    parts = min(evaluations, math.ceil(max(sizes) / minibatch))
    remaining = _minibatches(sizes, minibatch, parts, seed)
    skipped = 0
    with private_random_state(seed, evaluated[0][1].device):
        for _ in track(range(epochs * parts), "gda"):
            for scorer, _ in learners:
                scorer.train(train_mode)
            for batch in next(remaining):
                gaps = [
                    sign * soft_gap(metric, scorer.differentiable(inputs.take(rows)), cell[rows])
                    for sign, (scorer, inputs), cell, rows in zip(
                        signs, learners, cells, batch, strict=True
                    )
                    if len(rows) > 1  # one row has no gap, and BatchNorm cannot train on it
                ]
                known = [gap for gap in gaps if gap.isfinite()]
                if known:
                    descend(torch.stack(known).sum() / len(problems), step)
                skipped += len(known) < len(gaps)
            scores = [scorer.score(inputs) for scorer, inputs in evaluated]
            if not all_finite(scores):
                break
            search.add(scores, evaluated[0][0].weights)
            crossed = (
                sign * float(soft_gap(metric, own, problem.cells)) < -objective.budget
                for sign, own, problem in zip(signs, scores, problems, strict=True)
            )
            if all(crossed):
                break
    networks[0][0].network.eval()
    of_which = "a group and were skipped" if len(problems) == 1 else "a group of some label"
    return search.results(*([f"{skipped} batches lacked rows of {of_which}"] if skipped else []))


def _minibatches(
    sizes: Sequence[int], minibatch: int, parts: int, seed: int
) -> Iterator[list[list[Tensor]]]:
    """Yield the steps of each part of each epoch, with random rows of each problem."""
    generator = torch.Generator().manual_seed(seed)
    count = max(math.ceil(size / minibatch) for size in sizes)
    while True:
        orders = [torch.randperm(n, generator=generator).split(minibatch) for n in sizes]
        for part in range(parts):
            steps = range(part * count // parts, (part + 1) * count // parts)
            yield [[order[i % len(order)] for order in orders] for i in steps]


def optimizer_of(
    name: Literal["adam", "sgd"], parameters: list[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the optimizer of an option."""
    if name == "adam":
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    return torch.optim.SGD(parameters, lr=learning_rate)

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
from fairfix.data.problem import Problem
from fairfix.methods._fine_tuning import descend, fine_tune
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.metrics.objective import Objective
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters


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
    evaluated = problem.network()
    scorer = evaluated[0]
    learned = problem.learning_rows("gda")
    search = CandidateSearch(problem, objective, in_sample=learned is problem)
    sign = math.copysign(1.0, float(soft_gap(objective.metric, learned.scores, learned.cells)))
    parameters = list(select_parameters(scorer.network, layers).values())
    if not train_mode:
        evaluated = late_layers(*evaluated, parameters)
    learner, inputs = evaluated
    if learned is not problem:
        assert learned.inputs is not None
        learner, inputs = scorer, learned.inputs
        if not train_mode:
            learner, inputs = late_layers(learner, inputs, parameters)
    step = optimizer_of(optimizer, parameters, learning_rate)
    cells = learned.cells.to(learned.scores.dtype)
    generator = torch.Generator().manual_seed(seed)
    skipped = 0
    parts = min(evaluations, math.ceil(len(learned) / minibatch))

    def batches() -> Iterator[Sequence[Tensor]]:
        """Yield the minibatches between two evaluations."""
        while True:
            order = torch.randperm(len(learned), generator=generator).split(minibatch)
            for part in range(parts):
                yield order[part * len(order) // parts : (part + 1) * len(order) // parts]

    remaining = batches()

    def train() -> None:
        nonlocal skipped
        for rows in next(remaining):
            if len(rows) == 1:  # has no gap, and BatchNorm cannot train on it
                continue
            gap = soft_gap(objective.metric, learner.differentiable(inputs.take(rows)), cells[rows])
            skipped += not descend(sign * gap, step)

    def crossed_zero(scores: Tensor) -> bool:
        return sign * float(soft_gap(objective.metric, scores, problem.cells)) < -objective.budget

    fine_tune(
        search,
        *evaluated,
        task="gda",
        rounds=epochs * parts,
        train_round=train,
        should_stop=crossed_zero,
        train_mode=train_mode,
        seed=seed,
    )
    notes = [f"{skipped} batches lacked rows of a group and were skipped"] if skipped else []
    return search.result(*notes)


def optimizer_of(
    name: Literal["adam", "sgd"], parameters: list[nn.Parameter], learning_rate: float
) -> torch.optim.Optimizer:
    """Return the optimizer of an option."""
    if name == "adam":
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    return torch.optim.SGD(parameters, lr=learning_rate)

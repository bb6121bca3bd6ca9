"""Bias gradient descent/ascent (Marcinkevics, Ozkan, Vogt 2022, algorithm 2).

Small mini-batch steps push the differentiable gap towards zero; after every epoch the network is
judged as it would be deployed, at its exact best cut, and the best epoch is kept.

Gradient and choice share the fitting rows. On re-splits of six networks neither halving the rows
nor cross-fitting the choice did better on new rows than sharing them with standard errors taken
larger by a fifth, so that is done.

When not to use it: the loss knows nothing of performance, so long runs flatten the scores; where
one group has few rows of a label, its share of a batch is noise.

Changes: weights and cut.
Group at prediction: no.
Gradients: yes.
Cost: up to 40 epochs.
Paper: Marcinkevics, Ozkan, Vogt 2022.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._fine_tuning import descend, fine_tune
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.methods._soft_gap import proxy
from fairfix.metrics.objective import Objective


def gda(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    epochs: int = 40,
    learning_rate: float = 1e-4,
    minibatch: int = 256,
    optimizer: Literal["adam", "sgd"] = "adam",
    train_mode: bool = False,
) -> Result:
    """Fine-tune all weights against the bias itself by small gradient steps.

    Args:
        problem: needs the network.
        epochs: passes over the fitting rows, at most; 0 leaves the network as it is. The run ends
            early once the gap has crossed zero by more than the budget.
        learning_rate: step size, > 0.
        minibatch: rows a step; one in which a group lacks the needed rows is passed over.
        optimizer: "adam" as in the authors' code, "sgd" as in the paper's text.
        train_mode: take gradients with dropout and BatchNorm in training mode; the network is
            judged in evaluation mode all the same.
    """
    if epochs < 0 or not 0 < learning_rate < math.inf or minibatch < 2:
        raise UsageError("gda needs epochs >= 0, learning rate > 0 and a minibatch of 2 or more.")
    scorer, features = problem.network()
    search = Search(problem, objective, learns=True)
    sign = math.copysign(1.0, float(proxy(objective.metric, problem.scores, problem.cells)))
    parameters = list(scorer.parameters())
    step = (
        torch.optim.Adam(parameters, lr=learning_rate, fused=True)
        if optimizer == "adam"
        else torch.optim.SGD(parameters, lr=learning_rate)
    )
    cells = problem.cells.to(features.dtype)
    generator = torch.Generator().manual_seed(seed)
    skipped = 0

    def epoch() -> None:
        nonlocal skipped
        for rows in torch.randperm(len(problem), generator=generator).split(minibatch):
            if len(rows) == 1:  # shows no gap, and BatchNorm cannot train on it
                continue
            bias = proxy(objective.metric, scorer(features[rows]), cells[rows])
            skipped += not descend(sign * bias, step)

    def crossed(scores: Tensor) -> bool:
        return sign * float(proxy(objective.metric, scores, problem.cells)) < -objective.budget

    fine_tune(
        search,
        scorer,
        features,
        task="gda",
        rounds=epochs,
        one_round=epoch,
        done=crossed,
        train_mode=train_mode,
        seed=seed,
    )
    notes = [f"{skipped} batches lacked rows of a group and were passed over"] if skipped else []
    return search.result(*notes)

"""Unit pruning by the gradient of the bias (Marcinkevics, Ozkan, Vogt 2022, algorithm 1).

Units whose removal most reduces the differentiable gap are taken out one after another; after every
step the network is judged at its exact best cut, and the best step is kept.

A unit is removed by clearing the weights that read it, so nothing of it reaches the output (see
``fairfix.units``). Its score is the first-order change of the proxy under just that removal, which
is minus the sum of weight x gradient over the cleared entries; equation 4 of the paper (``score =
"gradient"``) takes the mean gradient by the unit's activation instead and so assumes activations of
one sign. Gradient and choice share the fitting rows, with standard errors taken larger for it, as
in gda.

When it helps: demographic parity on networks with units to spare. It helps little where the bias
sits in the base rates the whole network has learned, or where the gap is small already.

Changes: weights and cut.
Group at prediction: no.
Gradients: yes.
Cost: 64 forward and backward passes.
Paper: Marcinkevics, Ozkan, Vogt 2022.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.methods._soft_gap import BATCH, proxy, proxy_gradient
from fairfix.metrics.objective import Objective
from fairfix.models.prunable_units import PrunableLayer, find_prunable_layers, trace_prunable_layers
from fairfix.models.scorer import Scorer

STEPS = 64


def prune(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    per_step: int = 0,
    max_units: int = 0,
    score: Literal["removal", "gradient"] = "removal",
    inputs: bool = False,
) -> Result:
    """Remove hidden units that drive the bias, one step at a time.

    Args:
        problem: needs the network.
        per_step: units removed between two judgments; 0 takes as many as make 64 steps.
        max_units: stop after so many; 0 for all.
        score: "removal" = first-order change of the proxy when the unit goes; "gradient" = the
            paper's equation 4.
        inputs: count the network's input features as units too.
    """
    if per_step < 0 or max_units < 0:
        raise UsageError("prune needs per-step and max-units of 0 or more.")
    scorer, features = problem.network()
    search = Search(problem, objective, learns=True)
    layers = find_prunable_layers(scorer, features[:2], inputs=inputs)
    owner = [(layer, unit) for layer in layers for unit in range(layer.units)]
    removable = min(max_units or len(owner), len(owner))
    per_step = per_step or math.ceil(removable / STEPS)
    parameters = dict(scorer.named_parameters())
    alive = torch.ones(len(owner), dtype=torch.bool)
    for first in track(range(0, removable, per_step), "prune"):
        change, scores, bias = _change(score, scorer, problem, objective, layers)
        if bias == 0 or bias.isnan():
            break
        if first:
            search.offer(scores, scorer.weights)
        towards_zero = torch.where(alive, -torch.sign(bias).cpu() * change, -math.inf)
        for index in towards_zero.topk(min(per_step, removable - first)).indices.tolist():
            layer, unit = owner[index]
            layer.prune(parameters, unit)
            alive[index] = False
    search.offer(scorer.score(features), scorer.weights)
    return search.result()


def _change(
    score: str, scorer: Scorer, problem: Problem, objective: Objective, layers: list[PrunableLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """First-order change of the proxy when each unit goes (on the CPU), scores (N,), the proxy."""
    if score == "gradient":
        return _minus_activation_gradient(scorer, problem, objective, layers)
    parameters = dict(scorer.named_parameters())
    names = sorted({slot.name for layer in layers for slot in layer.parameters})
    scores, bias, gradients = proxy_gradient(
        objective.metric, scorer, problem, [parameters[name] for name in names]
    )
    product = {
        name: (parameters[name] * gradient).detach()
        for name, gradient in zip(names, gradients, strict=True)
    }
    change = []
    for layer in layers:
        parts = [slot.by_unit(product[slot.name], layer.units).sum(1) for slot in layer.parameters]
        change.append(-torch.stack(parts).sum(0))
    return torch.cat(change).cpu(), scores, bias


def _minus_activation_gradient(
    scorer: Scorer, problem: Problem, objective: Objective, layers: list[PrunableLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """Minus equation 4: the gradient by each unit's activation, summed over rows and places."""
    assert problem.features is not None
    scores = scorer.score(problem.features).requires_grad_()
    bias = proxy(objective.metric, scores, problem.cells)
    (pull,) = torch.autograd.grad(bias, scores)
    total = torch.zeros(sum(layer.units for layer in layers))
    wanted = {layer.name for layer in layers}
    for rows, weight in zip(problem.features.split(BATCH), pull.split(BATCH), strict=True):
        output, seen = trace_prunable_layers(scorer, rows)
        met = [layer for layer in seen if layer.name in wanted]
        tensors = [a.tensor for layer in met for a in layer.activations]
        gradients = iter(
            torch.autograd.grad(output, tensors, grad_outputs=weight, materialize_grads=True)
        )
        total += torch.cat([layer.sum_by_unit(gradients) for layer in met]).cpu()
    return -total, scores.detach(), bias.detach()

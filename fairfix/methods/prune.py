"""Unit pruning by the gradient of the gap (Marcinkevics, Ozkan, Vogt 2022, algorithm 1).

Step by step, the units whose removal reduces the soft gap most are removed. After every step the
network is evaluated at its exact optimal threshold, and the best step is kept. A unit is removed by
setting its outgoing weights to 0, so that nothing of it reaches the output. Units are the outputs
of linear layers, the channels of convolutions, and the heads of scaled dot-product attention; the
channels of queries, keys and values are none. Attention that is written out shows no heads.

Deviations from the paper: a unit is ranked by the first-order change of the soft gap under its
removal, which is minus the sum of weight times gradient over the outgoing weights. Equation 4
(score "gradient") uses the mean gradient with respect to the activation, which assumes activations
of one sign. Units are removed against the sign that the gap has at each step; with sign "initial",
against its sign at the start, as in the paper, also after it has crossed 0. Without --train,
gradients are taken on the validation rows, on which the step is chosen as well; standard errors
count 1.2 times for it.

When not to use it: on networks without spare units, if the gap reflects base rates that the whole
network has learned, or if the gap is small already. It helps most with statistical parity.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: yes.
Training rows: optional, for gradients.
Cost: 64 forward and backward passes.
Paper: Marcinkevics, Ozkan, Vogt 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from fairfix._utils.constraints import Range
from fairfix._utils.name_list import split_names
from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._shared_network import JointSearch, shared_networks
from fairfix.methods._soft_gap import soft_gap, soft_gap_gradient
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.parameter_names import belongs_to
from fairfix.models.prunable_units import find_prunable_layers, trace_prunable_layers
from fairfix.models.scorer import Scorer
from fairfix.models.unit_sources import PrunableLayer

STEPS = 64


def prune(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    per_step: Annotated[int, Range(0)] = 0,
    max_units: Annotated[int, Range(0)] = 0,
    score: Literal["removal", "gradient"] = "removal",
    sign: Literal["current", "initial"] = "current",
    inputs: bool = False,
    layers: str = "",
) -> Result:
    """Remove the hidden units that contribute most to the gap, step by step.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: unused.
        per_step: units removed per step; 0 for as many as give 64 steps.
        max_units: units removed, at most; 0 for all.
        score: ranking of the units: "removal" by the first-order change of the soft gap when the
            unit is removed, "gradient" by equation 4 of the paper.
        sign: sign of the gap that removals reduce: "current" at each step, "initial" as in the
            paper.
        inputs: treat the input features of the network as units as well.
        layers: layers whose units may be removed. Names or patterns such as encoder.*,
            comma-separated; empty for all.

    Raises:
        CheckpointError: if the network has no hidden unit that can be removed.
        UsageError: if no layer with units has one of the names.
        TableError: if the problem has only scores, or its training rows have no groups.
    """
    (result,) = prune_labels(
        [problem],
        objective,
        seed=seed,
        per_step=per_step,
        max_units=max_units,
        score=score,
        sign=sign,
        inputs=inputs,
        layers=layers,
    )
    return result


def prune_labels(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    per_step: int,
    max_units: int,
    score: Literal["removal", "gradient"],
    sign: Literal["current", "initial"],
    inputs: bool,
    layers: str,
) -> tuple[Result, ...]:
    """Prune a network that problems share, by the mean of the sizes of their gaps."""
    if score == "gradient" and len(problems) > 1:
        raise UsageError("--score gradient works on one label at a time; name it with --target.")
    networks = shared_networks(problems)
    scorers = [scorer for scorer, _ in networks]
    learned = [problem.learning_rows("prune") for problem in problems]
    search = JointSearch.of(problems, objective, learned)
    found = [find_prunable_layers(s, rows.batch(slice(2)), inputs=inputs) for s, rows in networks]
    known = {layer.name: layer for own in found for layer in own}
    prunable = selected_layers(list(known.values()), layers)
    removal = UnitRemoval(scorers[0], prunable, per_step, max_units)
    directions: list[float] = []
    for first in track(removal.starts, "prune"):
        changes = [
            _change(score, scorer, rows, objective, prunable)
            for scorer, rows in zip(scorers, learned, strict=True)
        ]
        gaps = [float(gap.nan_to_num()) for _, _, gap in changes]
        if not any(gaps):
            break
        if first:
            known_scores = [scores for _, scores, _ in changes]
            is_own = learned[0] is problems[0]
            search.add(known_scores if is_own else _scores(networks), scorers[0].weights)
        if sign == "current" or not first:
            directions = [math.copysign(1.0, gap) if gap else 0.0 for gap in gaps]
        sized = [d * change for d, (change, _, _) in zip(directions, changes, strict=True) if d]
        removal.remove(-torch.stack(sized).sum(0) / len(problems), first)
    search.add(_scores(networks), scorers[0].weights)
    return search.results()


def _scores(networks: Sequence[tuple[Scorer, Inputs]]) -> list[Tensor]:
    return [scorer.score(rows) for scorer, rows in networks]


class UnitRemoval:
    """The units of some layers, which are removed in steps.

    Args:
        scorer: has the layers.
        layers: in the order of the units.
        per_step: units removed per step; 0 for as many as give 64 steps.
        max_units: units removed, at most; 0 for all.

    Attributes:
        starts: how many units are removed before each step.
    """

    def __init__(
        self, scorer: Scorer, layers: list[PrunableLayer], per_step: int, max_units: int
    ) -> None:
        self._units = [(layer, unit) for layer in layers for unit in range(layer.units)]
        self._parameters = dict(scorer.named_parameters())
        self._remaining = torch.ones(len(self._units), dtype=torch.bool)
        count = len(self._units)
        self._removable = min(max_units or count, count)
        self.starts = range(0, self._removable, per_step or math.ceil(self._removable / STEPS))

    def remove(self, reduction: Tensor, start: int) -> None:
        """Remove the remaining units with the largest reductions of the gap, (U,), in one step."""
        remaining = torch.where(self._remaining, reduction, -math.inf)
        count = min(self.starts.step, self._removable - start)
        for index in remaining.topk(count).indices.tolist():
            layer, unit = self._units[index]
            layer.prune(self._parameters, unit)
            self._remaining[index] = False


def selected_layers(found: list[PrunableLayer], names: str) -> list[PrunableLayer]:
    """Return the layers that have one of the names, or are in a module that has."""
    wanted = split_names(names)
    known = {layer.name.removeprefix("network."): layer for layer in found}
    for name in wanted:
        if not any(belongs_to(layer, name) for layer in known):
            raise UsageError(
                f"No layer {name!r} has units that can be removed; layers: {', '.join(known)}."
            )
    return [
        layer
        for key, layer in known.items()
        if not wanted or any(belongs_to(key, name) for name in wanted)
    ]


def _change(
    score: str, scorer: Scorer, problem: Problem, objective: Objective, layers: list[PrunableLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the change of the soft gap per removed unit (U,) on the CPU, scores (N,), the gap."""
    if score == "gradient":
        return _minus_activation_gradient(scorer, problem, objective, layers)
    return _change_by_unit(scorer, problem, objective, layers)


def _change_by_unit(
    scorer: Scorer, problem: Problem, objective: Objective, layers: list[PrunableLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first-order change of the soft gap per removed unit (U,), scores (N,), the gap.

    The change is on the CPU.
    """
    parameters = dict(scorer.named_parameters())
    names = sorted({slot.name for layer in layers for slot in layer.parameters})
    scores, gap, gradients = soft_gap_gradient(
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
    return torch.cat(change).cpu(), scores, gap


def _minus_activation_gradient(
    scorer: Scorer, problem: Problem, objective: Objective, layers: list[PrunableLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return minus equation 4 per unit, summed over rows and positions, with scores and gap."""
    assert problem.inputs is not None
    scores = scorer.score(problem.inputs).requires_grad_()
    gap = soft_gap(objective.metric, scores, problem.cells)
    (score_gradient,) = torch.autograd.grad(gap, scores)
    total = torch.zeros(sum(layer.units for layer in layers), device=scores.device)
    names = {layer.name for layer in layers}
    for rows, batch in problem.inputs.batches(scorer.batch_size):
        output, watched = trace_prunable_layers(scorer, batch)
        own = [layer for layer in watched if layer.name in names]
        tensors = [a.tensor for layer in own for a in layer.activations]
        gradients = iter(
            torch.autograd.grad(
                output, tensors, grad_outputs=score_gradient[rows], materialize_grads=True
            )
        )
        total += torch.cat([layer.sum_by_unit(gradients) for layer in own])
    return -total.cpu(), scores.detach(), gap.detach()

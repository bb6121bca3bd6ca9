"""Methods on several labels of a network at once: shared weights, thresholds for each label.

The objective of a candidate is the mean of the labels' utilities, each at its own best threshold.
With one label, results are those of the method itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Literal

import torch
from torch import Tensor

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._fine_tuning import descend, private_random_state
from fairfix.methods._gap_training import Job, train_shared
from fairfix.methods._label_probabilities import Labels
from fairfix.methods._losses import Penalty
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.methods._soft_gap import soft_gap
from fairfix.methods.finetune import choice_of, flipped, penalty_weights
from fairfix.methods.gda import optimizer_of
from fairfix.methods.identity import identity
from fairfix.methods.prune import UnitRemoval, change_by_unit, selected_layers
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters
from fairfix.models.prunable_units import find_prunable_layers
from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.perturbations import RandomPerturbations

JointMethod = Callable[..., tuple[Result, ...]]
"""Gets one problem a label, whose scorers have the same network, and returns one result each."""


def joint_method(name: str) -> JointMethod:
    """Return a method for several labels.

    Raises:
        UsageError: if the method works on one label at a time.
    """
    if name not in _METHODS:
        raise UsageError(
            f"{name} works on one label at a time; name it with --target, or use one of "
            f"{', '.join(_METHODS)}."
        )
    return _METHODS[name]


class JointSearch:
    """The candidate networks of one run; the unmodified network is the first.

    A candidate replaces the best one so far only if the mean of its utilities is strictly higher.
    """

    def __init__(self, searches: Sequence[CandidateSearch]) -> None:
        self._searches = searches
        self._best, self._best_utility = 0, self._last_utility()
        self._state: dict[str, Tensor] | None = None

    @classmethod
    def in_sample(cls, problems: Sequence[Problem], objective: Objective) -> JointSearch:
        """Return the search of networks that were trained on the rows they are compared on."""
        return cls([CandidateSearch(p, objective, in_sample=True) for p in problems])

    def add(self, scores: Sequence[Tensor], state: Callable[[], dict[str, Tensor]]) -> None:
        """Evaluate a candidate at its best thresholds and keep it if it is the best so far.

        Args:
            scores: (N,) in [0, 1] of each label's rows.
            state: returns the state of the candidate's network; called only if it is kept.
        """
        for search, own in zip(self._searches, scores, strict=True):
            search.add(own, lambda: None)
        utility = self._last_utility()
        if utility > self._best_utility:
            self._best, self._best_utility = len(self._searches[0].steps) - 1, utility
            self._state = state()

    def results(self, *notes: str) -> tuple[Result, ...]:
        """Return the best candidate, with the threshold of each label."""
        return tuple(s.result_of(self._best, self._state, *notes) for s in self._searches)

    def _last_utility(self) -> float:
        return sum(search.last_utility for search in self._searches) / len(self._searches)


def _each(
    method: Callable[..., Result],
    problems: Sequence[Problem],
    objective: Objective,
    **options: object,
) -> tuple[Result, ...]:
    """Run a method that keeps the network on each label."""
    return tuple(method(problem, objective, **options) for problem in problems)


def _prune(
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
    """Remove the units that contribute most to the mean of the sizes of the gaps."""
    if score == "gradient":
        raise UsageError("--score gradient works on one label at a time; name it with --target.")
    scorers, search = _sharing(problems), JointSearch.in_sample(problems, objective)
    found = [
        find_prunable_layers(scorer, rows.batch(slice(2)), inputs=inputs)
        for scorer, rows in zip(scorers, _inputs(problems), strict=True)
    ]
    known = {layer.name: layer for own in found for layer in own}
    prunable = selected_layers(list(known.values()), layers)
    removal = UnitRemoval(scorers[0], prunable, per_step, max_units)
    directions: list[float] = []
    for first in track(removal.starts, "prune"):
        changes = [
            change_by_unit(scorer, problem, objective, prunable)
            for scorer, problem in zip(scorers, problems, strict=True)
        ]
        gaps = [float(gap.nan_to_num()) for _, _, gap in changes]
        if not any(gaps):
            break
        if first:
            search.add([scores for _, scores, _ in changes], scorers[0].weights)
        if sign == "current" or not first:
            directions = [math.copysign(1.0, gap) if gap else 0.0 for gap in gaps]
        mean = torch.stack(
            [
                direction * change
                for direction, (change, _, _) in zip(directions, changes, strict=True)
                if direction
            ]
        ).sum(0) / len(problems)
        removal.remove(-mean, first)
    search.add(_scores(scorers, problems), scorers[0].weights)
    return search.results()


def _gda(
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
    """Move the mean of the sizes of the soft gaps towards 0.

    A step takes a minibatch of the rows of each label. An epoch has as many as the label with the
    most rows has minibatches; others begin again.
    """
    shared, search = _sharing(problems), JointSearch.in_sample(problems, objective)
    network, metric = shared[0].network, objective.metric
    signs = [math.copysign(1.0, float(soft_gap(metric, p.scores, p.cells))) for p in problems]
    parameters = list(select_parameters(network, layers).values())
    pairs = list(zip(shared, _inputs(problems), strict=True))
    if not train_mode:
        pairs = [late_layers(scorer, inputs, parameters) for scorer, inputs in pairs]
    step = optimizer_of(optimizer, parameters, learning_rate)
    cells = [p.cells.to(p.scores.dtype) for p in problems]
    generator = torch.Generator().manual_seed(seed)
    count = max(math.ceil(len(p) / minibatch) for p in problems)
    parts = min(evaluations, count)
    skipped = 0

    def rounds() -> Iterator[list[list[Tensor]]]:
        """Yield the steps between two evaluations, each with the rows of each label."""
        while True:
            orders = [
                torch.randperm(len(p), generator=generator).split(minibatch) for p in problems
            ]
            for part in range(parts):
                steps = range(part * count // parts, (part + 1) * count // parts)
                yield [[order[i % len(order)] for order in orders] for i in steps]

    remaining = rounds()
    with private_random_state(seed, pairs[0][1].device):
        for _ in track(range(epochs * parts), "gda"):
            network.train(train_mode)
            for batch in next(remaining):
                sizes = [
                    sign * soft_gap(metric, scorer.differentiable(inputs.take(rows)), cell[rows])
                    for sign, (scorer, inputs), cell, rows in zip(
                        signs, pairs, cells, batch, strict=True
                    )
                    if len(rows) > 1
                ]
                known = [size for size in sizes if size.isfinite()]
                if known:
                    descend(torch.stack(known).sum() / len(problems), step)
                skipped += bool(sizes) and len(known) < len(sizes)
            scores = [scorer.score(inputs) for scorer, inputs in pairs]
            if not all(own.isfinite().all() for own in scores):
                break
            search.add(scores, shared[0].weights)
            crossed = (
                sign * float(soft_gap(metric, own, problem.cells)) < -objective.budget
                for sign, own, problem in zip(signs, scores, problems, strict=True)
            )
            if all(crossed):
                break
    network.eval()
    notes = [f"{skipped} batches lacked rows of a group of some label"] if skipped else []
    return search.results(*notes)


def _perturb(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    trials: int,
    sd: float,
    layers: str,
) -> tuple[Result, ...]:
    """Multiply the weights by random factors and keep the best draw."""
    scorers, search = _sharing(problems), JointSearch.in_sample(problems, objective)
    draws = RandomPerturbations(select_parameters(scorers[0].network, layers), sd, seed)
    for trial in track(range(trials), "perturb"):
        draws.apply(trial)
        scores = _scores(scorers, problems)
        if all(own.isfinite().all() for own in scores):
            search.add(scores, scorers[0].weights)
    return search.results()


def _finetune(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    layers: str,
    head: bool,
    labels: Labels,
    penalty: Penalty,
    alpha: str,
    flip: float,
    steps: int,
    learning_rate: float,
) -> tuple[Result, ...]:
    """Fine-tune on the mean of the labels' losses."""
    if head:
        raise UsageError("--head works on one label at a time; name it with --target.")
    weights = penalty_weights(penalty, alpha)
    pairs = list(zip(_sharing(problems), _inputs(problems), strict=True))
    choices = [choice_of(problem, objective, labels, seed) for problem in problems]
    search = JointSearch([choice.search for choice in choices])
    targets, notes = zip(
        *(
            flipped(problem, choice.probabilities, flip, seed)
            for problem, choice in zip(problems, choices, strict=True)
        ),
        strict=True,
    )
    for snapshot in train_shared(
        problems,
        pairs,
        objective.metric,
        [[Job(own, weight, penalty) for own in targets] for weight in weights],
        seed=seed,
        layers=layers,
        steps=steps,
        learning_rate=learning_rate,
    ):
        search.add(snapshot.scores, partial(attrgetter("weights"), snapshot))
    results = zip(search.results(), choices, notes, strict=True)
    return tuple(
        replace(result, notes=(choice.note, *own, *result.notes)) for result, choice, own in results
    )


_METHODS: dict[str, JointMethod] = {
    "finetune": _finetune,
    "gda": _gda,
    "identity": partial(_each, identity),
    "perturb": _perturb,
    "prune": _prune,
    "thresholds": partial(_each, thresholds),
}


def _sharing(problems: Sequence[Problem]) -> list[Scorer]:
    """Return the scorers of the problems, all with one copy of the network."""
    first, _ = problems[0].network()
    others = [problem.scorer for problem in problems[1:]]
    return [first, *(s.with_network(first.network) for s in others if s is not None)]


def _inputs(problems: Sequence[Problem]) -> list[Inputs]:
    found = [problem.inputs for problem in problems]
    return [inputs for inputs in found if inputs is not None]


def _scores(scorers: Sequence[Scorer], problems: Sequence[Problem]) -> list[Tensor]:
    pairs = zip(scorers, _inputs(problems), strict=True)
    return [scorer.score(inputs) for scorer, inputs in pairs]

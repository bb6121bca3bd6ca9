"""Random perturbation of the weights (Savani, White, Govindarajulu 2020, algorithm 1).

In each trial every weight of the unmodified network is multiplied by an independent normal draw
with mean 1. Each draw is evaluated at its exact optimal threshold, and the best is kept. The
unmodified network is candidate 0.

Deviations from the paper: the threshold is exact instead of one of a grid, and standard errors
count 1.2 times because the best of many draws is chosen on the same rows.

When not to use it: on large networks, which need many more trials than small ones, or on few rows,
where most of the improvement is noise.

Changes: network weights and threshold.
Group at prediction: no.
Gradients: no.
Training rows: no.
Cost: 500 forward passes.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from torch import Tensor

from fairfix._utils.constraints import Range
from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.methods._shared_network import JointSearch, all_finite, shared_networks
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.late_layers import late_layers
from fairfix.models.parameter_names import select_parameters
from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.perturbations import (
    LARGE,
    RandomPerturbations,
    batch_size,
    bytes_of,
)
from fairfix.models.weight_batches.scoring import BatchScorer, batch_scorer


def perturb(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    trials: Annotated[int, Range(0)] = 500,
    sd: Annotated[float, Range(0)] = 0.1,
    layers: str = "",
) -> Result:
    """Multiply the weights by random factors and keep the best draw.

    Args:
        problem: the validation rows; needs the network.
        objective: what is optimized.
        seed: of the draws.
        trials: number of draws; 0 leaves the network unchanged.
        sd: standard deviation of the factors, whose mean is 1.
        layers: parameters to perturb, as comma-separated prefixes of their names; empty for all.

    Raises:
        TableError: if the problem has only scores.
        UsageError: if a prefix in ``layers`` matches no parameter.
    """
    scorer, inputs = problem.network()
    parameters = select_parameters(scorer.network, layers)
    is_large = bytes_of(parameters.values()) > LARGE
    versions = None if is_large else batch_scorer(scorer, inputs)
    draws = RandomPerturbations(parameters, sd, seed)
    if versions is None:
        networks = [late_layers(scorer, inputs, parameters.values())]
        (result,) = _one_by_one([problem], objective, networks, draws, trials)
        return result

    def exact_scores(trial: int) -> Tensor:
        draws.apply(trial)
        return scorer.score(inputs)

    search = CandidateSearch(problem, objective, in_sample=True)
    together = batch_size(inputs, parameters.values())
    batches = _approximate_scores(versions, draws, trials, together)
    search.add_approximate(batches, exact_scores, scorer.weights)
    return search.result()


def perturb_labels(
    problems: Sequence[Problem],
    objective: Objective,
    *,
    seed: int,
    trials: int,
    sd: float,
    layers: str,
) -> tuple[Result, ...]:
    """Perturb a network that problems share, and keep the best draw for all."""
    networks = shared_networks(problems)
    parameters = select_parameters(networks[0][0].network, layers)
    draws = RandomPerturbations(parameters, sd, seed)
    late = [late_layers(*each, parameters.values()) for each in networks]
    return _one_by_one(problems, objective, late, draws, trials)


def _one_by_one(
    problems: Sequence[Problem],
    objective: Objective,
    networks: Sequence[tuple[Scorer, Inputs]],
    draws: RandomPerturbations,
    trials: int,
) -> tuple[Result, ...]:
    """Return the best of draws that are scored one after another."""
    search = JointSearch.of(problems, objective, problems)
    for trial in track(range(trials), "perturb"):
        draws.apply(trial)
        scores = [scorer.score(inputs) for scorer, inputs in networks]
        if all_finite(scores):
            search.add(scores, networks[0][0].weights)
    return search.results()


def _approximate_scores(
    versions: BatchScorer, draws: RandomPerturbations, trials: int, together: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield numbers and scores of many trials at once, without those that are not finite."""
    for first in track(range(0, trials, together), "perturb"):
        some = range(first, min(first + together, trials))
        scores = versions(draws.batch(some))
        finite = scores.isfinite().all(1)
        yield [trial for trial, ok in zip(some, finite.tolist(), strict=True) if ok], scores[finite]

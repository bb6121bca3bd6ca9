"""Random perturbation of the weights (Savani, White, Govindarajulu 2020, algorithm 1).

Every weight of the untouched network is multiplied by an independent normal draw around 1, again
and again; each draw is judged at its exact best cut and the best is kept. The untouched network is
candidate 0.

When not to use it: it looks for luck. With many trials on few rows part of what it finds is noise
of those rows, and large networks need many more trials than small ones.

Changes: weights and cut.
Group at prediction: no.
Gradients: no.
Cost: 500 forward passes.
Paper: Savani, White, Govindarajulu 2020.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from fairfix._utils.progress import track
from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.metrics.objective import Objective
from fairfix.models.parameter_names import select_parameters
from fairfix.models.weight_batches.perturbations import RandomPerturbations, batch_size
from fairfix.models.weight_batches.scoring import BatchScorer, batch_scorer


def perturb(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    trials: int = 500,
    sd: float = 0.1,
    layers: str = "",
) -> Result:
    """Try random multiples of the weights and keep the best.

    Args:
        problem: needs the network.
        trials: how many draws; 0 leaves the network as it is.
        sd: standard deviation of the factors, around 1; 0 draws the untouched network.
        layers: parameters to perturb, as comma-separated beginnings of their names; empty for all.
    """
    if trials < 0 or not 0 <= sd < float("inf"):
        raise UsageError("perturb needs trials >= 0 and a finite sd >= 0.")
    scorer, features = problem.network()
    search = Search(problem, objective, learns=True)
    draws = RandomPerturbations(select_parameters(scorer.network, layers), sd, seed)

    def drawn(trial: int) -> Tensor:
        draws.apply(trial)
        return scorer.score(features)

    versions = batch_scorer(scorer, features)
    if versions is None:
        for trial in track(range(trials), "perturb"):
            scores = drawn(trial)
            if scores.isfinite().all():
                search.offer(scores, scorer.weights)
    else:
        search.sift(_rough(versions, draws, trials, features), drawn, scorer.weights)
    return search.result()


def _rough(
    versions: BatchScorer, draws: RandomPerturbations, trials: int, features: Tensor
) -> Iterator[tuple[list[int], Tensor]]:
    """The scores of all trials that are finite, many at once."""
    together = batch_size(features)
    for first in track(range(0, trials, together), "perturb"):
        some = range(first, min(first + together, trials))
        scores = versions(draws.batch(some))
        finite = scores.isfinite().all(1)
        yield [trial for trial, ok in zip(some, finite.tolist(), strict=True) if ok], scores[finite]

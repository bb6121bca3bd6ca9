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

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from fairfix.errors import UsageError
from fairfix.forward.versions import Versions, many_at_once
from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.progress import tracked
from fairfix.result import Result
from fairfix.search import Search
from fairfix.selection import chosen_parameters

# Draws scored together: as many as give so many scores, but no more than this.
_SCORES_ON_CPU, _SCORES_ELSEWHERE = 2**18, 2**24
_TRIALS = 64


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
    draws = _Draws(chosen_parameters(scorer.network, layers), sd, seed)

    def drawn(trial: int) -> Tensor:
        draws.make(trial)
        return scorer.score(features)

    versions = many_at_once(scorer, features)
    if versions is None:
        for trial in tracked(range(trials), "perturb"):
            scores = drawn(trial)
            if scores.isfinite().all():
                search.offer(scores, scorer.weights)
    else:
        search.sift(_rough(versions, draws, trials, features), drawn, scorer.weights)
    return search.result()


def _rough(
    versions: Versions, draws: _Draws, trials: int, features: Tensor
) -> Iterator[tuple[list[int], Tensor]]:
    """The scores of all trials that are finite, many at once."""
    most = _SCORES_ON_CPU if features.device.type == "cpu" else _SCORES_ELSEWHERE
    together = min(max(1, most // len(features)), _TRIALS)
    for first in tracked(range(0, trials, together), "perturb"):
        some = range(first, min(first + together, trials))
        scores = versions(draws.versions(some))
        finite = scores.isfinite().all(1)
        yield [trial for trial, ok in zip(some, finite.tolist(), strict=True) if ok], scores[finite]


class _Draws:
    """Multiples of parameters, one set of factors for each trial.

    Each trial draws from a stream of its own, so that no other trial matters.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], sd: float, seed: int) -> None:
        self._parameters = parameters
        self._base = {name: p.detach().clone() for name, p in parameters.items()}
        self._sizes = [p.numel() for p in parameters.values()]
        self._sd, self._seed = sd, seed

    @torch.no_grad()
    def make(self, trial: int) -> None:
        """Set the parameters to one draw."""
        for name, drawn in self.versions([trial]).items():
            self._parameters[name].copy_(drawn[0])

    def versions(self, trials: Sequence[int]) -> dict[str, Tensor]:
        """The parameters of some draws by name, each (trials, *its shape)."""
        factors = torch.stack([self._factors(trial) for trial in trials])
        drawn = {}
        for (name, base), part in zip(
            self._base.items(), factors.split(self._sizes, dim=1), strict=True
        ):
            factor = part.to(base.device).unflatten(1, base.shape).to(base.dtype)
            drawn[name] = base * factor
        return drawn

    def _factors(self, trial: int) -> Tensor:
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + trial) % 2**63)
        return torch.randn(sum(self._sizes), generator=generator).mul_(self._sd).add_(1)

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

import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.progress import tracked
from fairfix.result import Result
from fairfix.search import Search
from fairfix.selection import chosen_parameters


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
    parameters = list(chosen_parameters(scorer.network, layers).values())
    original = [p.detach().clone() for p in parameters]
    for trial in tracked(range(trials), "perturb"):
        with torch.no_grad():
            for p, base, factor in zip(
                parameters, original, _factors(original, sd, seed, trial), strict=True
            ):
                torch.mul(base, factor, out=p)
        scores = scorer.score(features)
        if scores.isfinite().all():
            search.offer(scores, scorer.weights)
    return search.result()


def _factors(like: list[Tensor], sd: float, seed: int, trial: int) -> list[Tensor]:
    """The factors of one trial, from a stream of its own, so that no other trial matters."""
    generator = torch.Generator().manual_seed((seed * 1_000_003 + trial) % 2**63)
    draws = torch.randn(sum(p.numel() for p in like), generator=generator).mul_(sd).add_(1)
    parts: list[Tensor] = draws.to(like[0].device).split([p.numel() for p in like])
    return [part.view_as(p).to(p.dtype) for part, p in zip(parts, like, strict=True)]

"""Random multiples of a network's parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Draws scored together: as many as give so many scores, but no more than this.
_SCORES_ON_CPU, _SCORES_ELSEWHERE = 2**18, 2**24
_TOGETHER = 64


def at_once(features: Tensor) -> int:
    """How many draws are best scored together on these features (N, ...)."""
    most = _SCORES_ON_CPU if features.device.type == "cpu" else _SCORES_ELSEWHERE
    return min(max(1, most // len(features)), _TOGETHER)


class Draws:
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
        return self.multiplied(torch.stack([self.factors(trial) for trial in trials]))

    def multiplied(self, factors: Tensor) -> dict[str, Tensor]:
        """The parameters by name, (B, *its shape), multiplied by factors (B, P)."""
        drawn = {}
        for (name, base), part in zip(
            self._base.items(), factors.split(self._sizes, dim=1), strict=True
        ):
            factor = part.to(base.device).unflatten(1, base.shape).to(base.dtype)
            drawn[name] = base * factor
        return drawn

    def factors(self, trial: int) -> Tensor:
        """What one draw multiplies all parameters by, flat and in their order: (P,)."""
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + trial) % 2**63)
        return torch.randn(sum(self._sizes), generator=generator).mul_(self._sd).add_(1)

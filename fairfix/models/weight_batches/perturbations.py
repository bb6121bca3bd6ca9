"""Random multiples of the parameters of a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fairfix.models.inputs import Inputs

# A batch of parameter sets gives about this many scores, but has at most _MAX_BATCH sets.
_SCORES_ON_CPU, _SCORES_ELSEWHERE = 2**18, 2**24
_MAX_BATCH = 64
_BATCH_BYTES = 2**28  # of all parameter sets of a batch and of their factors
_PIECE = 2**20  # factors drawn at once; a multiple of 16, in which torch draws
LARGE = 2**24  # bytes of parameters beyond which sets are scored one by one


def batch_size(inputs: Inputs, parameters: Iterable[Tensor]) -> int:
    """Return how many parameter sets to score together, at least one.

    Args:
        inputs: of the rows that are scored.
        parameters: those of one set.
    """
    scores = _SCORES_ON_CPU if inputs.device.type == "cpu" else _SCORES_ELSEWHERE
    by_memory = _BATCH_BYTES // (2 * max(1, bytes_of(parameters)))
    return max(1, min(scores // len(inputs), by_memory, _MAX_BATCH))


def bytes_of(parameters: Iterable[Tensor]) -> int:
    """Return the bytes that parameters take."""
    return sum(parameter.nbytes for parameter in parameters)


class RandomPerturbations:
    """Random perturbations of parameters: each is multiplied by a normal factor around 1.

    Each trial has its own random stream, so a trial does not depend on the others.
    """

    def __init__(self, parameters: dict[str, nn.Parameter], sd: float, seed: int) -> None:
        """Remember the current parameters.

        Args:
            parameters: the parameters to perturb, by name.
            sd: standard deviation of the factors, >= 0.
            seed: seed of all trials.
        """
        self._parameters = parameters
        self._base = {name: p.detach().clone() for name, p in parameters.items()}
        self._sizes = [p.numel() for p in parameters.values()]
        self._sd, self._seed = sd, seed

    @torch.no_grad()
    def apply(self, trial: int) -> None:
        """Set the parameters of the network to those of one trial."""
        pieces, rest = self._draw(trial), torch.empty(0)
        for name, base in self._base.items():
            parameter = self._parameters[name].copy_(base)
            values = parameter.contiguous().view(-1)
            for start in range(0, len(values), _PIECE):
                part = values[start : start + _PIECE]
                while len(rest) < len(part):
                    rest = torch.cat([rest, next(pieces)])
                part.mul_(rest[: len(part)].to(base.device, base.dtype))
                rest = rest[len(part) :]
            parameter.copy_(values.view(base.shape))

    def batch(self, trials: Sequence[int]) -> dict[str, Tensor]:
        """Return the parameters of several trials by name, each (trials, *shape)."""
        return self.scaled(torch.stack([self.factors(trial) for trial in trials]))

    def scaled(self, factors: Tensor) -> dict[str, Tensor]:
        """Return the parameters times factors (B, P), by name, each (B, *shape)."""
        batch = {}
        for (name, base), part in zip(
            self._base.items(), factors.split(self._sizes, dim=1), strict=True
        ):
            factor = part.to(base.device).unflatten(1, base.shape).to(base.dtype)
            batch[name] = base * factor
        return batch

    def factors(self, trial: int) -> Tensor:
        """Return the factors of one trial, (P,), flat and in the order of the parameters."""
        return torch.cat([torch.empty(0), *self._draw(trial)])

    def _draw(self, trial: int) -> Iterator[Tensor]:
        """Yield the factors of one trial in pieces, with the values of one draw of all."""
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + trial) % 2**63)
        remaining = sum(self._sizes)
        while remaining:
            drawn = remaining if remaining < _PIECE + 16 else _PIECE  # torch draws 16 or more alike
            yield torch.randn(drawn, generator=generator).mul_(self._sd).add_(1)
            remaining -= drawn

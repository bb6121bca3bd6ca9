"""Scoring many versions of one network at once, which differ in some of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from fairfix.models.scorer import Scorer
from fairfix.models.weight_batches.stacked_layers import Chain

_CHECKED = 1024
_TOLERANCE = 1e-5
_ROWS = 65_536  # of all versions together

Versions = Callable[[Mapping[str, Tensor]], Tensor]


def many_at_once(scorer: Scorer, features: Tensor) -> Versions | None:
    """How the scores (B, N) of B versions are found fast; None if there is no way.

    The function found takes parameters by their names in the network, each (B, *its shape). What
    it gives differs from the scorer's by no more than round-off, which is tried on the parameters
    as they are.

    Args:
        scorer: in evaluation mode.
        features: (N, D).
    """
    chain = Chain.find(scorer, features)
    if chain is not None and _agrees(chain.scores, scorer, features):
        return chain.scores
    if features.device.type != "cpu":
        mapped = vectorized(scorer, features)
        if _agrees(mapped, scorer, features):
            return mapped
    return None


def vectorized(scorer: Scorer, features: Tensor) -> Versions:
    """The same for any network that torch can vectorize; no faster on a CPU."""

    def one(version: Mapping[str, Tensor], rows: Tensor) -> Tensor:
        given = {f"network.{name}": value for name, value in version.items()}
        scores: Tensor = functional_call(scorer, given, (rows,))
        return scores

    each = vmap(one, in_dims=(0, None))

    @torch.no_grad()
    def scores(versions: Mapping[str, Tensor]) -> Tensor:
        count = len(next(iter(versions.values())))
        parts = features.split(max(1, _ROWS // count))
        return torch.cat([each(versions, rows) for rows in parts], dim=1)

    return scores


def _agrees(versions: Versions, scorer: Scorer, features: Tensor) -> bool:
    """Whether it gives the scores of the network as it is, on some rows."""
    as_it_is = {name: p.detach().unsqueeze(0) for name, p in scorer.network.named_parameters()}
    try:
        found = versions(as_it_is)[0, :_CHECKED]
    except RuntimeError:  # what torch says of a network it cannot vectorize
        return False
    return torch.allclose(found, scorer.score(features[:_CHECKED]), rtol=0, atol=_TOLERANCE)

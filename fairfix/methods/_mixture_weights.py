"""The weights of several predictions of one probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, minimize

Floats = NDArray[np.float64]

_LEAST = 1e-9  # probability of what was observed
_TOLERANCE = 1e-13  # of the mean log likelihood


def mixture_weights(members: Floats, known: NDArray[np.int64], weights: Floats | None) -> Floats:
    """Return the weights, at least 0 with the sum 1, that make the observed values most likely.

    The log likelihood of a mixture with fixed members is concave in its weights.

    Args:
        members: (M, N) each member's P(value = 1).
        known: (N,) observed values, 0 or 1.
        weights: (N,) row weights; None counts every row once.
    """
    likelihood = np.maximum(np.where(known == 1, members, 1 - members), _LEAST)

    def loss(shares: Floats) -> float:
        return -float(np.average(np.log(shares @ likelihood), weights=weights))

    def slope(shares: Floats) -> Floats:
        return -np.average(likelihood / (shares @ likelihood), axis=1, weights=weights)

    equal: Floats = np.full(len(members), 1 / len(members))
    found = minimize(
        loss,
        equal,
        jac=slope,
        method="SLSQP",
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.ones(len(members)), 1, 1),
        options={"ftol": _TOLERANCE},
    )
    shares: Floats = np.clip(found.x, 0, 1)
    shares /= shares.sum()
    return shares

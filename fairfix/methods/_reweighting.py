"""How a method reweighted training rows, and what that was to do and did to the gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GapChange:
    """A soft gap of the validation rows.

    Attributes:
        metric: its key.
        before: of the unmodified network.
        predicted: with the new row weights, to first order.
        realized: of the network that the method returns; NaN before it is known.
        residual: of the equations behind the prediction, relative; see ``Solution``.
        iterations: products with the curvature that they took.
    """

    metric: str
    before: float
    predicted: float
    residual: float
    iterations: int
    realized: float = math.nan


@dataclass(frozen=True)
class Reweighting:
    """New weights of training rows.

    Attributes:
        factors: (N,) at least 0: what the weight of each row was multiplied by.
        clipped: share of the rows whose factor would have been negative.
        gaps: those that the weights were chosen for.
        curvature: "hessian" or "gauss-newton".
        damping: added to its diagonal.
        parameters: number of parameters that influences were computed for.
        show_rows: whether the report may list rows.
    """

    factors: Tensor
    clipped: float
    gaps: tuple[GapChange, ...]
    curvature: str
    damping: float
    parameters: int
    show_rows: bool = False

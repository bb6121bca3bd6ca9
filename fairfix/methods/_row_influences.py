"""Influence of every training row on gaps between groups, by implicit differentiation.

With one row's weight changed by eps, the minimum of the mean loss moves by -eps H^-1 g, where g is
the gradient of the row's loss and H the Hessian; a gap with gradient v then changes by
-eps v' H^-1 g. One system of equations is solved for each gap, not for each row.

Source: Koh and Liang 2017, section 2; Wang, Wu, He 2023, section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fairfix.methods._conjugate_gradients import Solution, conjugate_gradients
from fairfix.methods._row_losses import RowLosses

Curvature = Literal["hessian", "gauss-newton"]


@dataclass(frozen=True)
class RowInfluences:
    """Derivatives of K gaps in the weights of N rows.

    Attributes:
        values: (K, N) float64.
        residuals: (K,) of the solutions, see ``Solution``.
        iterations: (K,) of the solutions.
        curvature: the matrix in use.
        reason: why it is not the Hessian, as a clause; empty if it is, or was not asked for.
    """

    values: Tensor
    residuals: tuple[float, ...]
    iterations: tuple[int, ...]
    curvature: Curvature
    reason: str = ""


def row_influences(
    losses: RowLosses,
    gradients: Tensor,
    *,
    curvature: Curvature = "hessian",
    damping: float = 0.01,
    tolerance: float = 1e-3,
    iterations: int = 50,
) -> RowInfluences:
    """Return the influence of every row's weight on every gap.

    The Gauss-Newton matrix takes the place of the Hessian where that is not positive definite with
    the damping, or lacks a derivative.

    Args:
        losses: of the training rows.
        gradients: (K, P) gradients of the gaps.
        curvature: the matrix to begin with.
        damping: added to its diagonal.
        tolerance: of the solutions, see ``conjugate_gradients``.
        iterations: of each solution, at most.
    """

    def solve(product: Callable[[Tensor], Tensor]) -> list[Solution]:
        found: list[Solution] = []
        for gradient in gradients:
            found.append(
                conjugate_gradients(
                    lambda direction: product(direction) + damping * direction,
                    gradient,
                    tolerance=tolerance,
                    iterations=iterations,
                )
            )
            if found[-1].indefinite:
                break
        return found

    solutions, reason = list[Solution](), ""
    if curvature == "hessian":
        try:
            solutions = solve(losses.hessian_product)
        except RuntimeError:
            reason = "an operator of the network has no second derivative"
        else:
            if solutions[-1].indefinite:
                reason = f"the Hessian is not positive definite with a damping of {damping:g}"
    if curvature == "gauss-newton" or reason:
        curvature, solutions = "gauss-newton", solve(losses.gauss_newton_product)
    values = [-losses.derivatives(each.vector.to(gradients.dtype)).double() for each in solutions]
    return RowInfluences(
        torch.stack(values),
        tuple(each.residual for each in solutions),
        tuple(each.iterations for each in solutions),
        curvature,
        reason,
    )

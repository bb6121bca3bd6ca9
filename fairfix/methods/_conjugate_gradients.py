"""Solve linear equations whose matrix is known by its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """An approximate solution x of A x = b.

    Attributes:
        vector: x, (P,) float64.
        residual: norm of b - A x as a share of the norm of b.
        iterations: products with A.
        indefinite: a direction d with d' A d <= 0 was met, at which the search ended.
    """

    vector: Tensor
    residual: float
    iterations: int
    indefinite: bool


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    *,
    tolerance: float = 1e-3,
    iterations: int = 50,
) -> Solution:
    """Solve A x = b for a symmetric positive definite A by conjugate gradients, from x = 0.

    Args:
        product: returns A d, (P,), for a direction d, (P,), of the type of ``right``.
        right: b, (P,).
        tolerance: residual at which it ends.
        iterations: at most.

    Source: Hestenes and Stiefel 1952.
    """
    scale = float(right.double().norm())
    x = torch.zeros_like(right, dtype=torch.float64)
    if scale == 0:
        return Solution(x, 0.0, 0, indefinite=False)
    left = right.double() / scale  # residual of x = 0, at norm 1
    direction, squared = left.clone(), 1.0
    for done in range(iterations):
        image = product(direction.to(right.dtype)).double()
        curvature = float(direction @ image)
        if curvature <= 0:
            return Solution(scale * x, math.sqrt(squared), done + 1, indefinite=True)
        step = squared / curvature
        x += step * direction
        left -= step * image
        before, squared = squared, float(left @ left)
        if squared <= tolerance**2:
            return Solution(scale * x, math.sqrt(squared), done + 1, indefinite=False)
        direction = left + squared / before * direction
    return Solution(scale * x, math.sqrt(squared), iterations, indefinite=False)

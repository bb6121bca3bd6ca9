"""Row weights that close gaps between groups to first order, by ridge regression."""

from __future__ import annotations

import torch
from torch import Tensor


def balancing_weights(gaps: Tensor, influences: Tensor, ridge: float) -> Tensor:
    """Return the additions to row weights that close the gaps to first order, (N,) float64.

    They minimize the sum of squares of ``gaps + influences @ additions`` plus ``ridge`` times the
    sum of squares of the additions. The closed form solves equations in the few gaps alone.

    Args:
        gaps: (K,) signed gaps at the present weights 1/N.
        influences: (K, N) derivative of each gap in the weight of each row.
        ridge: positive; lambda of Wang et al. 2023.

    Source: Wang, Wu, He 2023, section 3.
    """
    gaps, influences = gaps.double(), influences.double()
    inner = influences @ influences.T + ridge * torch.eye(
        len(gaps), dtype=torch.float64, device=gaps.device
    )
    solved: Tensor = torch.linalg.solve(inner, gaps)
    return -influences.T @ solved


def weight_factors(additions: Tensor) -> Tensor:
    """Return the factors on the row weights, (N,): 1 plus N times the addition, at least 0.

    Args:
        additions: (N,) to weights of 1/N.
    """
    return (1 + len(additions) * additions).clamp(min=0)

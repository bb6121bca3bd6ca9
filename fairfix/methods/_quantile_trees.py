"""Black-box optimization with gradient-boosted quantile regression trees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor
from skopt.acquisition import gaussian_lcb

CANDIDATES = 10_000
"""Random points among which the confidence bound chooses."""


class QuantileTrees(RegressorMixin, BaseEstimator):
    """Three boosted quantile regressions: the median, and one standard deviation to either side.

    ``trees`` is the number of trees of each.
    """

    QUANTILES = (0.16, 0.5, 0.84)

    def __init__(self, random_state: int = 0, trees: int = 30) -> None:
        self.random_state = random_state
        self.trees = trees

    def fit(self, x: np.ndarray, y: np.ndarray) -> QuantileTrees:
        """Fit on points x (N, D) and values y (N,)."""
        self.low_, self.median_, self.high_ = (
            GradientBoostingRegressor(
                loss="quantile", alpha=q, n_estimators=self.trees, random_state=self.random_state
            ).fit(x, y)
            for q in self.QUANTILES
        )
        return self

    def predict(
        self, x: np.ndarray, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the median (M,) at points x (M, D).

        Args:
            x: points.
            return_std: also return half the distance of the outer quantiles, (M,).
        """
        median: np.ndarray = self.median_.predict(x)
        if not return_std:
            return median
        return median, (self.high_.predict(x) - self.low_.predict(x)) / 2


class TreeOptimizer:
    """Ask-and-tell minimization over the box [-1, 1]^dims.

    After some random points, the trees are fitted once for each batch, to all points so far. Of
    many random candidates the batch takes those with the lowest confidence bound, median - kappa *
    deviation.
    """

    def __init__(
        self, dims: int, *, initial: int, kappa: float, trees: int, generator: np.random.Generator
    ) -> None:
        self._dims, self._initial, self._kappa, self._trees = dims, initial, kappa, trees
        self._generator = generator
        self._seed = int(generator.integers(2**31))
        self._points: list[np.ndarray] = []
        self._losses: list[float] = []

    def ask(self, n: int) -> np.ndarray:
        """Return the next at most ``n`` points, (m, dims), at least one."""
        left = self._initial - len(self._points)
        if left > 0 or not self._points:
            return self._random(max(1, min(n, left)))
        model = QuantileTrees(self._seed, self._trees).fit(
            np.array(self._points), np.array(self._losses)
        )
        candidates = self._random(CANDIDATES)
        bound = gaussian_lcb(candidates, model, self._kappa)
        return np.asarray(candidates[np.argsort(bound, kind="stable")[:n]])

    def tell(self, points: np.ndarray, losses: Sequence[float]) -> None:
        """Report the losses of points (m, dims)."""
        self._points.extend(points)
        self._losses.extend(losses)

    def _random(self, n: int) -> np.ndarray:
        return self._generator.uniform(-1.0, 1.0, (n, self._dims))

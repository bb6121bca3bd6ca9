"""A small quantile regressor by gradient-boosted trees, as scikit-optimize's optimizer takes it."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor


class QuantileTrees(RegressorMixin, BaseEstimator):
    """Three boosted quantile regressions, at one standard deviation around the median.

    scikit-optimize's own one does not run on current scikit-learn and numpy.
    """

    QUANTILES = (0.16, 0.5, 0.84)

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, x: np.ndarray, y: np.ndarray) -> QuantileTrees:
        """Fit on points x (N, D) and values y (N,)."""
        self.low_, self.median_, self.high_ = (
            GradientBoostingRegressor(
                loss="quantile", alpha=q, n_estimators=30, random_state=self.random_state
            ).fit(x, y)
            for q in self.QUANTILES
        )
        return self

    def predict(
        self, x: np.ndarray, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Median (M,) at x (M, D), and half the distance of the outer quantiles if asked for."""
        median: np.ndarray = self.median_.predict(x)
        if not return_std:
            return median
        return median, (self.high_.predict(x) - self.low_.predict(x)) / 2

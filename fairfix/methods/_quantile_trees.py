"""Quantile regression by gradient-boosted trees, as the surrogate model of scikit-optimize."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor


class QuantileTrees(RegressorMixin, BaseEstimator):
    """Three boosted quantile regressions: the median, and one standard deviation to either side.

    It replaces ``skopt.learning.GradientBoostingQuantileRegressor``, which does not run on current
    versions of scikit-learn and numpy.
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
        """Return the median (M,) at points x (M, D).

        Args:
            x: points.
            return_std: also return half the distance of the outer quantiles, (M,).
        """
        median: np.ndarray = self.median_.predict(x)
        if not return_std:
            return median
        return median, (self.high_.predict(x) - self.low_.predict(x)) / 2

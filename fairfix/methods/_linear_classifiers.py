"""Logistic regressions on standardized inputs, and on the network's score alone."""

from __future__ import annotations

import warnings
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fairfix.models.score_model import Logistic, StandardizedLogistic
from fairfix.models.score_model.mixture import SCALE, WIDEST

Floats = NDArray[np.float64]

_MOST_STEPS = 300
_SCORE_PENALTY = 100.0


class LinearClassifier:
    """Logistic regression on inputs that are standardized and clipped; NaN counts as the mean.

    Args:
        penalty: inverse strength of the penalty on squared coefficients, above 0.
    """

    def __init__(self, penalty: float) -> None:
        self.scaler = StandardScaler()
        self.model = LogisticRegression(C=penalty, max_iter=_MOST_STEPS)

    def fit(self, X: Floats, y: NDArray[np.int64], sample_weight: Floats | None) -> Self:
        """Fit on inputs (N, D) and targets (N,)."""
        self.scaler.fit(X, sample_weight=sample_weight)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near enough for a prediction
            self.model.fit(self._standardized(X), y, sample_weight)
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """Return P(y = 0) and P(y = 1), (N, 2)."""
        probabilities: Floats = self.model.predict_proba(self._standardized(X))
        return probabilities

    def standardized_logistic(self) -> StandardizedLogistic:
        """Return the model as plain arrays."""
        logistic = Logistic(self.model.coef_[0], self.model.intercept_[0])
        return StandardizedLogistic(self.scaler.mean_, self.scaler.scale_, logistic)

    def _standardized(self, X: Floats) -> Floats:
        clipped: Floats = np.clip(self.scaler.transform(X), -WIDEST, WIDEST)
        return np.nan_to_num(clipped)


class CalibratedScore:
    """Logistic regression on z / 3 and its square, where the one input z is a logit."""

    def __init__(self) -> None:
        self.model = LogisticRegression(C=_SCORE_PENALTY, max_iter=1000)

    def fit(self, X: Floats, y: NDArray[np.int64], sample_weight: Floats | None) -> Self:
        """Fit on logits (N, 1) and targets (N,)."""
        self.model.fit(self._powers(X), y, sample_weight)
        return self

    def predict_proba(self, X: Floats) -> Floats:
        """Return P(y = 0) and P(y = 1), (N, 2)."""
        probabilities: Floats = self.model.predict_proba(self._powers(X))
        return probabilities

    def logistic(self) -> Logistic:
        """Return the model as plain arrays."""
        return Logistic(self.model.coef_[0], self.model.intercept_[0])

    @staticmethod
    def _powers(X: Floats) -> Floats:
        return np.hstack([X / SCALE, (X / SCALE) ** 2])

"""The score of a Bayes-fair rule that does not read the protected attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self, cast

import numpy as np
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.models.score_model.mixture import Mixture
from fairfix.models.score_model.parts import Setting, checked_number, part, prefixed
from fairfix.models.score_model.score_model import ScoreModel

BlindMetric = Literal["spd", "eod", "fprd"]
_METRICS = ("spd", "eod", "fprd")


class BlindScore(ScoreModel):
    """The logistic function of utility minus a multiple of the unfairness of a positive decision.

    With eta = P(y = 1) and gamma = P(a = 1) given features and the network's score::

        base = eta / (2 pi) - (1 - eta) / (2 (1 - pi)) - multiplier * w
        w = m * (gamma / share1 - (1 - gamma) / share0)

    m is 1 for spd, eta for eod, and 1 - eta for fprd. The score is logistic(base), the probability
    is eta.

    Args:
        n_features, columns: see ``ScoreModel``.
        eta: of the inputs.
        gamma: of the inputs; for eod fitted on rows with y = 1, for fprd with y = 0.
        metric: "spd", "eod" or "fprd".
        pi: P(y = 1), in (0, 1).
        multiplier: finite.
        shares: share0 and share1, in (0, 1): P(a = 0) and P(a = 1), for eod P(a, y = 1), for
            fprd P(a, y = 0).

    Raises:
        UsageError: if a value is out of range.
    """

    kind = "blind"

    def __init__(
        self,
        n_features: int,
        columns: Sequence[int] | np.ndarray,
        eta: Mixture,
        gamma: Mixture,
        *,
        metric: BlindMetric,
        pi: float,
        multiplier: float,
        shares: tuple[float, float],
    ) -> None:
        super().__init__(n_features, columns)
        self.eta = eta
        self.gamma = gamma
        self.metric = metric
        self.pi = float(pi)
        self.multiplier = float(multiplier)
        self.shares = float(shares[0]), float(shares[1])
        settings = self.settings()
        if metric not in _METRICS:
            raise UsageError(f"The setting 'metric' must be spd, eod or fprd, not {metric!r}.")
        for name in ("pi", "share0", "share1"):
            checked_number(settings, name, 0, 1)
        checked_number(settings, "multiplier")

    def evaluate(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        base, unfairness, eta = self.parts(features, scores)
        return (base - self.multiplier * unfairness).sigmoid(), eta

    def parts(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return utility, unfairness and eta, (N,) float64 each, which no multiplier changes."""
        inputs = self.inputs(features, scores)
        eta: Tensor = self.eta(inputs)
        gamma: Tensor = self.gamma(inputs)
        share0, share1 = self.shares
        unfairness = gamma / share1 - (1 - gamma) / share0
        if self.metric == "eod":
            unfairness = eta * unfairness
        elif self.metric == "fprd":
            unfairness = (1 - eta) * unfairness
        base = eta / (2 * self.pi) - (1 - eta) / (2 * (1 - self.pi))
        return base, unfairness, eta

    def settings(self) -> dict[str, Setting]:
        return {
            **self.feature_settings(),
            "metric": self.metric,
            "pi": self.pi,
            "multiplier": self.multiplier,
            "share0": self.shares[0],
            "share1": self.shares[1],
        }

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "columns": self.columns.numpy(),
            **prefixed("eta", self.eta.arrays()),
            **prefixed("gamma", self.gamma.arrays()),
        }

    @classmethod
    def _from_parts(
        cls,
        n_features: int,
        columns: np.ndarray,
        settings: Mapping[str, Setting],
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        eta, gamma = (
            Mixture.from_arrays(len(columns) + 1, part(arrays, name) or {})
            for name in ("eta", "gamma")
        )
        return cls(
            n_features,
            columns,
            eta,
            gamma,
            metric=cast(BlindMetric, settings.get("metric")),
            pi=checked_number(settings, "pi", 0, 1),
            multiplier=checked_number(settings, "multiplier"),
            shares=(
                checked_number(settings, "share0", 0, 1),
                checked_number(settings, "share1", 0, 1),
            ),
        )

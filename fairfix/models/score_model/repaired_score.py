"""A recalibrated score: P(favorable) from features and the network's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
from torch import Tensor

from fairfix.models.score_model.mixture import Mixture
from fairfix.models.score_model.parts import Setting, part, prefixed
from fairfix.models.score_model.score_model import ScoreModel


class RepairedScore(ScoreModel):
    """Score and probability are eta, P(favorable) given features and the network's score.

    Args:
        n_features, columns: see ``ScoreModel``.
        eta: of the inputs.
    """

    kind = "repair"

    def __init__(self, n_features: int, columns: Sequence[int] | np.ndarray, eta: Mixture) -> None:
        super().__init__(n_features, columns)
        self.eta = eta

    def evaluate(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        eta: Tensor = self.eta(self.inputs(features, scores))
        return eta, eta

    def settings(self) -> dict[str, Setting]:
        return self.feature_settings()

    def arrays(self) -> dict[str, np.ndarray]:
        return {"columns": self.columns.numpy(), **prefixed("eta", self.eta.arrays())}

    @classmethod
    def _from_parts(
        cls,
        n_features: int,
        columns: np.ndarray,
        settings: Mapping[str, Setting],
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        return cls(
            n_features, columns, Mixture.from_arrays(len(columns) + 1, part(arrays, "eta") or {})
        )

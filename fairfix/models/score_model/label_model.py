"""P(favorable) from trees, alone or averaged with a calibrated score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from fairfix.errors import UsageError
from fairfix.models.score_model.logistic import Logistic
from fairfix.models.score_model.parts import part, prefixed
from fairfix.models.score_model.tree_ensemble import TreeEnsemble

SCALE = 3.0
"""The calibrated score is logistic in z / 3 and its square, where z is the network's logit."""


class LabelModel(nn.Module):
    """P(favorable) from trees, or the mean of theirs and of a calibrated score.

    Args:
        trees: of the inputs of a score model.
        calibrated: logistic in z / 3 and its square; None for the trees alone.

    Raises:
        UsageError: if ``calibrated`` has another number of coefficients than 2.
    """

    def __init__(self, trees: TreeEnsemble, calibrated: Logistic | None = None) -> None:
        super().__init__()
        if calibrated is not None and len(calibrated.coefficients) != 2:
            raise UsageError("The calibrated score has two coefficients, of z / 3 and its square.")
        self.trees = trees
        self.calibrated = calibrated

    def forward(self, inputs: Tensor) -> Tensor:
        """Return P(favorable), (N,) float64, from inputs (N, C + 1)."""
        probability = self.trees.probability(inputs)
        if self.calibrated is None:
            return probability
        scaled = inputs[:, -1] / SCALE
        logit: Tensor = self.calibrated(torch.stack([scaled, scaled.square()], 1))
        return (probability + logit.sigmoid()) / 2

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as they are stored."""
        arrays = prefixed("eta", self.trees.arrays())
        if self.calibrated is not None:
            arrays |= prefixed("calibrated", self.calibrated.arrays())
        return arrays

    @classmethod
    def from_arrays(cls, n_inputs: int, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the model whose arrays are among these.

        Raises:
            UsageError: if they are incomplete or out of range.
        """
        calibrated = part(arrays, "calibrated")
        return cls(
            TreeEnsemble(n_inputs, part(arrays, "eta") or {}),
            None if calibrated is None else Logistic.from_arrays(calibrated),
        )

"""A probability as the weighted mean of what trees and logistic regressions predict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from fairfix.errors import UsageError
from fairfix.models.score_model.logistic import Logistic
from fairfix.models.score_model.parts import as_tensor, checked_array, part, prefixed
from fairfix.models.score_model.tree_ensemble import TreeEnsemble

SCALE = 3.0
"""The calibrated score is logistic in z / 3 and its square, where z is the network's logit."""
WIDEST = 5.0
"""Standardized inputs are clipped to [-5, 5]."""
_ONE = 1e-9  # round-off of the sum of weights


class StandardizedLogistic(nn.Module):
    """Logistic regression on inputs that are standardized and clipped; a NaN counts as the mean.

    Args:
        center, scale: (D,) of the inputs; scale is above 0.
        logistic: on D standardized inputs.

    Raises:
        UsageError: if lengths differ or a scale is not positive.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, center: Any, scale: Any, logistic: Logistic) -> None:
        super().__init__()
        length = (len(logistic.coefficients),)
        self.register_buffer("center", as_tensor(checked_array("center", center, float, length)))
        widths = checked_array("scale", scale, float, length)
        if not (widths > 0).all():
            raise UsageError("The array 'scale' has a value that is not above 0.")
        self.register_buffer("scale", as_tensor(widths))
        self.logistic = logistic

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logit of every row, (N,) float64, from inputs (N, D) float64."""
        standardized = (inputs - self.center) / self.scale
        logit: Tensor = self.logistic(standardized.clamp(-WIDEST, WIDEST).nan_to_num(0.0))
        return logit

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as they are stored."""
        own = {"center": self.center, "scale": self.scale}
        return self.logistic.arrays() | {name: tensor.numpy() for name, tensor in own.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return the model that ``arrays`` described.

        Raises:
            UsageError: if an array is missing or against its contract, or there are others.
        """
        rest = {key: value for key, value in arrays.items() if key not in ("center", "scale")}
        return cls(arrays.get("center"), arrays.get("scale"), Logistic.from_arrays(rest))


class Mixture(nn.Module):
    """The weighted mean of the probabilities of its members.

    Args:
        weights: (M,) at least 0 with the sum 1, of trees, linear model and calibrated score.
        trees: of the D inputs of a score model.
        linear: of the same inputs.
        calibrated: logistic in z / 3 and its square, where z is the last input; None for two
            members.

    Raises:
        UsageError: if the numbers of weights, inputs or coefficients do not fit, or the weights are
            no shares.
    """

    weights: Tensor

    def __init__(
        self,
        weights: Any,
        trees: TreeEnsemble,
        linear: StandardizedLogistic,
        calibrated: Logistic | None = None,
    ) -> None:
        super().__init__()
        members = 2 if calibrated is None else 3
        shares = checked_array("weights", weights, np.float64, (members,))
        if not ((shares >= 0).all() and abs(shares.sum() - 1) < _ONE):
            raise UsageError("The array 'weights' must have values of at least 0 with the sum 1.")
        if len(linear.center) != trees.n_inputs:
            raise UsageError("The array 'center' has another length than there are inputs.")
        if calibrated is not None and len(calibrated.coefficients) != 2:
            raise UsageError("The calibrated score has two coefficients, of z / 3 and its square.")
        self.register_buffer("weights", as_tensor(shares))
        self.trees = trees
        self.linear = linear
        self.calibrated = calibrated

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the probability of every row, (N,) float64, from inputs (N, D) float64."""
        members = [self.trees.probability(inputs), self.linear(inputs).sigmoid()]
        if self.calibrated is not None:
            scaled = inputs[:, -1] / SCALE
            members.append(self.calibrated(torch.stack([scaled, scaled.square()], 1)).sigmoid())
        weighted = [w * member for w, member in zip(self.weights, members, strict=True)]
        return torch.stack(weighted).sum(0)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as they are stored."""
        members = {"trees": self.trees, "linear": self.linear, "calibrated": self.calibrated}
        arrays = {"weights": self.weights.numpy()}
        for name, member in members.items():
            if member is not None:
                arrays |= prefixed(name, member.arrays())
        return arrays

    @classmethod
    def from_arrays(cls, n_inputs: int, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the model that ``arrays`` described.

        Raises:
            UsageError: if they are incomplete or against their contract.
        """
        calibrated = part(arrays, "calibrated")
        return cls(
            arrays.get("weights"),
            TreeEnsemble(n_inputs, part(arrays, "trees") or {}),
            StandardizedLogistic.from_arrays(part(arrays, "linear") or {}),
            None if calibrated is None else Logistic.from_arrays(calibrated),
        )

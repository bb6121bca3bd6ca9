"""Logistic regression as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairfix.errors import UsageError
from fairfix.models.score_model.parts import as_tensor, checked_array


class Logistic(nn.Module):
    """Logistic regression on D inputs.

    Args:
        coefficients: (D,).
        intercept: scalar.

    Raises:
        UsageError: if a value is not finite, or there are no coefficients.
    """

    coefficients: Tensor
    intercept: Tensor

    def __init__(self, coefficients: Any, intercept: Any) -> None:
        super().__init__()
        found = checked_array("coefficients", coefficients, np.float64, (-1,))
        if not len(found):
            raise UsageError("The array 'coefficients' is empty.")
        self.register_buffer("coefficients", as_tensor(found))
        constant = checked_array("intercept", intercept, np.float64, ())
        self.register_buffer("intercept", as_tensor(constant))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Logistic:
        """Return the model that ``arrays`` described.

        Raises:
            UsageError: if an array is missing, or there are others.
        """
        if set(arrays) != {"coefficients", "intercept"}:
            raise UsageError("A logistic model has the arrays 'coefficients' and 'intercept'.")
        return cls(arrays["coefficients"], arrays["intercept"])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logit of every row, (N,) float64, from inputs (N, D) float64."""
        rows = inputs.shape[0]
        terms = torch.cat([self.intercept.expand(rows, 1), inputs * self.coefficients], 1)
        return terms.cumsum(1)[:, -1]  # unlike a matrix product, the same for any number of rows

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays as they are stored."""
        return {name: buffer.cpu().numpy() for name, buffer in self.named_buffers()}

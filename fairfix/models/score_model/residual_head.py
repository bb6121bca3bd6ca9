"""A small head that adds to the logit of the network's score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.models.score_model.parts import Setting, as_tensor, checked_array
from fairfix.models.score_model.score_model import ScoreModel

_ARRAYS = ("hidden_weight", "hidden_bias", "output_weight", "output_bias")


class ResidualHead(ScoreModel):
    """Score and probability are logistic(z + head), where z is the logit of the network's score.

    The head is two linear layers on the inputs with a ReLU between them, in float64.

    Args:
        n_features, columns: see ``ScoreModel``.
        hidden_weight: (H, C + 1).
        hidden_bias: (H,).
        output_weight: (H,).
        output_bias: scalar.

    Raises:
        UsageError: if shapes do not fit, or a value is not finite.
    """

    kind = "head"

    def __init__(
        self,
        n_features: int,
        columns: Sequence[int] | np.ndarray,
        hidden_weight: Any,
        hidden_bias: Any,
        output_weight: Any,
        output_bias: Any,
    ) -> None:
        super().__init__(n_features, columns)
        width = len(np.atleast_1d(hidden_bias))
        checked = {
            "hidden_weight": checked_array(
                "hidden_weight", hidden_weight, np.float64, (width, self.n_inputs)
            ),
            "hidden_bias": checked_array("hidden_bias", hidden_bias, np.float64, (width,)),
            "output_weight": checked_array("output_weight", output_weight, np.float64, (width,)),
            "output_bias": checked_array("output_bias", output_bias, np.float64, ()),
        }
        self.tensors = {name: as_tensor(array) for name, array in checked.items()}

    def evaluate(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self.inputs(features, scores)
        tensors = self.tensors
        hidden = (inputs @ tensors["hidden_weight"].T + tensors["hidden_bias"]).relu()
        head = hidden @ tensors["output_weight"] + tensors["output_bias"]
        score = (inputs[:, -1] + head).sigmoid()
        return score, score

    def settings(self) -> dict[str, Setting]:
        return self.feature_settings()

    def arrays(self) -> dict[str, np.ndarray]:
        tensors = {"columns": self.columns, **self.tensors}
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    @classmethod
    def _from_parts(
        cls,
        n_features: int,
        columns: np.ndarray,
        settings: Mapping[str, Setting],
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        missing = [name for name in _ARRAYS if name not in arrays]
        if missing:
            raise UsageError(f"The array {missing[0]!r} is missing.")
        return cls(n_features, columns, *(arrays[name] for name in _ARRAYS))

"""The interface of a score model: from features and the network's score to the score decided on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import UsageError
from fairfix.models.score_model.parts import (
    Setting,
    as_tensor,
    checked_array,
    checked_count,
    checked_indices,
)

CLIP = 1e-6
"""The network's score is moved into [1e-6, 1 - 1e-6] before its logit is taken."""
_BATCH_ROWS = 16_384


@dataclass(frozen=True)
class ModeledScores:
    """What a score model gives for N rows.

    Attributes:
        score: (N,) float64 in [0, 1], compared with the thresholds of the rule.
        probability: (N,) float64 in [0, 1], calibrated probability of the favorable label.
    """

    score: Tensor
    probability: Tensor


class ScoreModel(ABC):
    """Maps the features of a row and the network's score to another score.

    The inputs of the model are some of the features and, last, the logit of the network's score.

    Args:
        n_features: D, inputs of the network.
        columns: (C,) indices of the features that the model reads; those that hold a protected
            attribute are left out.

    Raises:
        UsageError: if a column is out of range or given twice.
    """

    kind: ClassVar[str]

    def __init__(self, n_features: int, columns: Sequence[int] | np.ndarray) -> None:
        read = checked_array("columns", np.asarray(columns, np.int64), np.int64, (-1,))
        checked_indices("columns", read, n_features)
        if len(np.unique(read)) != len(read):
            raise UsageError("The array 'columns' has an index twice.")
        self.n_features = n_features
        self.columns = as_tensor(read)

    @abstractmethod
    def evaluate(self, features: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return score and probability, (N,) float64 each, on the CPU; can be traced."""

    @abstractmethod
    def settings(self) -> dict[str, Setting]:
        """Return the numbers that are written into the rule."""

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays that are written with the rule."""

    @classmethod
    @abstractmethod
    def _from_parts(
        cls,
        n_features: int,
        columns: np.ndarray,
        settings: Mapping[str, Setting],
        arrays: Mapping[str, np.ndarray],
    ) -> Self:
        """Return the model with these settings and arrays, each checked."""

    @classmethod
    def from_parts(cls, settings: Mapping[str, Setting], arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the model that has these settings and arrays.

        Raises:
            UsageError: if one is missing or out of range, or there are others.
        """
        columns = checked_array("columns", arrays.get("columns", ()), np.int64, (-1,))
        found = cls._from_parts(checked_count(settings, "n_features"), columns, settings, arrays)
        other = (settings.keys() ^ found.settings().keys()) | (
            arrays.keys() ^ found.arrays().keys()
        )
        if other:
            raise UsageError(f"A score model of kind {cls.kind!r} has no {sorted(other)[0]!r}.")
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreModel) or type(other) is not type(self):
            return False
        mine, others = self.arrays(), other.arrays()
        return (
            self.settings() == other.settings()
            and mine.keys() == others.keys()
            and all(np.array_equal(mine[name], others[name]) for name in mine)
        )

    __hash__ = None  # type: ignore[assignment]

    @torch.no_grad()
    def apply(self, features: Tensor, scores: Tensor) -> ModeledScores:
        """Return score and probability of every row.

        The model is evaluated on the CPU, so that all devices give the same.

        Args:
            features: (N, D), the inputs of the network.
            scores: (N,) in [0, 1], the network's scores.

        Raises:
            UsageError: if the number of features differs, or a score is NaN.
        """
        if features.dim() != 2 or features.shape[1] != self.n_features:
            raise UsageError(
                f"The rule's score model reads {self.n_features} features a row, but the rows have "
                f"shape {tuple(features.shape[1:])}. Use the rule written for this network."
            )
        parts = [
            self.evaluate(rows.cpu(), given.cpu())
            for rows, given in zip(
                features.split(_BATCH_ROWS), scores.split(_BATCH_ROWS), strict=True
            )
        ]
        score, probability = (
            torch.cat(part).to(scores.device) for part in zip(*parts, strict=True)
        )
        undefined = int((score.isnan() | probability.isnan()).sum())
        if undefined:
            raise UsageError(
                f"The rule's score model gives no number for {undefined} of {len(score)} rows. "
                "Restore the files that were written together, or debias again."
            )
        return ModeledScores(score, probability)

    def inputs(self, features: Tensor, scores: Tensor) -> Tensor:
        """Return the inputs of the model, (N, C + 1) float64."""
        logit = scores.double().clamp(CLIP, 1 - CLIP).logit()
        return torch.cat([features.double()[:, self.columns], logit[:, None]], 1)

    @property
    def n_inputs(self) -> int:
        """C + 1, the columns and the logit."""
        return len(self.columns) + 1

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
from fairfix.models.embeddings import embeddings
from fairfix.models.inputs import Inputs
from fairfix.models.score_model.parts import (
    Setting,
    as_tensor,
    checked_array,
    checked_count,
    checked_indices,
)
from fairfix.models.scorer import Scorer

EMBEDDINGS = "embeddings"
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
        n_features: D, inputs of the network, or entries of its embeddings.
        columns: (C,) indices of the features that the model reads; those that hold a protected
            attribute are left out.

    Raises:
        UsageError: if a column is out of range or given twice.
    """

    kind: ClassVar[str]
    reads_embeddings = False
    """Whether the features are embeddings by the network, not its inputs."""

    def __init__(self, n_features: int, columns: Sequence[int] | np.ndarray) -> None:
        read = checked_array("columns", np.asarray(columns, np.int64), np.int64, (-1,))
        checked_indices("columns", read, n_features)
        if len(np.unique(read)) != len(read):
            raise UsageError("The array 'columns' has an index twice.")
        self.n_features = n_features
        self.columns = as_tensor(read)

    def of_embeddings(self, reads: bool = True) -> Self:
        """Return the model, whose features are embeddings (``fairfix.models.embeddings``)."""
        self.reads_embeddings = reads
        return self

    def features(self, inputs: Inputs | None, scorer: Scorer | None) -> Tensor:
        """Return the features of rows (N, D).

        Raises:
            UsageError: if inputs or network are missing, or the inputs are not columns of numbers.
            CheckpointError: if the network has no embeddings.
        """
        if inputs is None or (self.reads_embeddings and scorer is None):
            raise UsageError(
                "The rule has a score model, which reads the inputs of the network, and here are "
                "only scores. Give the model and a table with its inputs."
            )
        if self.reads_embeddings and scorer is not None:
            return embeddings(scorer, inputs)
        if inputs.flat is None:
            raise UsageError(
                "The rule has a score model that reads columns of numbers, but the network takes "
                f"{', '.join(inputs.keys)}. Use the rule written for this network."
            )
        return inputs.flat

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
        reads = settings.get("features")
        if reads not in (None, EMBEDDINGS):
            raise UsageError(f"The setting 'features' must be {EMBEDDINGS!r}, not {reads!r}.")
        found.of_embeddings(reads == EMBEDDINGS)
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
            features: (N, D), the inputs of the network, or its embeddings.
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

    def feature_settings(self) -> dict[str, Setting]:
        """Return the settings that say what the features are."""
        kind = {"features": EMBEDDINGS} if self.reads_embeddings else {}
        return {"n_features": self.n_features, **kind}

    @property
    def n_inputs(self) -> int:
        """C + 1, the columns and the logit."""
        return len(self.columns) + 1

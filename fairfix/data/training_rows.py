"""Rows that a network learns from, apart from those on which candidates are chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.lengths import unequal_lengths
from fairfix.errors import TableError
from fairfix.models.inputs import Inputs


@dataclass(frozen=True, repr=False)
class TrainingRows:
    """T labeled rows for the gradients, influences and losses of a method.

    They need no groups; ``Problem.learning_rows`` refuses rows without them where a method does.

    Attributes:
        inputs: of the network, on the problem's device as all tensors are.
        scores: (T,) in [0, 1], the unmodified network's probability of the favorable outcome.
        labels: (T,) int64, 1 = favorable, 0 = unfavorable.
        groups: (T,) int64, numbered as those of the problem; None if they are not known.
        weights: (T,) row weights as in ``Problem``; None counts every row once.
        ids: (T,) strings that identify the rows, for fingerprints; None if the rows have none.

    Raises:
        TableError: there are no rows, the lengths differ, or a label is not 0 or 1.
    """

    inputs: Inputs
    scores: Tensor
    labels: Tensor
    groups: Tensor | None = None
    weights: Tensor | None = None
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise TableError("There are no training rows; leave them out or add rows.")
        names = ("inputs", "scores", "labels", "groups", "weights", "ids")
        if lengths := unequal_lengths({name: getattr(self, name) for name in names}):
            raise TableError(
                f"Lengths of the training rows differ: {lengths}. Each needs one entry per row."
            )
        if not bool(((self.labels == 0) | (self.labels == 1)).all()):
            raise TableError("Labels of training rows must be 0 or 1.")

    def __len__(self) -> int:
        """Return the number of rows, T."""
        return len(self.scores)

    def __repr__(self) -> str:
        return f"<TrainingRows: {len(self):,} rows, {'no ' if self.groups is None else ''}groups>"

    def to(self, device: torch.device) -> TrainingRows:
        """Return the rows on a device."""
        return replace(
            self,
            inputs=self.inputs.to(device),
            scores=self.scores.to(device),
            labels=self.labels.to(device),
            groups=None if self.groups is None else self.groups.to(device),
            weights=None if self.weights is None else self.weights.to(device),
        )

    @property
    def features(self) -> Tensor | None:
        """The matrix (T, D) float32 of the inputs; None if the network takes anything else."""
        return self.inputs.flat

    @property
    def labeled(self) -> bool:
        """Training rows always have labels."""
        return True

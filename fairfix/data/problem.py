"""The rows a method may see, checked once when made."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import TableError
from fairfix.metrics.rates import Counts, cells, count_cells, design_effect
from fairfix.models.scorer import Scorer


@dataclass(frozen=True)
class Problem:
    """A trained classifier and group-labeled rows.

    Attributes:
        scores: (N,) float32 in [0, 1], P(favorable) of the untouched network.
        labels: (N,) int64, 1 = favorable.
        groups: (N,) int64 in 0..G-1; of two, 0 is unprivileged and 1 privileged.
        group_names: G names.
        scorer: the network; None when only its scores are known.
        features: (N, D) float32, the network's input; None with ``scorer`` None.
        weights: (N,) non-negative row weights, or None.
        threshold: the cut deployed today, in [-1, 1].
        ids: (N,) what tells a row from others, for rules that draw lots; None where nothing does.

    Raises:
        TableError: no rows, lengths that differ, values out of range, fewer than two groups, a
            group without rows, or rows of one label only.
    """

    scores: Tensor
    labels: Tensor
    groups: Tensor
    group_names: tuple[str, ...]
    scorer: Scorer | None = None
    features: Tensor | None = None
    weights: Tensor | None = None
    threshold: float = 0.5
    ids: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.scores)
        if n == 0:
            raise TableError("There are no rows.")
        parts = (self.labels, self.groups, self.features, self.weights)
        if any(part is not None and len(part) != n for part in parts):
            raise TableError("Scores, labels, groups, features and weights differ in length.")
        if not bool(((self.scores >= 0) & (self.scores <= 1)).all()):
            raise TableError("Scores must be probabilities: some are NaN or lie outside [0, 1].")
        if not bool(((self.labels == 0) | (self.labels == 1)).all()):
            raise TableError("Labels must be 0 or 1.")
        if self.weights is not None and not _are_weights(self.weights):
            raise TableError("Row weights must be finite, not negative, and not all 0.")
        if len(self.group_names) < 2:
            raise TableError("A fairness gap needs at least two groups.")
        if int(self.groups.min()) < 0 or int(self.groups.max()) >= self.n_groups:
            raise TableError("Group ids must lie in 0..G-1.")
        sizes = torch.bincount(self.groups, minlength=self.n_groups)
        if int(sizes.min()) == 0:
            name = self.group_names[int(sizes.argmin())]
            raise TableError(f"Group {name!r} has no rows; every group needs some.")
        if int(self.labels.min()) == int(self.labels.max()):
            raise TableError("All rows here have the same label; both are needed.")

    @property
    def n_groups(self) -> int:
        return len(self.group_names)

    def __len__(self) -> int:
        return len(self.scores)

    def counts(self, decisions: Tensor) -> Counts:
        """Counts by group of decisions (..., N), hard or soft."""
        return count_cells(decisions, self.cells, self._design_effect)

    @cached_property
    def cells(self) -> Tensor:
        """(N, 2 G) float64: each row's weight in its cell of group and label (``rates.cells``)."""
        return cells(self.labels, self.groups, self.n_groups, self.weights)

    @cached_property
    def _design_effect(self) -> Tensor | float:
        return design_effect(self.groups, self.n_groups, self.weights)

    def network(self) -> tuple[Scorer, Tensor]:
        """A copy of the scorer, all of whose parameters may be changed, and the features (N, D).

        Raises:
            TableError: when the problem has scores alone.
        """
        if self.scorer is None or self.features is None:
            raise TableError("This method changes the network's weights and needs a model.")
        return copy.deepcopy(self.scorer).eval().requires_grad_(), self.features

    def take(self, index: Tensor) -> Problem:
        """The problem on a subset of its rows."""
        return replace(
            self,
            scores=self.scores[index],
            labels=self.labels[index],
            groups=self.groups[index],
            features=None if self.features is None else self.features[index],
            weights=None if self.weights is None else self.weights[index],
            ids=None if self.ids is None else self.ids[index.cpu().numpy()],
        )


def _are_weights(weights: Tensor) -> bool:
    return bool((weights.isfinite() & (weights >= 0)).all() and weights.any())

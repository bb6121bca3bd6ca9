"""Choosing a cut on a grid of 101, as the public research code does it, in plain numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor

CUTS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Rows:
    """N rows: features (N, D) or None, labels and groups (N,) of 0 and 1; 1 = privileged.

    Every group has rows, and of label 1 too where ``metric`` is "eod".
    """

    labels: Tensor
    groups: Tensor
    metric: Literal["spd", "eod"] = "spd"
    features: Tensor | None = None

    @cached_property
    def counted(self) -> tuple[Tensor, Tensor]:
        """(N,) bool: the unprivileged and the privileged rows whose mean decision is compared."""
        seen = torch.ones_like(self.labels) if self.metric == "spd" else self.labels
        return (seen == 1) & (self.groups == 0), (seen == 1) & (self.groups == 1)

    def gap(self, decisions: NDArray[np.bool_]) -> float:
        """The difference between the groups of decisions (N,)."""
        unprivileged, privileged = (mask.numpy() for mask in self.counted)
        return float(decisions[unprivileged].mean() - decisions[privileged].mean())

    def soft_gap(self, scores: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """The same of the scores of some rows, differentiable."""
        unprivileged, privileged = (mask[rows] for mask in self.counted)
        return scores[unprivileged].mean() - scores[privileged].mean()


@dataclass(frozen=True)
class Judged:
    """What a cut does on rows."""

    cut: float
    bias: float
    performance: float


def most_accurate_cut(scores: NDArray[np.float32], rows: Rows) -> Judged:
    """The cut of the grid with the best balanced accuracy, whatever its bias."""
    labels = rows.labels.numpy()
    performances = [balanced_accuracy_score(labels, scores > cut) for cut in CUTS]
    best = int(np.argmax(performances))
    return Judged(CUTS[best], rows.gap(scores > CUTS[best]), performances[best])


def constrained_cut(scores: NDArray[np.float32], rows: Rows, limit: float) -> Judged:
    """The cut of the grid with the best balanced accuracy among those with abs(bias) < limit.

    The first cut where there is none.
    """
    labels = rows.labels.numpy()
    judged = [
        Judged(cut, rows.gap(scores > cut), balanced_accuracy_score(labels, scores > cut))
        for cut in CUTS
    ]
    return max(judged, key=lambda one: one.performance if abs(one.bias) < limit else 0.0)


def counted_cut(scores: NDArray[np.float32], rows: Rows, limit: float) -> Judged:
    """``constrained_cut`` with plain counts in the place of scikit-learn."""
    positive = rows.labels.numpy() == 1
    n_positive = np.count_nonzero(positive)
    best = Judged(0.0, math.nan, 0.0)
    for cut in CUTS:
        decisions = scores > cut
        hits = np.count_nonzero(decisions & positive)
        false_alarms = np.count_nonzero(decisions) - hits
        tpr, fpr = hits / n_positive, false_alarms / (len(positive) - n_positive)
        bias, performance = rows.gap(decisions), (tpr + 1 - fpr) / 2
        if abs(bias) < limit and performance > best.performance:
            best = Judged(cut, bias, performance)
    return best

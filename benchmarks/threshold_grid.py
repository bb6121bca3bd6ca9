"""The public research code's choice of a threshold on a grid of 101, in plain numpy."""

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

THRESHOLDS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class LabeledRows:
    """N rows: features (N, D) or None, labels and groups (N,) of 0 and 1; 1 = privileged.

    Every group has rows; if ``metric`` is "eod", every group has rows of label 1.
    """

    labels: Tensor
    groups: Tensor
    metric: Literal["spd", "eod"] = "spd"
    features: Tensor | None = None

    @cached_property
    def counted(self) -> tuple[Tensor, Tensor]:
        """Masks (N,) of the unprivileged and the privileged rows that the metric compares."""
        used = torch.ones_like(self.labels) if self.metric == "spd" else self.labels
        return (used == 1) & (self.groups == 0), (used == 1) & (self.groups == 1)

    def gap(self, decisions: NDArray[np.bool_]) -> float:
        """Return the difference between the groups' mean decisions, given decisions (N,)."""
        unprivileged, privileged = (mask.numpy() for mask in self.counted)
        return float(decisions[unprivileged].mean() - decisions[privileged].mean())

    def soft_gap(self, scores: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the difference between the groups' mean scores, differentiable."""
        unprivileged, privileged = (mask[rows] for mask in self.counted)
        return scores[unprivileged].mean() - scores[privileged].mean()


@dataclass(frozen=True)
class GridResult:
    """Bias and balanced accuracy of a threshold on rows."""

    threshold: float
    bias: float
    performance: float


def most_accurate_threshold(scores: NDArray[np.float32], rows: LabeledRows) -> GridResult:
    """Return the grid threshold with the best balanced accuracy, regardless of its bias."""
    labels = rows.labels.numpy()
    performances = [balanced_accuracy_score(labels, scores > threshold) for threshold in THRESHOLDS]
    best = int(np.argmax(performances))
    return GridResult(THRESHOLDS[best], rows.gap(scores > THRESHOLDS[best]), performances[best])


def constrained_threshold(
    scores: NDArray[np.float32], rows: LabeledRows, limit: float
) -> GridResult:
    """Return the grid threshold with the best balanced accuracy among those with abs(bias) < limit.

    Returns the first threshold if there is none.
    """
    labels = rows.labels.numpy()
    results = [
        GridResult(
            threshold,
            rows.gap(scores > threshold),
            balanced_accuracy_score(labels, scores > threshold),
        )
        for threshold in THRESHOLDS
    ]
    return max(results, key=lambda one: one.performance if abs(one.bias) < limit else 0.0)


def counted_threshold(scores: NDArray[np.float32], rows: LabeledRows, limit: float) -> GridResult:
    """Return the same as ``constrained_threshold``, with plain counts instead of scikit-learn."""
    positive = rows.labels.numpy() == 1
    n_positive = np.count_nonzero(positive)
    best = GridResult(0.0, math.nan, 0.0)
    for threshold in THRESHOLDS:
        decisions = scores > threshold
        true_positives = np.count_nonzero(decisions & positive)
        false_positives = np.count_nonzero(decisions) - true_positives
        tpr, fpr = true_positives / n_positive, false_positives / (len(positive) - n_positive)
        bias, performance = rows.gap(decisions), (tpr + 1 - fpr) / 2
        if abs(bias) < limit and performance > best.performance:
            best = GridResult(threshold, bias, performance)
    return best

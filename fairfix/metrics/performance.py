"""Performance of decisions and scores over all groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.metrics.counts import Counts
from fairfix.metrics.rates import (
    accuracy_rate,
    false_positive_rate,
    jaccard_index,
    positive_predictive_value,
    selection_rate,
    true_positive_rate,
)


@dataclass(frozen=True)
class Performance:
    """A performance measure; called on counts (..., G), it gives (...) in [0, 1], or NaN.

    Attributes:
        key: identifier for options and reports.
        title: name in words.
        of_counts, of_variance: value and sampling variance from counts of all rows (..., 1).
        counterpart: key of the measure that is lost where trivial decisions are as good as any;
            empty if they are not.
        of_scores: whether it depends on scores alone, so that no threshold changes it.
    """

    key: str
    title: str
    of_counts: Callable[[Counts], Tensor]
    of_variance: Callable[[Counts], Tensor]
    counterpart: str = ""
    of_scores: bool = False

    def __call__(self, counts: Counts) -> Tensor:
        value = self.of_counts(counts.total()).squeeze(-1)
        return value if counts.labeled else torch.full_like(value, torch.nan)

    def variance(self, total: Counts) -> Tensor:
        """Sampling variance, (..., 1), for counts of all groups together (..., 1)."""
        return self.of_variance(total)


def balanced_accuracy(c: Counts) -> Tensor:
    """Mean of the true positive and the true negative rate."""
    return (true_positive_rate(c).value + 1 - false_positive_rate(c).value) / 2


def accuracy(c: Counts) -> Tensor:
    """P(decision = label)."""
    return accuracy_rate(c).value


def f1(c: Counts) -> Tensor:
    """Harmonic mean of precision and recall; 0 without true positives."""
    return 2 * c.tp / (2 * c.tp + c.fp + c.fn)


def precision(c: Counts) -> Tensor:
    """P(label = 1 | decision = 1); NaN if no row is selected."""
    return positive_predictive_value(c).value


def recall(c: Counts) -> Tensor:
    """P(decision = 1 | label = 1)."""
    return true_positive_rate(c).value


def _balanced_accuracy_variance(total: Counts) -> Tensor:
    return (true_positive_rate(total).variance + false_positive_rate(total).variance) / 4


def _accuracy_variance(total: Counts) -> Tensor:
    return accuracy_rate(total).variance


def _f1_variance(total: Counts) -> Tensor:
    """F1 = 2 J / (1 + J), where J = tp / (tp + fp + fn) is a share of rows (delta method)."""
    jaccard = jaccard_index(total)
    return (2 / (1 + jaccard.value) ** 2) ** 2 * jaccard.variance


def _precision_variance(total: Counts) -> Tensor:
    return positive_predictive_value(total).variance


def _recall_variance(total: Counts) -> Tensor:
    return true_positive_rate(total).variance


PERFORMANCES: dict[str, Performance] = {
    measure.key: measure
    for measure in (
        Performance(
            "balanced_accuracy",
            "balanced accuracy",
            balanced_accuracy,
            _balanced_accuracy_variance,
        ),
        Performance("accuracy", "accuracy", accuracy, _accuracy_variance),
        Performance("f1", "F1 score", f1, _f1_variance),
        Performance("precision", "precision", precision, _precision_variance, "recall"),
        Performance("recall", "recall", recall, _recall_variance, "precision"),
    )
}


class _Auc(Performance):
    """The area under the ROC curve of the scores that are decided; NaN where it is unknown."""

    def __call__(self, counts: Counts) -> Tensor:
        unknown = torch.full_like(counts.tp[..., 0], torch.nan)
        return unknown if counts.auc is None else unknown.copy_(counts.auc)


def _unknown(counts: Counts) -> Tensor:
    return torch.full_like(counts.tp, torch.nan)


AUC = _Auc(
    "auc", "area under the ROC curve", _unknown, _unknown, "balanced_accuracy", of_scores=True
)
GOALS: dict[str, Performance] = {**PERFORMANCES, AUC.key: AUC}
"""The measures that a search can maximize."""


def without_limits(performance: Performance) -> Performance:
    """Return the measure that a threshold is chosen by without limits, for comparison.

    It is balanced accuracy in place of a measure that no threshold changes, or that is largest at
    trivial decisions.
    """
    return PERFORMANCES["balanced_accuracy"] if performance.counterpart else performance


TRIVIAL_SHARE = 0.02


def is_trivial(counts: Counts) -> bool:
    """Whether fewer than 2 % of the rows are decided unlike the rest.

    Such a rule meets any budget, at balanced accuracy near 0.5.
    """
    share = float(selection_rate(counts.total()).value)
    return not TRIVIAL_SHARE <= share <= 1 - TRIVIAL_SHARE


def auc_by_group(
    scores: Tensor, labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None
) -> Tensor:
    """Area under the ROC curve of each group, (n_groups,), ties counted one half.

    NaN where a group has rows of one label only. ``scores`` (N,).
    """
    w = torch.ones_like(scores, dtype=torch.float64) if weights is None else weights.double()
    return torch.stack(
        [_auc(scores[groups == g], labels[groups == g], w[groups == g]) for g in range(n_groups)]
    )


def _auc(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    values, rank = scores.unique(return_inverse=True)
    zeros = torch.zeros(len(values), dtype=torch.float64, device=scores.device)
    positive = zeros.index_add(0, rank, weights * labels)
    negative = zeros.index_add(0, rank, weights * (1 - labels))
    below = negative.cumsum(0) - negative
    return (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())

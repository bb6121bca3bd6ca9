"""Losses of fine-tuning: balanced cross-entropy with a penalty on the groups, on a minibatch.

Sources: Cherepanova and others 2021, equations 2 to 7, for ``equal-loss``, ``eqodds``, ``di`` and
``min-max``; the gap in the area under the ROC curve, which they report, for ``aucd``; Sagawa and
others 2020, algorithm 1, for ``group-dro``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.rates import false_positive_rate, selection_rate, true_positive_rate

TEMPERATURE = 0.5

Penalty = Literal["gap", "equal-loss", "eqodds", "di", "aucd", "min-max", "group-dro"]


@dataclass(frozen=True)
class Minibatch:
    """B rows and what the network says of them.

    Attributes:
        logits: (B,) of the scores.
        favorable: (B,) probabilities of the favorable label.
        weight: (B,) importance of the rows, with a sum of about 1.
        membership: (B, G), 1 in the column of the row's group, else 0.
        base_rate: share of favorable labels among all rows.
    """

    logits: Tensor
    favorable: Tensor
    weight: Tensor
    membership: Tensor
    base_rate: float

    @cached_property
    def weighted_entropy(self) -> Tensor:
        """(B,) balanced cross-entropy of each row, times its weight."""
        entropy = self.favorable * softplus(-self.logits) / (2 * self.base_rate)
        return self.weight * (
            entropy + (1 - self.favorable) * softplus(self.logits) / (2 * (1 - self.base_rate))
        )

    @property
    def entropy(self) -> Tensor:
        """Balanced cross-entropy of all rows."""
        return self.weighted_entropy.sum()

    @property
    def group_losses(self) -> Tensor:
        """(G,) mean balanced cross-entropy of the rows of each group."""
        return (self.weighted_entropy @ self.membership) / (self.weight @ self.membership)

    @property
    def counts(self) -> Counts:
        """Counts by group with sigmoid(logit / 0.5) in place of decisions."""
        decision = torch.sigmoid(self.logits / TEMPERATURE)
        return Counts(
            *(
                (self.weight * label * side) @ self.membership
                for label, side in (
                    (self.favorable, decision),
                    (1 - self.favorable, decision),
                    (self.favorable, 1 - decision),
                    (1 - self.favorable, 1 - decision),
                )
            )
        )


Loss = Callable[[Minibatch], Tensor]


def loss_of(penalty: Penalty, alpha: float, metric: Metric) -> Loss:
    """Return the loss of a training run; that of ``group-dro`` keeps weights between minibatches.

    Args:
        penalty: "gap" adds alpha times the metric, and is "aucd" for the AUC difference;
            "equal-loss" adds alpha times the range of the group losses; "eqodds" alpha times the
            ranges of the true and the false positive rates; "di" subtracts alpha times the smallest
            selection rate divided by the largest; "aucd" adds alpha times the range of the areas
            under the ROC curve. "min-max" is the largest group loss alone, "group-dro" the group
            losses weighted by exponentials with the step size alpha.
        metric: of the gap.
    """
    if penalty == "gap" and not metric.of_scores:
        return lambda rows: rows.entropy + alpha * metric(rows.counts).size
    if penalty == "min-max":
        return lambda rows: rows.group_losses.max()
    if penalty == "group-dro":
        return _GroupDro(alpha)
    part = _PENALTIES["aucd" if penalty == "gap" else penalty]
    return lambda rows: rows.entropy + alpha * part(rows)


def _equal_loss(rows: Minibatch) -> Tensor:
    return _range(rows.group_losses)


def _equalized_odds(rows: Minibatch) -> Tensor:
    counts = rows.counts
    return _range(true_positive_rate(counts).value) + _range(false_positive_rate(counts).value)


def _disparate_impact(rows: Minibatch) -> Tensor:
    rates = selection_rate(rows.counts).value
    return -rates.min() / rates.max()


def _auc_difference(rows: Minibatch) -> Tensor:
    """Return the range of the soft areas under the ROC curve, from all pairs within a group."""
    ordered = torch.sigmoid((rows.logits[:, None] - rows.logits) / TEMPERATURE)
    favorable, other = (
        (rows.weight * share)[:, None] * rows.membership
        for share in (rows.favorable, 1 - rows.favorable)
    )
    pairs = favorable.sum(0) * other.sum(0)
    return _range((favorable * (ordered @ other)).sum(0) / pairs)


_PENALTIES: dict[str, Loss] = {
    "equal-loss": _equal_loss,
    "eqodds": _equalized_odds,
    "di": _disparate_impact,
    "aucd": _auc_difference,
}


class _GroupDro:
    """The group losses with weights that grow exponentially with the loss of their group."""

    def __init__(self, step: float) -> None:
        self._step = step
        self._weights: Tensor | None = None

    def __call__(self, rows: Minibatch) -> Tensor:
        losses = rows.group_losses
        now = losses.detach().double()
        before = torch.ones_like(now) if self._weights is None else self._weights
        self._weights = torch.softmax(before.log() + self._step * now, 0)
        return self._weights.to(losses.dtype) @ losses


def _range(values: Tensor) -> Tensor:
    return values.max() - values.min()

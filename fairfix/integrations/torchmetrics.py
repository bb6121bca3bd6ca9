"""torchmetrics: a fairness gap from counts, which add up over batches and processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from fairfix import metrics
from fairfix._utils.optional_packages import needed_for
from fairfix.errors import UsageError
from fairfix.metrics.counts import Counts
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.verdicts import Claim, claim

with needed_for("GroupGap", "torchmetrics", "torchmetrics"):
    import torchmetrics


class GroupGap(torchmetrics.Metric):
    """The gap of a fairness metric between groups, with its sign, as ``fairfix.audit`` gives it.

    The states are true and false positives and negatives by group, as whole numbers.

    Args:
        metric: key of the fairness metric, from ``fairfix.metrics.names()``.
        groups: names of the groups, in the order of their numbers; of two, the unprivileged one
            comes first.
        threshold: a score above it is a positive decision.
        options: those of ``torchmetrics.Metric``.

    Raises:
        UsageError: if the metric is unknown, there are fewer than two groups or two of the same
            name, or the threshold is not finite.

    Example:
        >>> gap = GroupGap("spd", groups=["f", "m"])
        >>> scores, groups = torch.tensor([0.2, 0.7, 0.6, 0.9]), torch.tensor([0, 0, 1, 1])
        >>> gap.update(scores, torch.ones(4), groups)
        >>> float(gap.compute())
        -0.5
    """

    is_differentiable = False
    full_state_update = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0
    counts: Tensor

    def __init__(
        self,
        metric: str = "spd",
        *,
        groups: Sequence[str] = ("0", "1"),
        threshold: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if len(groups) < 2:
            raise UsageError("A gap needs at least two groups; name them in groups.")
        if len(set(groups)) < len(groups):
            raise UsageError("Two groups have the same name; name every group differently.")
        if not math.isfinite(threshold):
            raise UsageError(f"The threshold must be a finite number, not {threshold}.")
        self.metric = metrics.get(metric)
        self.groups = tuple(groups)
        self.threshold = threshold
        self.add_state("counts", torch.zeros(4, len(groups)).long(), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor, groups: Tensor) -> None:
        """Count rows.

        Args:
            preds: (N,) scores in [0, 1], or decisions: bool, or integers 0 and 1.
            target: (N,) labels 0 and 1; 1 is favorable.
            groups: (N,) numbers of the groups, from 0.

        Raises:
            UsageError: if the lengths differ or a value is out of range.
        """
        preds, target, groups = (values.detach().flatten() for values in (preds, target, groups))
        if not len(preds) == len(target) == len(groups):
            raise UsageError(
                f"There are {len(preds)} predictions, {len(target)} labels and {len(groups)} "
                "groups; give one of each per row."
            )
        if not bool(((preds >= 0) & (preds <= 1)).all()):
            raise UsageError(
                "Predictions must be scores in [0, 1] or decisions; apply sigmoid or softmax to "
                "logits."
            )
        if not bool(((target == 0) | (target == 1)).all()):
            raise UsageError("Labels must be 0 or 1; encode the favorable value as 1.")
        numbers = groups.long()
        if not bool(((groups == numbers) & (numbers >= 0) & (numbers < len(self.groups))).all()):
            raise UsageError(
                f"Groups must be numbers from 0 to {len(self.groups) - 1}; name more in groups."
            )
        decided = preds == 1
        if preds.is_floating_point():  # in at least float32, in which rules compare scores
            decided = preds.to(torch.promote_types(preds.dtype, torch.float32)) > self.threshold
        cells = 2 * decided.long() + (target == 1).long()
        places = cells * len(self.groups) + numbers
        self.counts += torch.bincount(places, minlength=self.counts.numel()).view_as(self.counts)

    def set_dtype(self, dst_type: str | torch.dtype) -> Self:
        """Keep the counts as they are; another type would round them."""
        return self

    def compute(self) -> Tensor:
        """Return the value, NaN if a rate is undefined."""
        value = self.metric(self._counted()).value
        double = self.device.type != "mps"  # which lacks float64
        return value.to(self.device, torch.float64 if double else torch.float32)

    def claim(self, budget: float = 0.05, confidence: float = 0.95) -> Claim:
        """Test the gap of all rows of all processes against a budget.

        Args:
            budget: largest allowed absolute gap, in (0, 1).
            confidence: 1 - alpha of each one-sided test, in (0.5, 1).

        Returns:
            The claim with ``value``, ``interval`` and ``verdict``.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            counts = self._counted()
        level = ConfidenceLevel(confidence)
        return claim(self.metric.key, counts, self.groups, budget, confidence=level)

    def _counted(self) -> Counts:
        tn, fn, fp, tp = self.counts.cpu().double()
        return Counts(tp, fp, fn, tn)

"""Lightning: a callback that logs a fairness gap with its interval after every validation epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from fairfix._utils.optional_packages import needed_for
from fairfix.integrations._logged import logged
from fairfix.integrations.torchmetrics import GroupGap

with needed_for("GapCallback", "lightning", "lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class GapCallback(Callback):
    """Log ``val_<metric>``, and the limits of its interval as ``_low`` and ``_high``.

    The rows of all batches and processes count together.

    Args:
        read: takes what ``validation_step`` returned and the batch, and returns scores, labels and
            numbers of groups, (N,) each, as ``GroupGap`` takes them.
        metric: key of the fairness metric, from ``fairfix.metrics.names()``.
        groups: names of the groups in the order of their numbers; of two, the unprivileged one
            comes first.
        threshold: a score above it is a positive decision.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); the interval has 1 - 2 alpha.

    Raises:
        UsageError: if the metric is unknown or there are fewer than two groups.
    """

    def __init__(
        self,
        read: Callable[[Any, Any], tuple[Tensor, Tensor, Tensor]],
        metric: str = "spd",
        *,
        groups: Sequence[str] = ("0", "1"),
        threshold: float = 0.5,
        confidence: float = 0.95,
    ) -> None:
        super().__init__()
        self.read = read
        self.gap = GroupGap(metric, groups=groups, threshold=threshold)
        self.confidence = confidence

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of the last epoch."""
        self.gap.to(pl_module.device).reset()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count the rows of a batch."""
        self.gap.update(*self.read(outputs, batch))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the gap."""
        figures = logged(self.gap.claim(confidence=self.confidence), "val_")
        pl_module.log_dict(figures, sync_dist=True)  # equal on all processes

"""Check that rows without labels help a method."""

from __future__ import annotations

from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective

TAKE_UNLABELED = "blind", "finetune"
"""Methods that use unlabeled rows."""


def check_unlabeled(method: str, objective: Objective) -> None:
    """Raise ``UsageError`` unless unlabeled rows help this method and objective."""
    if method not in TAKE_UNLABELED:
        raise UsageError(
            f"{method} does not use unlabeled rows; remove --unlabeled, or choose "
            f"{' or '.join(TAKE_UNLABELED)}."
        )
    if objective.metric.needs_labels:
        raise UsageError(
            f"{objective.metric.key} depends on labels, so unlabeled rows do not sharpen it; "
            "remove --unlabeled, or use --metric spd."
        )
    if objective.performance.of_scores:
        raise UsageError(
            f"Unlabeled rows sharpen the gap at a threshold, and {objective.performance.key} has "
            "none; remove --unlabeled, or choose balanced_accuracy."
        )
    if objective.limits:
        raise UsageError(
            "Unlabeled rows sharpen one gap and cannot be combined with further limits; remove "
            "--unlabeled or the limits."
        )

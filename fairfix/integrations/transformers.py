"""transformers: a callback that logs a fairness gap with its interval after every epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from fairfix import metrics
from fairfix._utils.optional_packages import needed_for
from fairfix.errors import UsageError
from fairfix.integrations._logged import logged
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.verdicts import claim
from fairfix.workflows.api_read import load
from fairfix.workflows.library_messages import in_library_terms

with needed_for("GapCallback", "transformers", "huggingface"):
    from transformers import TrainerCallback

_BUDGET = 0.05  # any: no verdict is logged


class GapCallback(TrainerCallback):
    """Log ``eval_<metric>``, and the limits of its interval as ``_low`` and ``_high``.

    After every epoch the trainer predicts the rows, on all of its processes.

    Args:
        trainer: the ``Trainer`` to which the callback is added.
        rows: dataset of N rows with labels, as ``Trainer.predict`` takes it.
        groups: (N,) the group of each row.
        metric: key of the fairness metric, from ``fairfix.metrics.names()``.
        favorable: number of the favorable label.
        privileged: the privileged one of two groups; None infers it as ``fairfix.load`` does.
        threshold: a probability above it is a positive decision.
        confidence: 1 - alpha of each one-sided test, in (0.5, 1); the interval has 1 - 2 alpha.

    Raises:
        UsageError: if the metric is unknown or the confidence is out of range.
    """

    def __init__(
        self,
        trainer: Any,
        rows: Any,
        groups: ArrayLike,
        metric: str = "spd",
        *,
        favorable: int = 1,
        privileged: object = None,
        threshold: float = 0.5,
        confidence: float = 0.95,
    ) -> None:
        self.trainer = trainer
        self.rows = rows
        self.groups = np.asarray(groups)
        self.metric = metrics.get(metric)
        self.favorable = favorable
        self.privileged = privileged
        self.threshold = threshold
        self.confidence = ConfidenceLevel(confidence)

    @in_library_terms
    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Predict the rows and log the gap."""
        found = self.trainer.predict(self.rows)
        scores = favorable_probability(found.predictions, self.favorable)
        rows = {
            "score": scores,
            "label": (found.label_ids == self.favorable).astype(int),
            "group": self.groups,
        }
        problem = load(None, rows, score="score", privileged=self.privileged).problem
        counts = problem.counts(problem.scores > self.threshold)
        tested = claim(
            self.metric.key, counts, problem.group_names, _BUDGET, confidence=self.confidence
        )
        self.trainer.log(logged(tested, "eval_"))


def favorable_probability(logits: Any, favorable: int) -> NDArray[np.float64]:
    """Return the probability of the favorable label, (N,), from the outputs of a classifier.

    Args:
        logits: (N, K), one for each label; (N, 1) or (N,), that of label 1; or a tuple that begins
            with them.
        favorable: number of the favorable label.

    Raises:
        UsageError: if they have another shape, or the label has no output.
    """
    first = torch.as_tensor(logits[0] if isinstance(logits, tuple) else logits).double()
    if first.ndim == 2 and first.shape[1] > 1:
        if not 0 <= favorable < first.shape[1]:
            raise UsageError(
                f"The favorable label {favorable} is none of the {first.shape[1]} outputs; give "
                f"one from 0 to {first.shape[1] - 1}."
            )
        return first.softmax(1)[:, favorable].numpy()
    if first.ndim not in (1, 2) or favorable not in (0, 1):
        raise UsageError(
            f"Outputs of shape {tuple(first.shape)} are not one logit per label; give a model for "
            "the classification of whole rows."
        )
    positive = first.flatten().sigmoid()
    return (positive if favorable else 1 - positive).numpy()

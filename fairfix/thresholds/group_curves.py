"""ROC curves of groups, on which thresholds per group are searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import TableError
from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.counts import in_rows
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.rates import Rate
from fairfix.thresholds.shared import (
    ALL_POSITIVE,
    NONE_POSITIVE,
    allowed_positions,
    cumulative_counts,
)


@dataclass(frozen=True)
class Curve:
    """The ROC curve of one group in weighted counts, from none positive to all positive.

    Attributes:
        tp, fp: (K,) true and false positives at each threshold, ascending.
        threshold: (K,) descending, in [-1, 1].
        below, above: (K,) the scores between which each threshold lies.
        positives, negatives: scalars, the weighted rows with label 1 and 0.
        joint: (K, 2 J) true and false positives by joint group at each threshold, if there are
            several group columns.
    """

    tp: Tensor
    fp: Tensor
    threshold: Tensor
    below: Tensor
    above: Tensor
    positives: Tensor
    negatives: Tensor
    joint: Tensor | None = None

    def take(self, at: Tensor) -> Curve:
        """Return the thresholds with these indices."""
        tp, fp, threshold = self.tp[at], self.fp[at], self.threshold[at]
        below, above = self.below[at], self.above[at]
        joint = None if self.joint is None else self.joint[at]
        return Curve(tp, fp, threshold, below, above, self.positives, self.negatives, joint)

    def thinned(self, limit: int) -> Curve:
        """Return at most ``limit`` evenly spaced thresholds, both ends included."""
        k = len(self.tp)
        if k <= limit:
            return self
        return self.take(torch.linspace(0, k - 1, limit, device=self.tp.device).round().long())


def coordinates(metric: Metric, curve: Curve) -> tuple[Tensor, ...]:
    """Return the rates (K,) that a bound on the metric's gap keeps close between groups.

    They grow with every positive decision, which makes the search exact: a rate that falls is
    replaced by its complement, which differs between groups by as much.
    """
    rates = [_growing(rate, curve) for rate in metric.rates]
    if metric.contrast is Contrast.MEAN_DIFFERENCE:
        return (sum(rates[1:], rates[0]) / len(rates),)
    if metric.ratio:
        return (rates[0].log(),)
    return tuple(rates)


def _growing(rate: Rate, curve: Curve) -> Tensor:
    size = [{1: curve.positives, 0: curve.negatives}[label] for label in rate.labels]
    hits = [{1: curve.tp, 0: curve.fp}[label] for label in rate.labels]
    return sum(hits[1:], hits[0]) / sum(size[1:], size[0])


def group_curves(problem: Problem) -> list[Curve]:
    """Return the ROC curve of every group."""
    return [_curve(problem, g) for g in range(problem.n_groups)]


def _curve(problem: Problem, group: int) -> Curve:
    here = problem.groups == group
    own, labels = problem.scores[here].unsqueeze(0), problem.labels[here]
    weights = None if problem.weights is None else in_rows(problem.weights)[here]
    ordered, sums = cumulative_counts(own, labels, 2, weights)
    scores, (fp, tp) = ordered[0], sums[:, 0].double()
    inner = allowed_positions(ordered)[0, 1:-1].nonzero().squeeze(1) + 1
    ends = torch.tensor([0, len(scores)], device=inner.device)
    keep = torch.cat([ends[:1], inner, ends[1:]])
    joint = None
    if problem.columns is not None:
        cells = 2 * problem.columns.joint[here] + labels
        _, by_cell = cumulative_counts(own, cells, 2 * problem.columns.n_joint, weights)
        kept = by_cell[:, 0, keep].double().t()
        joint = torch.cat([kept[:, 1::2], kept[:, 0::2]], 1)
    above, below = scores[inner - 1].double(), scores[inner].double()
    middle = ((above + below) / 2).float().double()
    none, all_ = middle.new_tensor([NONE_POSITIVE]), middle.new_tensor([ALL_POSITIVE])
    return Curve(
        tp[keep],
        fp[keep],
        torch.cat([none, middle, all_]),
        torch.cat([scores[:1].double(), below, all_]),
        torch.cat([none + 1, above, scores[-1:].double()]),
        tp[-1],
        fp[-1],
        joint,
    )


def check_defined(curves: Sequence[Curve], metric: Metric, names: Sequence[str]) -> None:
    """Raise TableError if a group lacks the rows that the metric needs."""
    for curve, name in zip(curves, names, strict=True):
        for label, n in ((1, curve.positives), (0, curve.negatives)):
            if n == 0 and any(c.isnan().any() for c in coordinates(metric, curve)):
                raise TableError(
                    f"{metric.key} is undefined here: group {name!r} has no rows with label "
                    f"{label}. Add such rows or choose another metric."
                )

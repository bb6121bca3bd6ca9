"""Choose a shared threshold with further rows without labels, which sharpen selection rates."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, in_rows
from fairfix.metrics.objective import Objective
from fairfix.thresholds.shared import evaluate_all_thresholds


def best_threshold_with_unlabeled(
    problem: Problem, scores: Tensor, unlabeled_scores: Tensor, objective: Objective
) -> tuple[float, float]:
    """Return the largest utility of a shared threshold, and that threshold.

    Performance is measured on the labeled rows, the gap on all. ``Objective.k`` is the square root
    of 1 + n / m for the gap on m new rows after tuning on n: for u unlabeled rows it becomes that
    of n + u.

    Args:
        problem: n labeled rows, with the unlabeled ones.
        scores: (n,) in [0, 1].
        unlabeled_scores: (u,) in [0, 1].
        objective: without limits, for a metric that does not depend on labels.
    """
    assert problem.unlabeled is not None
    known = problem.unlabeled.groups >= 0
    unlabeled, unlabeled_scores = problem.unlabeled.grouped, unlabeled_scores[known]
    thresholds, counts = evaluate_all_thresholds(replace(problem, scores=scores, unlabeled=None))
    positive, total = _selected(unlabeled, unlabeled_scores, thresholds)
    selected = counts.tp + counts.fp + positive
    rejected = counts.fn + counts.tn + total - positive
    none = torch.zeros_like(selected)
    gap = objective.metric(Counts(selected, none, rejected, none, counts.design_effect))
    ratio = 1 + len(unlabeled) / len(problem.grouped)
    wider = replace(objective, k=objective.factor * math.sqrt((1 + ratio) / 2))
    utility = wider.utility(counts, gap=gap)
    at = int(utility.argmax())
    return float(utility[at]), float(thresholds[at])


def _selected(problem: Problem, scores: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of each group above every threshold (K, G), and all rows (G,)."""
    ordered, order = scores.double().sort()
    weights = torch.ones_like(ordered) if problem.weights is None else in_rows(problem.weights)
    groups = torch.nn.functional.one_hot(problem.groups[order], problem.n_groups)
    below = (weights[order][:, None] * groups).cumsum(0)
    below = torch.cat([torch.zeros_like(below[:1]), below])
    at = torch.searchsorted(ordered, thresholds.double(), right=True)
    return below[-1] - below[at], below[-1]

"""Figures of scores that an objective needs beside counts of decisions."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import auc_by_group


def with_score_figures(
    counts: Counts, problem: Problem, scores: Tensor, objective: Objective
) -> Counts:
    """Return the counts with the area under the ROC curve, if the objective needs it.

    Args:
        counts: of decisions on the rows of the problem.
        scores: (N,) that were decided.
    """
    if not objective.needs_auc:
        return counts
    together = torch.zeros_like(problem.groups)
    auc = auc_by_group(scores, problem.labels, together, 1, problem.weights)[0]
    return replace(counts, auc=auc)

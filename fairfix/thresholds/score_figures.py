"""Figures of scores that an objective needs beside counts of decisions."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.areas import GroupAreas, group_areas
from fairfix.metrics.counts import Counts, in_rows
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import auc_by_group


def with_score_figures(
    counts: Counts, problem: Problem, scores: Tensor, objective: Objective
) -> Counts:
    """Return the counts with the areas under the ROC curve that the objective needs.

    Args:
        counts: of decisions on the rows of the problem.
        scores: (N,) that were decided.
    """
    if objective.needs_auc:
        together = torch.zeros_like(problem.groups)
        auc = auc_by_group(scores, problem.labels, together, 1, problem.weights)[0]
        counts = replace(counts, auc=auc)
    if objective.needs_areas:
        counts = replace(counts, areas=areas_of(problem, scores))
    return counts


def areas_of(problem: Problem, scores: Tensor) -> GroupAreas:
    """Return the area under the ROC curve of each group, (G,), from scores (N,)."""
    weights = None if problem.weights is None else in_rows(problem.weights)
    return group_areas(
        scores.unsqueeze(0),
        problem.labels,
        problem.groups,
        problem.n_groups,
        weights,
        problem.design_effect,
    ).take(0)

"""The area under the ROC curve with the influence of every row, for paired comparisons."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.stats.auc_intervals import PlacementValues
from fairfix.stats.linearized_figures import LinearizedFigure


def of_auc(problem: Problem, scores: Tensor) -> LinearizedFigure:
    """Return the area of scores (N,) on the rows of a problem.

    The influences are the deviations of the placement values, whose sum of squares is DeLong's
    variance.
    """
    return _of_rows(problem, scores, np.ones(len(problem), dtype=bool))


def of_auc_gap(problem: Problem, scores: Tensor) -> LinearizedFigure:
    """Return the size of the AUC difference of scores (N,), between the extreme groups."""
    groups = problem.groups.cpu().numpy()
    by_group = [_of_rows(problem, scores, groups == g) for g in range(problem.n_groups)]
    values = np.array([each.value for each in by_group])
    if np.isnan(values).any():
        return LinearizedFigure(math.nan, np.zeros(len(problem)))
    return by_group[int(values.argmax())] - by_group[int(values.argmin())]


def auc_changes(problem: Problem, scores: Tensor) -> list[LinearizedFigure]:
    """Return the area of scores (N,) minus that of the problem's own scores, of each group."""
    groups = problem.groups.cpu().numpy()
    return [
        _of_rows(problem, scores, groups == g) - _of_rows(problem, problem.scores, groups == g)
        for g in range(problem.n_groups)
    ]


def _of_rows(problem: Problem, scores: Tensor, rows: NDArray[np.bool_]) -> LinearizedFigure:
    """Return the area of some rows; the others have no influence."""
    weights = None if problem.weights is None else problem.weights.cpu().numpy()[rows]
    placements = PlacementValues.from_scores(
        scores.cpu().numpy()[rows], problem.labels.cpu().numpy()[rows], weights
    )
    influence = np.zeros(len(problem))
    influence[rows] = placements.deviations[0]
    return LinearizedFigure(float(placements.auc[0]), influence)

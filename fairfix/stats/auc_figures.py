"""The area under the ROC curve with the influence of every row, for paired comparisons."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.stats.auc_intervals import PlacementValues
from fairfix.stats.linearized_figures import LinearizedFigure


def of_auc(problem: Problem, scores: Tensor) -> LinearizedFigure:
    """Return the area of scores (N,) on the rows of a problem.

    The influences are the deviations of the placement values, whose sum of squares is DeLong's
    variance.
    """
    labels = problem.labels.cpu().numpy()
    weights = None if problem.weights is None else problem.weights.cpu().numpy()
    placements = PlacementValues.from_scores(scores.cpu().numpy(), labels, weights)
    return LinearizedFigure(float(placements.auc[0]), np.asarray(placements.deviations[0]))

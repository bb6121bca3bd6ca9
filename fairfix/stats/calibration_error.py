"""Expected calibration error of scores, with the influence of every row."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.stats.intervals import Interval, few_clusters_alpha, normal_quantile
from fairfix.stats.linearized_figures import LinearizedFigure, weights_of
from fairfix.stats.performance_intervals import PerformanceEstimate, few_clusters_reason

BINS = 15
"""Of equal mass."""
METHOD = "linearized"


@dataclass(frozen=True)
class CalibrationError:
    """Mean over rows of abs(mean score - rate of favorable labels) by bin.

    Attributes:
        by_chance: its approximate value on as many rows if the scores were calibrated.
    """

    figure: LinearizedFigure
    by_chance: float


def calibration_error(problem: Problem, scores: Tensor) -> CalibrationError:
    """Return the expected calibration error of scores (N,), in 15 bins of equal mass.

    Equal scores share a bin. NaN without labels.
    """
    values = scores.detach().cpu().double().numpy()
    labels = problem.labels.cpu().double().numpy()
    if not problem.labeled:
        labels = np.full_like(labels, np.nan)
    weights = weights_of(problem).cpu().numpy()
    weights = weights / weights.sum()
    bins = _bins(values, weights)
    masses = np.bincount(bins, weights)
    differences = np.bincount(bins, weights * (values - labels))
    error = float(np.abs(differences).sum())
    influence = weights * (np.sign(differences)[bins] * (values - labels) - error)
    variances = np.bincount(bins, weights**2 * values * (1 - values))
    by_chance = float(np.sqrt(2 / np.pi * variances[masses > 0]).sum())
    return CalibrationError(LinearizedFigure(error, influence), by_chance)


def _bins(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the bin of each row, (N,) in 0..14; weights (N,) sum to 1."""
    distinct, position = np.unique(scores, return_inverse=True)
    mass = np.bincount(position, weights, len(distinct))
    middle = np.cumsum(mass) - mass / 2
    return np.asarray(np.minimum((middle * BINS).astype(int), BINS - 1)[position])


def calibration_error_estimate(problem: Problem) -> PerformanceEstimate:
    """Return the expected calibration error of a problem's probabilities with its interval.

    Chance alone raises the error, so its part by chance is subtracted from the lower limit.
    """
    given = problem.scores if problem.probabilities is None else problem.probabilities
    found = calibration_error(problem, given)
    value, deviation = found.figure.value, math.sqrt(found.figure.variance(problem.clusters))
    clusters = math.inf if problem.clusters is None else len(problem.clusters.unique())

    def interval(alpha: float) -> Interval:
        width = float(normal_quantile(few_clusters_alpha(alpha, clusters))) * deviation
        low, high = value - found.by_chance - width, value + width
        return Interval(max(0.0, low), min(1.0, high), METHOD)

    return PerformanceEstimate(value, interval, few_clusters_reason(clusters))

"""Figures of decisions and scores with the influence of every row, for paired comparisons.

A figure is a smooth function of weighted sums over rows. Its sampling error is, to first order, the
sum of the influences of the rows, so that the error of a difference of two figures on the same rows
is that of the differences of the influences. Rows of one cluster are summed first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, in_rows


@dataclass(frozen=True)
class LinearizedFigure:
    """The value of a figure, NaN if undefined, and the influence (N,) of each row on it."""

    value: float
    influence: NDArray[np.float64]

    def __sub__(self, other: LinearizedFigure) -> LinearizedFigure:
        """Return the difference of two figures on the same rows."""
        return LinearizedFigure(self.value - other.value, self.influence - other.influence)

    def scaled(self, factor: float) -> LinearizedFigure:
        """Return the figure times a constant."""
        return LinearizedFigure(factor * self.value, factor * self.influence)

    def variance(self, clusters: Tensor | None = None) -> float:
        """Return the sampling variance; CR1 for rows with clusters (N,)."""
        if clusters is None:
            return float(self.influence @ self.influence)
        _, position = np.unique(clusters.cpu().numpy(), return_inverse=True)
        sums = np.bincount(position, self.influence)
        n = len(sums)
        return float(sums @ sums) * n / (n - 1) if n > 1 else math.nan


def standard_errors(*independent: tuple[LinearizedFigure, Tensor | None]) -> float:
    """Return how many standard errors the sum of figures on independent rows is above 0.

    Args:
        independent: figures, each with the clusters of its rows.
    """
    value = sum(figure.value for figure, _ in independent)
    variance = sum(figure.variance(clusters) for figure, clusters in independent)
    if variance > 0:
        return value / math.sqrt(variance)
    return math.copysign(math.inf, value) if value else 0.0


def of_decisions(
    problem: Problem, decisions: Tensor, figure: Callable[[Counts], Tensor]
) -> LinearizedFigure:
    """Return a figure of decisions (N,) bool on the rows of a problem.

    Args:
        figure: a differentiable function of counts (G,) that gives one number and does not change
            if all counts are multiplied by a constant.
    """
    counts = problem.counts(decisions)
    tp, fp, fn, tn = sides = [side.detach().double().requires_grad_() for side in counts.sides]
    with torch.enable_grad():
        value = figure(replace(counts, tp=tp, fp=fp, fn=fn, tn=tn)).squeeze()
        slopes = torch.autograd.grad(value, sides, allow_unused=True)
    by_cell = torch.stack(
        [
            side.new_zeros(side.shape) if slope is None else slope
            for side, slope in zip(sides, slopes, strict=True)
        ]
    )
    favorable = problem.labels == 1
    cell = torch.where(decisions, torch.where(favorable, 0, 1), torch.where(favorable, 2, 3))
    influence = by_cell[cell, problem.groups] * weights_of(problem)
    return LinearizedFigure(float(value.detach()), influence.cpu().numpy())


def weights_of(problem: Problem) -> Tensor:
    """Return the row weights (N,) of a problem, float64 with mean 1."""
    if problem.weights is None:
        return torch.ones(len(problem), dtype=torch.float64, device=problem.labels.device)
    return in_rows(problem.weights)

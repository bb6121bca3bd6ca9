"""The best randomized thresholds per group, by linear programming (Hardt, Price, Srebro 2016).

Random choice among thresholds reaches every point in the convex hull of a group's ROC curve, where
every rate and the performance are linear in the probabilities of the thresholds. For a bound on the
gap, the best choice is therefore a linear program over the vertices of the hulls.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import METRICS
from fairfix.metrics.objective import Objective
from fairfix.thresholds.group_curves import Curve, check_defined, coordinates, group_curves
from fairfix.thresholds.per_group import (
    GAINS,
    best_group_thresholds,
    gap_bounds,
    searchable,
    supported_metrics,
)
from fairfix.thresholds.policy import Policy, RandomizedThresholds

_NEGLIGIBLE = 1e-9  # probability below which a threshold is dropped
_TOLERANCE = 1e-9  # feasibility tolerance of the solver
_SLACK = 1e-7  # a budget is met strictly below it, and solutions lie on the bound


def best_randomized_thresholds(problem: Problem, objective: Objective) -> Policy:
    """Return the best randomized thresholds, for any number of groups.

    For the chance-constrained and the trade-off objective, each of 41 bounds on the gap is tried.
    The best expected performance within a bound need not have the best chance of staying within
    the budget, so the chance-constrained objective also considers the best thresholds without
    randomization. Further limits of the objective only choose among these solutions.

    Args:
        problem: scores, labels and groups.
        objective: what to maximize, in expectation over the random decisions.

    Raises:
        UsageError: if the metric or the performance measure is not linear in the probabilities.
        TableError: if the metric is undefined on these rows.
    """
    metric, performance = objective.metric, objective.performance.key
    known = [key for key in supported_metrics() if not METRICS[key].ratio]
    if metric.key not in known:
        raise UsageError(f"Randomized thresholds support {', '.join(known)}, not {metric.key}.")
    if performance not in GAINS:
        raise UsageError(f"Randomized thresholds maximize {' or '.join(GAINS)}, not {performance}.")
    curves = group_curves(problem)
    check_defined(curves, metric, problem.group_names)
    hulls = [_hull(curve) for curve in curves]
    policies = [_best_within(hulls, problem, objective, bound) for bound in gap_bounds(objective)]
    if objective.uses_probability and searchable(problem, objective):
        policies.append(Policy.by_group(best_group_thresholds(problem, objective).thresholds))
    return max(policies, key=lambda policy: _utility(policy, problem, objective))


def _utility(policy: Policy, problem: Problem, objective: Objective) -> float:
    expected = problem.counts(policy.probability(problem.scores, problem.groups))
    return float(objective.utility(expected))


def _hull(curve: Curve) -> Curve:
    """Return the thresholds at the vertices of the convex hull of (fp, tp), upper and lower."""
    points = torch.stack([curve.fp, curve.tp], 1).cpu().numpy()
    order = sorted(set(_hull_side(points, 1.0)) | set(_hull_side(points, -1.0)))
    return curve.take(torch.tensor(order, device=curve.tp.device))


def _hull_side(points: np.ndarray, side: float) -> list[int]:
    """Return the indices of the upper (side 1) or lower (-1) hull: Andrew's monotone chain.

    Args:
        points: (K, 2), x and y ascending.
    """
    vertices: list[int] = []
    for i, (x, y) in enumerate(points):
        while len(vertices) > 1:
            (x0, y0), (x1, y1) = points[vertices[-2]], points[vertices[-1]]
            if side * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) < 0:
                break
            vertices.pop()
        vertices.append(i)
    return vertices


def _best_within(
    hulls: Sequence[Curve], problem: Problem, objective: Objective, bound: float
) -> Policy:
    """Return the best randomized thresholds whose expected gap does not exceed the bound.

    The variables are the probabilities of all vertices, then the lowest and the highest value of
    each rate over the groups.
    """
    from scipy.optimize import linprog

    whole = problem.counts(torch.ones_like(problem.labels, dtype=torch.bool)).total()
    gain = GAINS[objective.performance.key]
    rates = [coordinates(objective.metric, curve) for curve in hulls]
    sizes = [len(curve.tp) for curve in hulls]
    n, n_rates = sum(sizes), len(rates[0])
    starts = np.cumsum([0, *sizes])
    cost = np.zeros(n + 2 * n_rates)
    shares = np.zeros((len(hulls), n + 2 * n_rates))
    ranges = np.eye(n_rates, n + 2 * n_rates, n + n_rates) - np.eye(n_rates, n + 2 * n_rates, n)
    limits = [*ranges]
    at_most = [max(0.0, bound - _SLACK)] * len(limits)
    for g, curve in enumerate(hulls):
        here = slice(starts[g], starts[g + 1])
        cost[here] = -gain(curve, whole).cpu().numpy()
        shares[g, here] = 1
        for j, rate in enumerate(rates[g]):
            row = np.zeros(n + 2 * n_rates)
            row[here] = rate.cpu().numpy()
            lowest, highest = np.eye(1, len(row), n + j)[0], np.eye(1, len(row), n + n_rates + j)[0]
            limits += [lowest - row, row - highest]
            at_most += [0.0, 0.0]
    solved = linprog(
        cost,
        np.array(limits),
        at_most,
        shares,
        np.ones(len(hulls)),
        bounds=(0, 1),
        options={"primal_feasibility_tolerance": _TOLERANCE},
    )
    assert solved.x is not None  # the same decision for all rows is always feasible
    parts = np.split(solved.x[:n], starts[1:-1])
    return Policy(tuple(_steps(c, part) for c, part in zip(hulls, parts, strict=True)))


def _steps(curve: Curve, shares: np.ndarray) -> RandomizedThresholds:
    """Return the probability of a positive decision at each threshold that is ever chosen.

    Args:
        curve: K thresholds, descending.
        shares: (K,) probability with which each is chosen.
    """
    used = np.flatnonzero(shares > _NEGLIGIBLE)
    lower = np.cumsum(shares[used][::-1])[::-1]  # a score above a threshold passes all lower ones
    positive = np.minimum(1.0, lower / lower[0])
    return tuple((float(curve.threshold[i]), float(p)) for i, p in zip(used, positive, strict=True))

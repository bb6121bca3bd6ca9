"""The best lottery between cuts for each group, by linear programming.

A lottery reaches every point of the convex hull of a group's ROC curve, and on it every rate and
the performance are linear in the shares of the cuts (Hardt, Price, Srebro 2016). So for a bound of
the gap the best lottery is a linear program in the hull's corners.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.metrics.objective import Objective
from fairfix.thresholds.per_group import (
    COORDINATES,
    GAINS,
    Curve,
    best_group_thresholds,
    check_defined,
    gap_bounds,
    group_curves,
    searchable,
)
from fairfix.thresholds.policy import Policy, RandomizedThresholds

_NEGLIGIBLE = 1e-9
_TOLERANCE = 1e-9  # of the solver
_SLACK = 1e-7  # the program goes to the bound; met is strictly below, by more than rounding


def best_randomized_thresholds(problem: Problem, objective: Objective) -> Policy:
    """The best lottery of cuts for each group, for any number of groups.

    For the chance-constrained and the trade-off objective each of 41 bounds of the gap is tried.
    What is best within a bound need not be likely to stay there, so that for the former the best
    cuts without a lottery are tried too.

    Raises:
        UsageError: for a metric or performance that is not linear in the shares.
        TableError: when the metric is undefined here.
    """
    metric, performance = objective.metric.key, objective.performance.key
    known = [key for key in COORDINATES if key != "di"]
    if metric not in known:
        raise UsageError(f"Lotteries are searched for {', '.join(known)}, not for {metric}.")
    if performance not in GAINS:
        raise UsageError(f"Lotteries maximize {' or '.join(GAINS)}, not {performance}.")
    curves = group_curves(problem)
    check_defined(curves, metric, problem.group_names)
    corners = [_hull(curve) for curve in curves]
    policies = [_within(corners, problem, objective, bound) for bound in gap_bounds(objective)]
    if objective.by_chance and searchable(problem, objective):
        policies.append(Policy.by_group(best_group_thresholds(problem, objective).thresholds))
    return max(policies, key=lambda policy: _utility(policy, problem, objective))


def _utility(policy: Policy, problem: Problem, objective: Objective) -> float:
    expected = problem.counts(policy.probability(problem.scores, problem.groups))
    return float(objective.utility(expected))


def _hull(curve: Curve) -> Curve:
    """The cuts at the corners of the convex hull of (fp, tp), both sides."""
    points = torch.stack([curve.fp, curve.tp], 1).cpu().numpy()
    order = sorted(set(_hull_side(points, 1.0)) | set(_hull_side(points, -1.0)))
    return curve.take(torch.tensor(order, device=curve.tp.device))


def _hull_side(points: np.ndarray, side: float) -> list[int]:
    """Andrew's monotone chain along a curve that rises to the right: one side of its hull."""
    chain: list[int] = []
    for i, (x, y) in enumerate(points):
        while len(chain) > 1:
            (x0, y0), (x1, y1) = points[chain[-2]], points[chain[-1]]
            if side * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) < 0:
                break
            chain.pop()
        chain.append(i)
    return chain


def _within(
    corners: Sequence[Curve], problem: Problem, objective: Objective, bound: float
) -> Policy:
    """The best lottery whose expected gap does not exceed the bound.

    Variables are the shares of all corners, then the lowest and the highest of each rate.
    """
    from scipy.optimize import linprog

    whole = problem.counts(torch.ones_like(problem.labels, dtype=torch.bool)).total()
    gain = GAINS[objective.performance.key]
    rates = [COORDINATES[objective.metric.key](curve) for curve in corners]
    sizes = [len(curve.tp) for curve in corners]
    n, kinds = sum(sizes), len(rates[0])
    starts = np.cumsum([0, *sizes])
    cost = np.zeros(n + 2 * kinds)
    shares = np.zeros((len(corners), n + 2 * kinds))
    ranges = np.eye(kinds, n + 2 * kinds, n + kinds) - np.eye(kinds, n + 2 * kinds, n)
    limits = [*ranges]
    at_most = [max(0.0, bound - _SLACK)] * len(limits)
    for g, curve in enumerate(corners):
        here = slice(starts[g], starts[g + 1])
        cost[here] = -gain(curve, whole).cpu().numpy()
        shares[g, here] = 1
        for j, rate in enumerate(rates[g]):
            row = np.zeros(n + 2 * kinds)
            row[here] = rate.cpu().numpy()
            lowest, highest = np.eye(1, len(row), n + j)[0], np.eye(1, len(row), n + kinds + j)[0]
            limits += [lowest - row, row - highest]
            at_most += [0.0, 0.0]
    solved = linprog(
        cost,
        np.array(limits),
        at_most,
        shares,
        np.ones(len(corners)),
        bounds=(0, 1),
        options={"primal_feasibility_tolerance": _TOLERANCE},
    )
    assert solved.x is not None  # deciding all rows alike is always possible
    parts = np.split(solved.x[:n], starts[1:-1])
    return Policy(tuple(_steps(c, part) for c, part in zip(corners, parts, strict=True)))


def _steps(curve: Curve, shares: np.ndarray) -> RandomizedThresholds:
    """A lottery between cuts as chances that rise where the score passes each of them."""
    used = np.flatnonzero(shares > _NEGLIGIBLE)
    lower = np.cumsum(shares[used][::-1])[::-1]  # a score above a cut is above all lower ones
    chances = np.minimum(1.0, lower / lower[0])
    return tuple(
        (float(curve.threshold[i]), float(chance)) for i, chance in zip(used, chances, strict=True)
    )

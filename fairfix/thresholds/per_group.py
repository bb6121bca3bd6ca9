"""The exact best thresholds, one per group (Hardt, Price, Srebro 2016; Corbett-Davies et al. 2017).

Every rate used here increases with the number of positive decisions of a group. For a given
threshold of one group, the thresholds of another group that keep the gap within a bound therefore
form an interval, and the best of them is a range maximum: O(n log n) per bound. For the
chance-constrained and the trade-off objective, a series of bounds is tried and every candidate is
rated by the objective itself. Further limits are searched over pairs of thresholds (pair_search).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, Metric
from fairfix.metrics.objective import Objective
from fairfix.thresholds.group_curves import Curve, check_defined, coordinates, group_curves
from fairfix.thresholds.pair_search import best_by_pairs
from fairfix.thresholds.shared import batched_utility, separation_bound

N_BOUNDS = 41
_THINNED = 4096  # most thresholds per group in a coarse search
_COARSE_RATED = 2**19  # pairs of groups, over all candidates, in a coarse search
_ROUNDING = 1e-12  # a gap that equals the budget up to rounding is not below it


@dataclass(frozen=True)
class GroupThresholds:
    """The best thresholds, one per group.

    Attributes:
        thresholds: (G,) in [-1, 1]; a row is positive where score > threshold of its group.
        utility: the objective at these thresholds.
        counts: (G,) the counts at these thresholds.
        at: (G,) their positions among the thresholds of each group.
    """

    thresholds: tuple[float, ...]
    utility: float
    counts: Counts
    at: Tensor


def supported_metrics() -> list[str]:
    """Return the keys of all metrics that the exact search supports."""
    return [key for key, metric in METRICS.items() if _monotone(metric)]


def _monotone(metric: Metric) -> bool:
    """Whether all rates are monotone in the decisions, so that ``coordinates`` exist."""
    directions = {rate.direction for rate in metric.rates}
    if metric.contrast is Contrast.MEAN_ABSOLUTE or 0 in directions:
        return False
    if metric.ratio:
        return directions == {1}
    return len(directions) == 1 or metric.contrast is Contrast.LARGEST


def _several(metric: Metric) -> bool:
    """Whether several rates are bounded at once, which is searched for two groups only."""
    return metric.contrast is Contrast.LARGEST


GAINS: dict[str, Callable[[Curve, Counts], Tensor]] = {
    "balanced_accuracy": lambda c, all_: c.tp / (all_.tp + all_.fn) - c.fp / (all_.fp + all_.tn),
    "accuracy": lambda c, all_: c.tp - c.fp,
}


def best_group_thresholds(
    problem: Problem, objective: Objective, *, lower_group: int | None = None
) -> GroupThresholds:
    """Return the best combination of thresholds, one per group.

    Exact for a fixed margin. For the chance-constrained and the trade-off objective, exact within
    each of 41 bounds on the gap, of which the best is returned. On more than 8,192 thresholds per
    group (fewer with more than six groups), a coarse search selects the bounds that are searched
    exactly.

    With further limits, every pair of thresholds of two groups is rated if there are at most 2^18;
    otherwise, and with more groups, the search above is followed by one of pairs of groups.

    Args:
        problem: scores, labels and groups; two groups for "eqodds" and with ``lower_group``.
        objective: what to maximize.
        lower_group: index of the group whose threshold must not exceed the other's (a
            reject-option band: Kamiran, Karim, Zhang 2012). Two thresholds also count as ordered
            if they can be moved into order without changing a decision.

    Raises:
        UsageError: if the search does not support the metric, the performance measure, or the
            number of groups.
        TableError: if the metric is undefined on these rows.
    """
    metric, performance = objective.metric, objective.performance.key
    if not _monotone(metric):
        raise UsageError(
            f"Thresholds per group support {', '.join(supported_metrics())}, not {metric.key}."
        )
    if performance not in GAINS:
        raise UsageError(f"Thresholds per group maximize {' or '.join(GAINS)}, not {performance}.")
    if problem.n_groups > 2 and lower_group is not None:
        raise UsageError(
            f"Thresholds per group with lower_group support two groups, not {problem.n_groups}; "
            "omit lower_group."
        )
    if problem.n_groups > 2 and _several(metric):
        raise UsageError(
            f"Thresholds per group for {metric.key} support two groups, not {problem.n_groups}; "
            "randomized thresholds (randomized=True) support any number."
        )
    curves = group_curves(problem)
    check_defined(curves, metric, problem.group_names)
    return _Search(problem, objective, lower_group).best(curves, gap_bounds(objective))


def searchable(problem: Problem, objective: Objective) -> bool:
    """Return whether ``best_group_thresholds`` supports the problem and the objective."""
    metric = objective.metric
    known = _monotone(metric) and objective.performance.key in GAINS
    return known and not (_several(metric) and problem.n_groups > 2)


def candidate_counts(problem: Problem, objective: Objective) -> Iterator[Counts]:
    """Yield, for each bound on the gap, the counts (M, G) of the candidate thresholds.

    At most 4,096 evenly spaced thresholds per group are considered, fewer with more than six
    groups.
    """
    limit = _coarse(problem.n_groups)
    curves = [curve.thinned(limit) for curve in group_curves(problem)]
    search = _Search(problem, objective, None)
    for bound in gap_bounds(objective):
        yield search.counts(curves, search.candidates(curves, bound))


def _coarse(groups: int) -> int:
    """Return the thresholds per group in a coarse search, whose time grows with groups cubed."""
    return max(8, min(_THINNED, _COARSE_RATED // (groups * math.comb(groups, 2))))


def gap_bounds(objective: Objective) -> list[float]:
    """Return the bounds on the gap to try, in the metric's coordinates, ascending."""
    if objective.kind == "constrained" and objective.margin is not None:
        sizes = [max(0.0, objective.budget - objective.margin - _ROUNDING)]
    else:
        trade_off = objective.kind == "tradeoff"
        largest = 1.0 - 1e-9 if trade_off else objective.budget - _ROUNDING
        sizes = [largest * rung / (N_BOUNDS - 1) for rung in range(N_BOUNDS)]
    return [objective.metric.contrast.bound(size) for size in sizes]


class _Search:
    """The search on one problem with one objective."""

    def __init__(self, problem: Problem, objective: Objective, lower_group: int | None) -> None:
        self.objective = objective
        self.lower_group = lower_group
        self.metric = objective.metric
        self.gain = GAINS[objective.performance.key]
        all_rows = torch.ones_like(problem.labels, dtype=torch.bool)
        self.whole = problem.counts(all_rows)
        self.total = Counts(*(side.sum() for side in self.whole.sides))

    def best(self, curves: Sequence[Curve], bounds: Sequence[float]) -> GroupThresholds:
        """Return the best over all bounds, with a coarse search first on long curves."""
        limit = _coarse(len(curves))
        if len(bounds) > 1 and max(len(c.tp) for c in curves) > 2 * limit:
            thin = [c.thinned(limit) for c in curves]
            utilities = [self.within(thin, bound).utility for bound in bounds]
            top = max(range(len(bounds)), key=utilities.__getitem__)
            bounds = bounds[max(0, top - 1) : top + 2]
        found = [self.within(curves, bound) for bound in bounds]
        best = max(found, key=lambda each: each.utility)
        return best if not self.objective.limits else self._within_limits(curves, best)

    def within(self, curves: Sequence[Curve], bound: float) -> GroupThresholds:
        """Return the best thresholds with a gap, in the metric's coordinates, within the bound."""
        candidates = self.candidates(curves, bound)
        counts = self.counts(curves, candidates)
        utility = batched_utility(self.objective, counts)
        best = int(utility.argmax())
        return self._found(curves, candidates[best], float(utility[best]), counts.take(best))

    def _within_limits(self, curves: Sequence[Curve], start: GroupThresholds) -> GroupThresholds:
        """Return the best thresholds under all limits, from those of the budget alone."""

        def rate(candidates: Tensor, needed: float) -> Tensor:
            counts = self.counts(curves, candidates)
            utility = batched_utility(self.objective, counts, needed)
            return utility.masked_fill(~self._ordered(curves, candidates), -math.inf)

        best = best_by_pairs(start.at, [len(curve.tp) for curve in curves], rate)
        counts = self.counts(curves, best.unsqueeze(0))
        utility = float(batched_utility(self.objective, counts))
        return self._found(curves, best, utility, counts.take(0))

    def _ordered(self, curves: Sequence[Curve], candidates: Tensor) -> Tensor:
        """Return whether candidates (M, 2) keep the threshold of ``lower_group`` the lower one."""
        lower = self.lower_group
        if lower is None:
            return torch.ones(len(candidates), dtype=torch.bool, device=candidates.device)
        last = _last_above(curves[lower], curves[1 - lower])
        return candidates[:, 1 - lower] <= last[candidates[:, lower]]

    def _found(
        self, curves: Sequence[Curve], at: Tensor, utility: float, counts: Counts
    ) -> GroupThresholds:
        chosen = [curve.take(index) for curve, index in zip(curves, at, strict=True)]
        return GroupThresholds(self._thresholds(chosen), utility, counts, at)

    def candidates(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """Return indices (M, G) of candidate thresholds within the bound.

        One candidate for each threshold of the shorter curve, or, with more than two groups, for
        each possible lowest rate.
        """
        if len(curves) == 2:
            return self._pairs(curves, bound)
        return self._tuples(curves, bound)

    def _pairs(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """Return, for each threshold of the shorter curve, the best one of the other: (M, 2)."""
        short = 0 if len(curves[0].tp) <= len(curves[1].tp) else 1
        curve, other = curves[short], curves[1 - short]
        low = torch.zeros(len(curve.tp), dtype=torch.long, device=curve.tp.device)
        high = low + len(other.tp) - 1
        for a, b in zip(
            coordinates(self.metric, curve), coordinates(self.metric, other), strict=True
        ):
            low = torch.maximum(low, _places(b, a - bound))
            high = torch.minimum(high, _places(b, a + bound, right=True) - 1)
        if self.lower_group == short:
            high = torch.minimum(high, _last_above(curve, other))
        elif self.lower_group == 1 - short:
            first = torch.searchsorted(-other.below, -separation_bound(curve.above), right=True)
            low = torch.maximum(low, first)
        at = (low <= high).nonzero().squeeze(1)
        partner = _argmax_between(self.gain(other, self.total), low[at], high[at])
        return torch.stack([at, partner] if short == 0 else [partner, at], dim=1)

    def _thresholds(self, chosen: Sequence[Curve]) -> tuple[float, ...]:
        """Return the thresholds of one point per group, in the required order.

        Midpoints that are out of order are replaced by one threshold between the scores next to
        both, which decides the same.
        """
        thresholds = [float(curve.threshold) for curve in chosen]
        lower = self.lower_group
        if lower is None or thresholds[lower] <= thresholds[1 - lower]:
            return tuple(thresholds)
        below = torch.stack([curve.below for curve in chosen]).max()
        above = torch.stack([curve.above for curve in chosen]).min()
        return (float(((below + above) / 2).float()),) * 2

    def _tuples(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """Return, for each lowest rate, each group's best threshold within the bound: (M, G)."""
        rates = [coordinates(self.metric, curve)[0] for curve in curves]
        lowest = torch.cat(rates).unique()
        ranges = [
            (torch.searchsorted(r, lowest), torch.searchsorted(r, lowest + bound, right=True) - 1)
            for r in rates
        ]
        possible = torch.stack([low <= high for low, high in ranges]).all(0)
        best = [
            _argmax_between(self.gain(curve, self.total), low[possible], high[possible])
            for curve, (low, high) in zip(curves, ranges, strict=True)
        ]
        different: Tensor = torch.stack(best, dim=1).unique_consecutive(dim=0)
        return different

    def counts(self, curves: Sequence[Curve], candidates: Tensor) -> Counts:
        """Return the counts (M, G) at the candidates (M, G)."""
        tp = torch.stack([c.tp[candidates[:, g]] for g, c in enumerate(curves)], dim=1)
        fp = torch.stack([c.fp[candidates[:, g]] for g, c in enumerate(curves)], dim=1)
        if self.whole.joint is None:
            return Counts(tp, fp, self.whole.tp - tp, self.whole.fp - fp, self.whole.design_effect)
        positives = torch.zeros(len(candidates), 2 * len(self.whole.joint.groups)).to(tp)
        for g, curve in enumerate(curves):
            assert curve.joint is not None
            positives += curve.joint[candidates[:, g]]
        all_rows = torch.cat(self.whole.joint.sides[:2])
        return self.whole.with_cells(torch.cat([positives, all_rows - positives], 1))


def _last_above(lower: Curve, upper: Curve) -> Tensor:
    """Return, for each threshold of one curve, the last of another that is not below it, (K,)."""
    return torch.searchsorted(-separation_bound(upper.above), -lower.below) - 1


def _places(rising: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """Return ``torch.searchsorted``; on a CPU by numpy, which is faster on sorted values."""
    if rising.device.type != "cpu":
        return torch.searchsorted(rising, values, right=right)
    side: Literal["left", "right"] = "right" if right else "left"
    return torch.from_numpy(np.searchsorted(rising.numpy(), values.numpy(), side))


def _argmax_between(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return, for each pair (low, high), the first index of the maximum of values[low..high].

    Uses a sparse table: level j holds the argmax of every run of 2^j values (Bender and
    Farach-Colton 2000).
    """
    length = high - low + 1
    level = torch.frexp(length.double()).exponent.long() - 1
    argmax = torch.empty_like(low)
    table = torch.arange(len(values), dtype=torch.int32, device=values.device)
    best = values
    for j in range(int(level.max()) + 1):
        if j:
            half = 2 ** (j - 1)
            table = torch.where(best[:-half] >= best[half:], table[:-half], table[half:])
            best = torch.maximum(best[:-half], best[half:])
        at = (level == j).nonzero().squeeze(1)
        if len(at):
            first, second = low[at], high[at] - 2**j + 1
            argmax[at] = torch.where(
                best[first] >= best[second], table[first], table[second]
            ).long()
    return argmax

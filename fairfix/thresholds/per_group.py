"""The exact best pair (or tuple) of cuts, one for each group.

Every rate here grows with the number of positives of a group, so that for a given cut of one group
the cuts of another that keep the gap within a bound form an interval, and the best of them is a
range maximum: O(n log n) for a bound. The chance-constrained objective is met by trying a ladder of
bounds up to the budget and rating every candidate by the objective itself.
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
from fairfix.errors import TableError, UsageError
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import Counts, in_rows
from fairfix.thresholds.shared import (
    ALL_POSITIVE,
    NONE_POSITIVE,
    allowed_positions,
    batched_utility,
    cumulative_counts,
    separation_bound,
)

N_BOUNDS = 41
_THINNED = 4096
_ROUNDING = 1e-12  # a gap that equals the bound but for rounding does not lie below it


@dataclass(frozen=True)
class GroupThresholds:
    """The best cuts found.

    Attributes:
        thresholds: (G,) in [-1, 1]; a row is positive where its score > its group's threshold.
        utility: what the objective gives for them.
        counts: (G,) at those cuts.
    """

    thresholds: tuple[float, ...]
    utility: float
    counts: Counts


@dataclass(frozen=True)
class Curve:
    """The cuts of one group, from no positives to all of them.

    ``tp``, ``fp`` (K,) weighted counts; ``threshold`` (K,) falling, between the scores ``below``
    and ``above`` (K,); ``positives``, ``negatives`` what there is of each label.
    """

    tp: Tensor
    fp: Tensor
    threshold: Tensor
    below: Tensor
    above: Tensor
    positives: Tensor
    negatives: Tensor

    def take(self, at: Tensor) -> Curve:
        """Some of the cuts, by number."""
        tp, fp, threshold = self.tp[at], self.fp[at], self.threshold[at]
        below, above = self.below[at], self.above[at]
        return Curve(tp, fp, threshold, below, above, self.positives, self.negatives)

    def thinned(self, most: int) -> Curve:
        """At most ``most`` cuts, both ends among them."""
        k = len(self.tp)
        if k <= most:
            return self
        return self.take(torch.linspace(0, k - 1, most, device=self.tp.device).round().long())


Coordinates = Callable[[Curve], tuple[Tensor, ...]]


def _tpr(c: Curve) -> Tensor:
    return c.tp / c.positives


def _fpr(c: Curve) -> Tensor:
    return c.fp / c.negatives


def _selected(c: Curve) -> Tensor:
    return (c.tp + c.fp) / (c.positives + c.negatives)


# Which growing rates must lie within a bound of each other between the groups.
COORDINATES: dict[str, Coordinates] = {
    "spd": lambda c: (_selected(c),),
    "eod": lambda c: (_tpr(c),),
    "fprd": lambda c: (_fpr(c),),
    "aod": lambda c: ((_tpr(c) + _fpr(c)) / 2,),
    "eqodds": lambda c: (_tpr(c), _fpr(c)),
    "di": lambda c: (_selected(c).log(),),
}
GAINS: dict[str, Callable[[Curve, Counts], Tensor]] = {
    "balanced_accuracy": lambda c, all_: c.tp / (all_.tp + all_.fn) - c.fp / (all_.fp + all_.tn),
    "accuracy": lambda c, all_: c.tp - c.fp,
}


def best_group_thresholds(
    problem: Problem, objective: Objective, *, lower_group: int | None = None
) -> GroupThresholds:
    """One cut for each group, the best of all combinations.

    Exact for a fixed margin. For the chance-constrained and the trade-off objective, exact for
    each of 41 bounds of the gap, the best of which is taken.

    Args:
        problem: scores, labels and groups; two groups for "eqodds" and ``lower_group``.
        lower_group: a group whose cut must not lie above the other's (a reject-option band). What
            counts is where a cut can lie without changing a decision.

    Raises:
        UsageError: for a metric or performance that this search does not know.
        TableError: when the metric is undefined here.
    """
    metric, performance = objective.metric.key, objective.performance.key
    if metric not in COORDINATES:
        raise UsageError(
            f"Cuts by group are searched for {', '.join(COORDINATES)}, not for {metric}."
        )
    if performance not in GAINS:
        raise UsageError(f"Cuts by group maximize {' or '.join(GAINS)}, not {performance}.")
    if problem.n_groups > 2 and (lower_group is not None or metric == "eqodds"):
        raise UsageError(f"Cuts by group for {metric} are searched for two groups only.")
    curves = group_curves(problem)
    check_defined(curves, metric, problem.group_names)
    return _Search(problem, objective, lower_group).best(curves, gap_bounds(objective))


def searchable(problem: Problem, objective: Objective) -> bool:
    """Whether ``best_group_thresholds`` knows the metric and the performance."""
    metric = objective.metric.key
    known = metric in COORDINATES and objective.performance.key in GAINS
    return known and not (metric == "eqodds" and problem.n_groups > 2)


def candidate_counts(problem: Problem, objective: Objective) -> Iterator[Counts]:
    """For each bound of the gap, the counts (M, G) of the cuts among which the best one is sought.

    On many rows, of some 4,096 cuts a group.
    """
    curves = [curve.thinned(_THINNED) for curve in group_curves(problem)]
    search = _Search(problem, objective, None)
    for bound in gap_bounds(objective):
        yield search.counts(curves, search.candidates(curves, bound))


def group_curves(problem: Problem) -> list[Curve]:
    """The cuts of every group."""
    return [_curve(problem, g) for g in range(problem.n_groups)]


def gap_bounds(objective: Objective) -> list[float]:
    """The bounds of the gap to try, in the metric's coordinates."""
    if objective.kind == "constrained" and objective.margin is not None:
        sizes = [max(0.0, objective.budget - objective.margin - _ROUNDING)]
    else:
        trade_off = objective.kind == "tradeoff"
        most = 1.0 - 1e-9 if trade_off else objective.budget - _ROUNDING
        sizes = [most * rung / (N_BOUNDS - 1) for rung in range(N_BOUNDS)]
    if objective.metric.key == "di":
        return [-math.log1p(-size) for size in sizes]
    return sizes


def _curve(problem: Problem, group: int) -> Curve:
    here = problem.groups == group
    ordered, sums = cumulative_counts(
        problem.scores[here].unsqueeze(0),
        problem.labels[here],
        2,
        None if problem.weights is None else in_rows(problem.weights)[here],
    )
    scores, (fp, tp) = ordered[0], sums[:, 0].double()
    inner = allowed_positions(scores.unsqueeze(0))[0, 1:-1].nonzero().squeeze(1) + 1
    ends = torch.tensor([0, len(scores)], device=inner.device)
    keep = torch.cat([ends[:1], inner, ends[1:]])
    above, below = scores[inner - 1].double(), scores[inner].double()
    middle = ((above + below) / 2).float().double()
    none, all_ = middle.new_tensor([NONE_POSITIVE]), middle.new_tensor([ALL_POSITIVE])
    return Curve(
        tp[keep],
        fp[keep],
        torch.cat([none, middle, all_]),
        torch.cat([scores[:1].double(), below, all_]),
        torch.cat([none + 1, above, scores[-1:].double()]),
        tp[-1],
        fp[-1],
    )


def check_defined(curves: Sequence[Curve], metric: str, names: Sequence[str]) -> None:
    """Raise TableError where a group lacks the rows that the metric needs."""
    for curve, name in zip(curves, names, strict=True):
        for label, n in ((1, curve.positives), (0, curve.negatives)):
            if n == 0 and any(c.isnan().any() for c in COORDINATES[metric](curve)):
                raise TableError(
                    f"{metric} is undefined here: group {name!r} has no rows with label {label}."
                )


class _Search:
    """The search for one problem and objective."""

    def __init__(self, problem: Problem, objective: Objective, lower_group: int | None) -> None:
        self.objective = objective
        self.lower_group = lower_group
        self.coordinates = COORDINATES[objective.metric.key]
        self.gain = GAINS[objective.performance.key]
        all_rows = torch.ones_like(problem.labels, dtype=torch.bool)
        self.whole = problem.counts(all_rows)
        self.total = Counts(*(side.sum() for side in self.whole.sides))

    def best(self, curves: Sequence[Curve], bounds: Sequence[float]) -> GroupThresholds:
        """The best over all bounds; on many rows the ladder is first walked on thinned curves."""
        if len(bounds) > 1 and max(len(c.tp) for c in curves) > 2 * _THINNED:
            thin = [c.thinned(_THINNED) for c in curves]
            utilities = [self.within(thin, bound).utility for bound in bounds]
            top = max(range(len(bounds)), key=utilities.__getitem__)
            bounds = bounds[max(0, top - 1) : top + 2]
        return max((self.within(curves, bound) for bound in bounds), key=lambda f: f.utility)

    def within(self, curves: Sequence[Curve], bound: float) -> GroupThresholds:
        """The best cuts whose gap, in the metric's coordinates, does not exceed the bound."""
        candidates = self.candidates(curves, bound)
        counts = self.counts(curves, candidates)
        utility = batched_utility(self.objective, counts)
        best = int(utility.argmax())
        tp, fp, fn, tn = (side[best] for side in counts.sides)
        chosen = [c.take(at) for c, at in zip(curves, candidates[best], strict=True)]
        return GroupThresholds(
            self._thresholds(chosen),
            float(utility[best]),
            Counts(tp, fp, fn, tn, self.whole.design_effect),
        )

    def candidates(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """The best cuts within the bound for each cut of one group, or each lowest rate: (M, G)."""
        if len(curves) == 2:
            return self._pairs(curves, bound)
        return self._tuples(curves, bound)

    def _pairs(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """For every cut of the group with fewer cuts, the best cut of the other: (M, 2)."""
        near = 0 if len(curves[0].tp) <= len(curves[1].tp) else 1
        far = 1 - near
        here, there = curves[near], curves[far]
        low = torch.zeros(len(here.tp), dtype=torch.long, device=here.tp.device)
        high = low + len(there.tp) - 1
        for a, b in zip(self.coordinates(here), self.coordinates(there), strict=True):
            low = torch.maximum(low, _places(b, a - bound))
            high = torch.minimum(high, _places(b, a + bound, right=True) - 1)
        if self.lower_group == near:
            last = torch.searchsorted(-separation_bound(there.above), -here.below) - 1
            high = torch.minimum(high, last)
        elif self.lower_group == far:
            first = torch.searchsorted(-there.below, -separation_bound(here.above), right=True)
            low = torch.maximum(low, first)
        cut = (low <= high).nonzero().squeeze(1)
        partner = _argmax_between(self.gain(there, self.total), low[cut], high[cut])
        return torch.stack([cut, partner] if near == 0 else [partner, cut], dim=1)

    def _thresholds(self, chosen: Sequence[Curve]) -> tuple[float, ...]:
        """The thresholds of one cut for each group; a shared one where the usual are not ordered.

        Two such cuts can both lie anywhere between the scores next to either.
        """
        thresholds = [float(cut.threshold) for cut in chosen]
        if (
            self.lower_group is None
            or thresholds[self.lower_group] <= thresholds[1 - self.lower_group]
        ):
            return tuple(thresholds)
        below = torch.stack([cut.below for cut in chosen]).max()
        above = torch.stack([cut.above for cut in chosen]).min()
        return (float(((below + above) / 2).float()),) * 2

    def _tuples(self, curves: Sequence[Curve], bound: float) -> Tensor:
        """For every lowest rate, each group's best cut at most the bound above: (M, G)."""
        rates = [self.coordinates(curve)[0] for curve in curves]
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
        return torch.stack(best, dim=1)

    def counts(self, curves: Sequence[Curve], candidates: Tensor) -> Counts:
        """Counts (M, G) at the candidates (M, G)."""
        tp = torch.stack([c.tp[candidates[:, g]] for g, c in enumerate(curves)], dim=1)
        fp = torch.stack([c.fp[candidates[:, g]] for g, c in enumerate(curves)], dim=1)
        return Counts(tp, fp, self.whole.tp - tp, self.whole.fp - fp, self.whole.design_effect)


def _places(rising: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """``torch.searchsorted``; on a CPU numpy's, which gains from values that rise as well."""
    if rising.device.type != "cpu":
        return torch.searchsorted(rising, values, right=right)
    side: Literal["left", "right"] = "right" if right else "left"
    return torch.from_numpy(np.searchsorted(rising.numpy(), values.numpy(), side))


def _argmax_between(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """For each (low, high), the first index in low..high where ``values`` is largest.

    A sparse table: level j holds the argmax of every run of 2^j values.
    """
    length = high - low + 1
    level = torch.frexp(length.double()).exponent.long() - 1
    found = torch.empty_like(low)
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
            found[at] = torch.where(best[first] >= best[second], table[first], table[second]).long()
    return found

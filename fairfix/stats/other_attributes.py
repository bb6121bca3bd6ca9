"""Whether a gap closed for one protected column opened in another, or in an intersection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, count
from fairfix.metrics.registry import Metric
from fairfix.stats.gap_intervals import FEWEST
from fairfix.stats.paired_gaps import Gaps, Rows, figures
from fairfix.stats.verdicts import holm

ALPHA = 0.05


class GroupColumn(Protocol):
    """A protected column, or an intersection: ``ids`` (N,) in 0..G-1 stand for ``names`` (G,)."""

    @property
    def column(self) -> str: ...

    @property
    def ids(self) -> np.ndarray | Tensor: ...

    @property
    def names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class ColumnChange:
    """The gap of one metric between the groups of one column.

    Attributes:
        metric: its key.
        before, after: sizes of the gap, >= 0, between the groups that are large enough to say
            anything; NaN when undefined or fewer than two are.
        low, high: 95 % interval of after - before, for this column and its extreme groups alone.
        p: p-value of "the gap did not grow", whatever groups the extreme ones are.
        worse: it grew by more than chance explains, with Holm's correction over all columns.
        left_out: groups with fewer than 30 effective rows behind a rate.
    """

    column: str
    metric: str
    before: float
    after: float
    low: float
    high: float
    p: float
    worse: bool
    left_out: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What the column shows, without a full stop."""
        where = f"between the groups of {self.column!r} abs({self.metric})"
        if math.isnan(self.p):
            return f"{where} is undefined or rests on too few rows"
        shown = "" if self.worse else ", so that no growth is shown"
        verb = "grew" if self.after > self.before else "went"
        return (
            f"{where} {verb} from {self.before:.3f} to {self.after:.3f} (95 % interval of the "
            f"change: {self.low:+.3f} to {self.high:+.3f}){shown}"
        )


def column_changes(
    problem: Problem,
    before: Tensor,
    after: Tensor,
    metric: Metric,
    columns: Sequence[GroupColumn],
) -> tuple[ColumnChange, ...]:
    """The gap of ``metric`` between the groups of every column, before and after.

    Args:
        before, after: decisions (N,) bool on the problem's rows.
        columns: those other than the one debiased, intersections among them.
    """
    found = [_change(problem, before, after, metric, column) for column in columns]
    worse = holm([each.p for each in found], ALPHA)
    return tuple(replace(each, worse=each_is) for each, each_is in zip(found, worse, strict=True))


def _change(
    problem: Problem, before: Tensor, after: Tensor, metric: Metric, column: GroupColumn
) -> ColumnChange:
    ids = torch.as_tensor(column.ids, device=problem.labels.device)
    found = figures(metric, _rows(problem, before, after, ids, len(column.names)))
    large = np.all([each.n >= FEWEST for each in found], axis=0)
    nan = math.nan
    left_out = tuple(name for name, stays in zip(column.names, large, strict=True) if not stays)
    unknown = ColumnChange(column.column, metric.key, nan, nan, nan, nan, nan, False, left_out)
    if large.sum() < 2:
        return unknown
    was, now = (_size(problem, decided, metric, ids, large) for decided in (before, after))
    if math.isnan(was + now):
        return unknown
    gaps = Gaps.of(metric, [each.take(large) for each in found])
    slopes = metric.slope(was), metric.slope(now)
    half = float(norm.isf(ALPHA / 2)) * gaps.standard_error(slopes)
    return replace(
        unknown,
        before=was,
        after=now,
        low=now - was - half,
        high=now - was + half,
        p=gaps.p_grown,
    )


def _rows(problem: Problem, before: Tensor, after: Tensor, ids: Tensor, n_groups: int) -> Rows:
    weights = torch.ones(len(problem)) if problem.weights is None else problem.weights
    return Rows(
        before=before.cpu().numpy().astype(bool),
        after=after.cpu().numpy().astype(bool),
        labels=problem.labels.cpu().numpy(),
        groups=ids.cpu().numpy(),
        weights=weights.cpu().double().numpy(),
        n_groups=n_groups,
    )


def _size(
    problem: Problem, decisions: Tensor, metric: Metric, ids: Tensor, large: np.ndarray
) -> float:
    counts = count(decisions, problem.labels, ids, len(large), problem.weights)
    kept = torch.from_numpy(np.flatnonzero(large)).to(ids.device)
    return float(metric(Counts(*(side[kept] for side in counts.sides))).size)

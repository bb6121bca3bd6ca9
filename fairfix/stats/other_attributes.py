"""Changes of a gap between the groups of other group columns and of intersections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.counts import Counts, count
from fairfix.metrics.fairness_metrics import Metric
from fairfix.stats.gap_intervals import MIN_ROWS
from fairfix.stats.intervals import normal_quantile
from fairfix.stats.paired_gaps import PairedDecisions, PairedGap, paired_rates
from fairfix.stats.verdicts import holm

ALPHA = 0.05


class GroupColumn(Protocol):
    """A group column or an intersection: ``ids`` (N,) in 0..G-1 are indices of ``names`` (G,)."""

    @property
    def column(self) -> str: ...

    @property
    def ids(self) -> np.ndarray | Tensor: ...

    @property
    def names(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class ColumnChange:
    """Change of the gap of one metric between the groups of one column.

    Attributes:
        metric: its key.
        before, after: sizes of the gap, >= 0, between the groups with enough rows; NaN if undefined
            or if fewer than two groups have enough.
        low, high: 95 % interval of after - before, for the extreme groups of this column, without
            correction.
        p: p-value of "the gap did not grow", corrected for the choice of the extreme groups.
        worse: whether it grew significantly, with Holm's correction over all columns.
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
        """The change in words, without a full stop."""
        where = f"between the groups of {self.column!r} abs({self.metric})"
        if math.isnan(self.p):
            return f"{where} is undefined or rests on too few rows"
        note = "" if self.worse else ", which is not significant"
        verb = "grew" if self.after > self.before else "went"
        return (
            f"{where} {verb} from {self.before:.3f} to {self.after:.3f} (95 % interval of the "
            f"change: {self.low:+.3f} to {self.high:+.3f}){note}"
        )


def column_changes(
    problem: Problem,
    before: Tensor,
    after: Tensor,
    metric: Metric,
    columns: Sequence[GroupColumn],
) -> tuple[ColumnChange, ...]:
    """Return the change of the gap of ``metric`` between the groups of every column.

    Args:
        before, after: decisions (N,) bool on the problem's rows.
        columns: group columns other than the debiased one, and intersections.
    """
    changes = [column_change(problem, before, after, metric, column) for column in columns]
    rejected = holm([change.p for change in changes], ALPHA)
    return tuple(
        replace(change, worse=grew) for change, grew in zip(changes, rejected, strict=True)
    )


def column_change(
    problem: Problem, before: Tensor, after: Tensor, metric: Metric, column: GroupColumn
) -> ColumnChange:
    """Return the change of the gap of ``metric`` between the groups of one column, by itself."""
    ids = torch.as_tensor(column.ids, device=problem.labels.device)
    rates = paired_rates(metric, _paired_decisions(problem, before, after, ids, len(column.names)))
    large = np.all([each.n >= MIN_ROWS for each in rates], axis=0)
    nan = math.nan
    left_out = tuple(name for name, kept in zip(column.names, large, strict=True) if not kept)
    undefined = ColumnChange(column.column, metric.key, nan, nan, nan, nan, nan, False, left_out)
    if large.sum() < 2:
        return undefined
    was, now = (_size(problem, each, metric, ids, large) for each in (before, after))
    if math.isnan(was + now):
        return undefined
    gap = PairedGap.from_rates(metric, [each.take(large) for each in rates])
    slopes = metric.slope(was), metric.slope(now)
    half_width = normal_quantile(ALPHA / 2) * gap.standard_error(slopes)
    return replace(
        undefined,
        before=was,
        after=now,
        low=now - was - half_width,
        high=now - was + half_width,
        p=gap.p_grown,
    )


def _paired_decisions(
    problem: Problem, before: Tensor, after: Tensor, ids: Tensor, n_groups: int
) -> PairedDecisions:
    weights = torch.ones(len(problem)) if problem.weights is None else problem.weights
    return PairedDecisions(
        before=before.cpu().numpy().astype(bool),
        after=after.cpu().numpy().astype(bool),
        labels=problem.labels.cpu().numpy(),
        groups=ids.cpu().numpy(),
        weights=weights.cpu().double().numpy(),
        n_groups=n_groups,
        clusters=None if problem.clusters is None else problem.clusters.cpu().numpy(),
    )


def _size(
    problem: Problem, decisions: Tensor, metric: Metric, ids: Tensor, large: np.ndarray
) -> float:
    counts = count(decisions, problem.labels, ids, len(large), problem.weights)
    kept = torch.from_numpy(np.flatnonzero(large)).to(ids.device)
    return float(metric(Counts(*(side[kept] for side in counts.sides))).size)

"""Changes of decisions by group on the same rows, and detection of levelling down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import betainc
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.rates import Share, false_positive_rate, selection_rate, true_positive_rate
from fairfix.stats.auc_levelling_down import auc_levelling_down
from fairfix.stats.other_attributes import ColumnChange, GroupColumn, column_changes
from fairfix.stats.verdicts import holm

ALPHA = 0.05


@dataclass(frozen=True)
class GroupChange:
    """Changes of one group.

    Attributes:
        rows: of the group.
        gained, lost: rows that went from negative to positive, and from positive to negative.
        selection_rate_before, ..., fpr_after: weighted if rows have weights; NaN if undefined.
    """

    name: str
    rows: int
    gained: int
    lost: int
    selection_rate_before: float
    selection_rate_after: float
    tpr_before: float
    tpr_after: float
    fpr_before: float
    fpr_after: float


@dataclass(frozen=True)
class DecisionChange:
    """Changes of decisions on the test rows.

    Attributes:
        groups: one entry per group.
        levelling_down: warnings, without a full stop; empty if none is detected.
        columns: changes of the same metric between the groups of other group columns.
    """

    groups: tuple[GroupChange, ...]
    levelling_down: tuple[str, ...]
    columns: tuple[ColumnChange, ...]


def decision_change(
    problem: Problem,
    before: Tensor,
    after: Tensor,
    metric: Metric,
    columns: Sequence[GroupColumn] = (),
    scores: Tensor | None = None,
) -> DecisionChange:
    """Compare two sets of decisions on a problem's rows.

    Args:
        before, after: (N,) bool.
        metric: that of the gap; one of scores has no change with decisions.
        columns: group columns other than the problem's own, and intersections.
        scores: (N,) that ``after`` decides, for a metric of scores.
    """
    return DecisionChange(
        groups=group_changes(problem, before, after),
        levelling_down=levelling_down(problem, before, after, metric)
        if scores is None or not metric.of_scores
        else auc_levelling_down(problem, scores),
        columns=() if metric.of_scores else column_changes(problem, before, after, metric, columns),
    )


def group_changes(problem: Problem, before: Tensor, after: Tensor) -> tuple[GroupChange, ...]:
    """Return the changes of each group, from decisions (N,) bool."""
    counts = problem.counts(before), problem.counts(after)

    def values(share: Share) -> list[float]:
        return [float(value) for value in share.value]

    selection, tpr, fpr = (
        list(zip(*(values(rate(c)) for c in counts), strict=True))
        for rate in (selection_rate, true_positive_rate, false_positive_rate)
    )
    changes = []
    for g, name in enumerate(problem.group_names):
        in_group = problem.groups == g
        changes.append(
            GroupChange(
                name,
                int(in_group.sum()),
                int((in_group & after & ~before).sum()),
                int((in_group & before & ~after).sum()),
                *selection[g],
                *tpr[g],
                *fpr[g],
            )
        )
    return tuple(changes)


def levelling_down(
    problem: Problem, before: Tensor, after: Tensor, metric: Metric
) -> tuple[str, ...]:
    """Return warnings, without a full stop, if the gap became smaller by harm alone.

    Levelling down means that the gap of ``metric`` is smaller after, that no group gained
    significantly, and that either some group lost significantly (exact paired test in each group,
    Holm's correction over all), or every group has more rows that lost than gained and all groups
    together lost significantly. A group loses if its true positive rate becomes lower, or its
    selection rate if the metric compares that; fewer false positives are not harm to a metric of
    errors.
    """
    was, now = (float(metric(problem.counts(decisions)).size) for decisions in (before, after))
    if not now < was:
        return ()
    favorable = problem.labels == 1
    by_rate = [_rate_changes(problem, before, after, "true positive rate", favorable)]
    if all(rate == selection_rate for rate in metric.rates):
        all_rows = torch.ones_like(favorable)
        by_rate.append(_rate_changes(problem, before, after, "selection rate", all_rows))
    changes = [change for by_group in by_rate for change in by_group]
    rejected = holm([change.p for change in changes], ALPHA)
    significant = [change for change, reject in zip(changes, rejected, strict=True) if reject]
    if any(change.gained > change.lost for change in significant):
        return ()
    shrank = f"levelling down: abs({metric.key}) shrank from {was:.3f} to {now:.3f} while"
    if significant:
        return (f"{shrank} {_describe(significant)}, and no group gained significantly",)
    lost = [by_group for by_group in by_rate if _all_lost(by_group, ALPHA / len(by_rate))]
    return tuple(f"{shrank} no group gained: {_describe(by_group)}" for by_group in lost[:1])


@dataclass(frozen=True)
class _RateChange:
    """Change of one rate of one group.

    Attributes:
        before, after: the rate.
        rows: numbers of rows that gained and that lost.
        gained, lost: effective numbers of these rows, not whole if rows have weights.
    """

    group: str
    rate: str
    before: float
    after: float
    rows: tuple[int, int]
    gained: float
    lost: float

    @property
    def p(self) -> float:
        return sign_test(self.gained, self.lost)


def _rate_changes(
    problem: Problem, before: Tensor, after: Tensor, rate: str, counted: Tensor
) -> list[_RateChange]:
    """Return the change, in each group, of the positive rate among ``counted`` rows, (N,) bool."""
    ones = torch.ones(len(problem), device=problem.scores.device)
    weights = (ones if problem.weights is None else problem.weights).double()
    changes = []
    for g, name in enumerate(problem.group_names):
        rows = counted & (problem.groups == g)
        was, now, weight = before[rows], after[rows], weights[rows]
        gained, lost = weight[now & ~was], weight[was & ~now]
        changed = torch.cat([gained, lost])
        if problem.clusters is not None:  # the rows of a cluster that changed count as one
            of = problem.clusters[rows][was != now]
            changed = changed.new_zeros(len(of)).index_add(
                0, of.unique(return_inverse=True)[1], weight[was != now]
            )
        # Weight of one effective row (Kish).
        unit = float(changed.square().sum() / changed.sum()) if changed.any() else 1.0
        changes.append(
            _RateChange(
                group=name,
                rate=rate,
                before=float((weight * was).sum() / weight.sum()),
                after=float((weight * now).sum() / weight.sum()),
                rows=(len(gained), len(lost)),
                gained=float(gained.sum()) / unit,
                lost=float(lost.sum()) / unit,
            )
        )
    return changes


def _describe(changes: Sequence[_RateChange]) -> str:
    return ", ".join(
        f"the {c.rate} of {c.group!r} went from {c.before:.3f} to {c.after:.3f} "
        f"({c.rows[1]:,} rows lost, {c.rows[0]:,} gained)"
        for c in changes
    )


def _all_lost(changes: Sequence[_RateChange], alpha: float) -> bool:
    """Return whether every group lost more than it gained, significantly in total."""
    gained, lost = sum(c.gained for c in changes), sum(c.lost for c in changes)
    return all(c.lost > c.gained for c in changes) and sign_test(gained, lost) < alpha


def sign_test(gained: float, lost: float) -> float:
    """Return the exact two-sided p-value of "gains and losses are equally likely" (McNemar).

    The counts may be effective rows, which need not be whole.
    """
    more, less = max(gained, lost), min(gained, lost)
    return min(1.0, 2 * float(betainc(more, less + 1, 0.5))) if more else 1.0

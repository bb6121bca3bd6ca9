"""Who gains and who loses: decisions before and after on the same rows, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import betainc
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.rates import Share, false_positive_rate, selection_rate, true_positive_rate
from fairfix.metrics.registry import Metric
from fairfix.stats.other_attributes import ColumnChange, GroupColumn, column_changes
from fairfix.stats.verdicts import holm

ALPHA = 0.05


@dataclass(frozen=True)
class GroupChange:
    """What changed for one group.

    Attributes:
        rows: of the group; ``gained`` went from negative to positive, ``lost`` the other way.
        selection_rate_before, ..., fpr_after: weighted where rows have weights; NaN undefined.
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
class Change:
    """What changed on the judged rows.

    Attributes:
        levelling_down: sentences, without a full stop; none when nothing of the kind is shown.
        columns: the same metric between the groups of the other protected columns.
    """

    groups: tuple[GroupChange, ...]
    levelling_down: tuple[str, ...]
    columns: tuple[ColumnChange, ...]


def change(
    problem: Problem,
    before: Tensor,
    after: Tensor,
    metric: Metric,
    columns: Sequence[GroupColumn] = (),
) -> Change:
    """Compare decisions (N,) bool before and after on a problem's rows.

    ``columns`` are protected columns other than the problem's own groups, and intersections.
    """
    return Change(
        groups=group_changes(problem, before, after),
        levelling_down=levelling_down(problem, before, after, metric),
        columns=column_changes(problem, before, after, metric, columns),
    )


def group_changes(problem: Problem, before: Tensor, after: Tensor) -> tuple[GroupChange, ...]:
    """What changed for each group."""
    counts = problem.counts(before), problem.counts(after)

    def values(share: Share) -> list[float]:
        return [float(value) for value in share.value]

    selection, tpr, fpr = (
        list(zip(*(values(rate(c)) for c in counts), strict=True))
        for rate in (selection_rate, true_positive_rate, false_positive_rate)
    )
    found = []
    for g, name in enumerate(problem.group_names):
        here = problem.groups == g
        found.append(
            GroupChange(
                name,
                int(here.sum()),
                int((here & after & ~before).sum()),
                int((here & before & ~after).sum()),
                *selection[g],
                *tpr[g],
                *fpr[g],
            )
        )
    return tuple(found)


def levelling_down(
    problem: Problem, before: Tensor, after: Tensor, metric: Metric
) -> tuple[str, ...]:
    """Sentences that say whether the gap shrank by harm alone, without a full stop.

    Levelling down is: the gap of ``metric`` is smaller after, no group gained beyond sampling
    noise, and either some group lost beyond it (an exact paired test in each group, Holm's
    correction over all), or every group has more rows that lost than gained and together they are
    beyond it. To lose is to have a lower true positive rate, or selection rate where the metric
    compares that; false positives alone may be taken back without harm to a metric of errors.
    """
    was, now = (float(metric(problem.counts(decided)).size) for decided in (before, after))
    if not now < was:
        return ()
    tpr = _moves(problem, before, after, "true positive rate", problem.labels == 1)
    rates = [tpr]
    if all(rate == selection_rate for rate in metric.rates):
        rates.append(_moves(problem, before, after, "selection rate", problem.labels >= 0))
    moves = [move for by_group in rates for move in by_group]
    shown = holm([move.p for move in moves], ALPHA)
    sure = [move for move, is_shown in zip(moves, shown, strict=True) if is_shown]
    if any(move.gained > move.lost for move in sure):
        return ()
    shrank = f"levelling down: abs({metric.key}) shrank from {was:.3f} to {now:.3f} while"
    if sure:
        return (f"{shrank} {_listed(sure)}, and no group is shown to have gained",)
    falling = [moved for moved in rates if _all_lost(moved, ALPHA / len(rates))]
    return tuple(f"{shrank} no group gained: {_listed(moved)}" for moved in falling[:1])


@dataclass(frozen=True)
class _Move:
    """How one rate of one group has changed.

    ``rows`` of those it counts gained and lost; ``gained`` and ``lost`` are the effective rows of
    them, which are no whole numbers where rows have weights.
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


def _moves(
    problem: Problem, before: Tensor, after: Tensor, rate: str, counted: Tensor
) -> list[_Move]:
    """What became of a rate among the ``counted`` rows, (N,) bool, of each group."""
    ones = torch.ones(len(problem), device=problem.scores.device)
    weights = (ones if problem.weights is None else problem.weights).double()
    moves = []
    for g, name in enumerate(problem.group_names):
        here = counted & (problem.groups == g)
        was, now, weight = before[here], after[here], weights[here]
        won, gone = weight[now & ~was], weight[was & ~now]
        changed = torch.cat([won, gone])
        heaviness = float(changed.square().sum() / changed.sum()) if changed.any() else 1.0
        moves.append(
            _Move(
                group=name,
                rate=rate,
                before=float((weight * was).sum() / weight.sum()),
                after=float((weight * now).sum() / weight.sum()),
                rows=(len(won), len(gone)),
                gained=float(won.sum()) / heaviness,
                lost=float(gone.sum()) / heaviness,
            )
        )
    return moves


def _listed(moves: Sequence[_Move]) -> str:
    return ", ".join(
        f"the {m.rate} of {m.group!r} went from {m.before:.3f} to {m.after:.3f} "
        f"({m.rows[1]:,} rows lost, {m.rows[0]:,} gained)"
        for m in moves
    )


def _all_lost(moves: Sequence[_Move], alpha: float) -> bool:
    """Whether more was lost than gained in every group, and beyond noise in all together."""
    gained, lost = sum(move.gained for move in moves), sum(move.lost for move in moves)
    return all(move.lost > move.gained for move in moves) and sign_test(gained, lost) < alpha


def sign_test(gained: float, lost: float) -> float:
    """Exact two-sided p-value of "a changed row is as likely to gain as to lose" (McNemar).

    The counts may be effective rows, which are no whole numbers.
    """
    more, less = max(gained, lost), min(gained, lost)
    return min(1.0, 2 * float(betainc(more, less + 1, 0.5))) if more else 1.0

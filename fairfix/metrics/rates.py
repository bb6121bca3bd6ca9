"""Counts by group, and every metric as one function of those counts.

The counts may be hard (0/1 decisions) or soft (scores in [0, 1] in the place of decisions): the
soft ones make every metric here a differentiable proxy (Marcinkevics 2022, section 3.1).

Sign: two groups give *unprivileged minus privileged* (group 0 minus group 1, AIF360's sign); more
groups give the largest rate minus the smallest, never negative. A rate with an empty denominator
is NaN, and so is every figure built on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Counts:
    """True and false positives and negatives, each of shape (..., G), in rows.

    ``design_effect`` (scalar or (G,)) says by how much row weights widen a variance; 1 without.
    """

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    design_effect: Tensor | float = 1.0

    @property
    def sides(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.tp, self.fp, self.fn, self.tn

    def take(self, index: int | Tensor) -> Counts:
        """One entry of the leading axis, or several."""
        tp, fp, fn, tn = (side[index] for side in self.sides)
        return Counts(tp, fp, fn, tn, self.design_effect)

    def total(self) -> Counts:
        """The same counts over all groups, shape (..., 1)."""
        tp, fp, fn, tn = (side.sum(-1, keepdim=True) for side in self.sides)
        return Counts(tp, fp, fn, tn)


def count(
    decisions: Tensor, labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None
) -> Counts:
    """Counts of N rows by group.

    Args:
        decisions: (..., N) in [0, 1]: bool, 0/1, or soft. Its gradient flows into the counts.
        labels: (N,) 0/1, 1 = favorable.
        groups: (N,) group ids in 0..n_groups-1.
        weights: (N,) non-negative row weights; their mean is taken as one row.
    """
    return count_cells(
        decisions,
        cells(labels, groups, n_groups, weights),
        design_effect(groups, n_groups, weights),
    )


def cells(labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None) -> Tensor:
    """Which of the 2 G cells each row belongs to, (N, 2 G) float64: its weight there, else 0.

    Cell 2 g + y holds label y of group g.
    """
    weight = 1.0 if weights is None else in_rows(weights).unsqueeze(1)
    return torch.nn.functional.one_hot(2 * groups + labels, 2 * n_groups).double() * weight


def in_rows(weights: Tensor) -> Tensor:
    """Row weights (N,) as float64 with mean 1."""
    weights = weights.double()
    return weights / weights.mean()


def count_cells(decisions: Tensor, cells: Tensor, design_effect: Tensor | float = 1.0) -> Counts:
    """Counts of decisions (..., N), hard or soft, given ``cells`` (N, 2 G)."""
    positive = decisions.to(cells.dtype) @ cells
    size = cells.sum(0)
    tp, fp = positive[..., 1::2], positive[..., 0::2]
    return Counts(tp, fp, size[1::2] - tp, size[0::2] - fp, design_effect)


def design_effect(groups: Tensor, n_groups: int, weights: Tensor | None) -> Tensor | float:
    """sum(w^2) / sum(w) in each group, (n_groups,), of weights with mean 1; 1.0 without weights.

    The weighted rows of a group divided by it are Kish's effective rows, sum(w)^2 / sum(w^2).
    """
    if weights is None:
        return 1.0
    zeros = torch.zeros(n_groups, dtype=torch.float64, device=groups.device)
    w = in_rows(weights)
    return zeros.index_add(0, groups, w * w) / zeros.index_add(0, groups, w)


@dataclass(frozen=True)
class Rate:
    """A share of rows by group: ``hits`` of ``trials``, each (..., G). No trials: NaN."""

    hits: Tensor
    trials: Tensor
    design_effect: Tensor | float = 1.0

    @property
    def value(self) -> Tensor:
        return self.hits / self.trials

    @property
    def variance(self) -> Tensor:
        """Sampling variance with (hits + 1) / (trials + 2) for the share: 0 is never certainty."""
        share = (self.hits + 1) / (self.trials + 2)
        return self.design_effect * share * (1 - share) / self.trials

    @property
    def log_variance(self) -> Tensor:
        """Sampling variance of the logarithm of the share (delta method, smoothed alike)."""
        share = (self.hits + 1) / (self.trials + 2)
        return self.design_effect * (1 - share) / (share * self.trials)


def selection_rate(c: Counts) -> Rate:
    """P(decision = 1)."""
    return Rate(c.tp + c.fp, c.tp + c.fp + c.fn + c.tn, c.design_effect)


def true_positive_rate(c: Counts) -> Rate:
    """P(decision = 1 | label = 1)."""
    return Rate(c.tp, c.tp + c.fn, c.design_effect)


def false_positive_rate(c: Counts) -> Rate:
    """P(decision = 1 | label = 0)."""
    return Rate(c.fp, c.fp + c.tn, c.design_effect)


def accuracy_rate(c: Counts) -> Rate:
    """P(decision = label)."""
    return Rate(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn, c.design_effect)


@dataclass(frozen=True)
class Difference:
    """Signed differences and their sampling variances, each (..., P)."""

    value: Tensor
    variance: Tensor


@dataclass(frozen=True)
class Gap:
    """What a metric says of counts.

    Attributes:
        value: (...) as it is reported, signed where the metric has a sign; NaN when undefined.
        size: (...) what a budget bounds, >= 0, 0 = no gap; NaN when undefined.
        parts: differences that all lie within ``bound(budget)`` exactly when size < budget; of more
            than two groups those of every pair, one group with all that follow it at a time.
        neutral: ``value`` where there is no gap.
    """

    value: Tensor
    size: Tensor
    parts: tuple[Difference, ...]
    bound: Callable[[float], float] = float
    neutral: float = 0.0

    def probability_within(self, budget: float, k: float) -> Tensor:
        """P(true size < budget), (...), each part normal around what was seen.

        The standard error is multiplied by ``k``: 1 aims at the true gap, sqrt(2) at the gap on
        another table of the same size. Parts are taken as independent, which errs on the safe side
        for pairs of groups: they share rows, so that they fit together more often. NaN counts as 0.
        """
        bound = self.bound(budget)
        probability = torch.ones_like(self.value)
        for part in self.parts:
            scale = k * part.variance.sqrt()
            inside = _normal_cdf((bound - part.value) / scale) - _normal_cdf(
                (-bound - part.value) / scale
            )
            probability = probability * inside.prod(-1)
        return probability.nan_to_num(0.0)


def _normal_cdf(x: Tensor) -> Tensor:
    cdf: Tensor = torch.special.ndtr(x)
    return cdf


def _spread(value: Tensor) -> Tensor:
    """Group 0 minus group 1; of more groups, the largest minus the smallest."""
    if value.shape[-1] == 2:
        return value[..., 0] - value[..., 1]
    return value.amax(-1) - value.amin(-1)


def _pairs(value: Tensor, variance: Tensor) -> tuple[Difference, ...]:
    """The difference of every pair of groups; the largest has the size of the spread."""
    return tuple(
        Difference(
            value[..., i : i + 1] - value[..., i + 1 :],
            variance[..., i : i + 1] + variance[..., i + 1 :],
        )
        for i in range(value.shape[-1] - 1)
    )


@dataclass(frozen=True)
class Metric:
    """A fairness metric by name; called on counts, it gives the gap."""

    key: str
    title: str
    gap: Callable[[Counts], Gap]

    def __call__(self, counts: Counts) -> Gap:
        return self.gap(counts)


METRICS: dict[str, Metric] = {}


def _metric(title: str) -> Callable[[Callable[[Counts], Gap]], Callable[[Counts], Gap]]:
    def register(function: Callable[[Counts], Gap]) -> Callable[[Counts], Gap]:
        METRICS[function.__name__] = Metric(function.__name__, title, function)
        return function

    return register


def _single(value: Tensor, variance: Tensor) -> Gap:
    spread = _spread(value)
    return Gap(spread, spread.abs(), _pairs(value, variance))


def _of_rate(rate: Rate) -> Gap:
    return _single(rate.value, rate.variance)


@_metric("statistical parity difference")
def spd(c: Counts) -> Gap:
    """Difference of P(decision = 1), in [-1, 1]."""
    return _of_rate(selection_rate(c))


@_metric("equal opportunity difference")
def eod(c: Counts) -> Gap:
    """Difference of the true positive rate, in [-1, 1]."""
    return _of_rate(true_positive_rate(c))


@_metric("average odds difference")
def aod(c: Counts) -> Gap:
    """Difference of the average odds (TPR + FPR) / 2, in [-1, 1].

    Of two groups it is the mean of the signed TPR and FPR differences: opposite ones cancel to 0.
    """
    tpr, fpr = true_positive_rate(c), false_positive_rate(c)
    odds, variance = (tpr.value + fpr.value) / 2, (tpr.variance + fpr.variance) / 4
    return _single(odds, variance)


@_metric("average absolute odds difference")
def aaod(c: Counts) -> Gap:
    """Mean of the absolute TPR and FPR differences, in [0, 1].

    abs(a) + abs(b) = max(abs(a + b), abs(a - b)), which gives the two parts. Which of more groups
    are the extreme ones is chance too, so that the two least sure variances count.
    """
    tpr, fpr = true_positive_rate(c), false_positive_rate(c)
    one, other = _spread(tpr.value), _spread(fpr.value)
    value = (one.abs() + other.abs()) / 2
    both = torch.stack([one + other, one - other], -1) / 2
    variance = torch.cat([rate.variance.topk(2, -1).values for rate in (tpr, fpr)], -1) / 4
    return Gap(value, value, (Difference(both, variance.sum(-1, keepdim=True).expand_as(both)),))


@_metric("equalized odds difference")
def eqodds(c: Counts) -> Gap:
    """The larger of the absolute TPR and FPR differences, in [0, 1]."""
    tpr, fpr = _of_rate(true_positive_rate(c)), _of_rate(false_positive_rate(c))
    value = torch.maximum(tpr.size, fpr.size)
    return Gap(value, value, (*tpr.parts, *fpr.parts))


@_metric("false positive rate difference")
def fprd(c: Counts) -> Gap:
    """Difference of the false positive rate, in [-1, 1]."""
    return _of_rate(false_positive_rate(c))


@_metric("accuracy difference")
def ad(c: Counts) -> Gap:
    """Difference of accuracy, in [-1, 1]."""
    return _of_rate(accuracy_rate(c))


@_metric("disparate impact ratio")
def di(c: Counts) -> Gap:
    """Ratio of P(decision = 1), unprivileged / privileged (smallest / largest of more groups).

    The size is 1 - min(ratio, 1 / ratio), in [0, 1]; its part is the logarithm of the ratio.
    """
    rate = selection_rate(c)
    share = rate.value
    if share.shape[-1] == 2:
        ratio = share[..., 0] / share[..., 1]
    else:
        ratio = share.amin(-1) / share.amax(-1)
    return Gap(
        ratio,
        1 - torch.minimum(ratio, 1 / ratio),
        _pairs(share.log(), rate.log_variance),
        lambda budget: -math.log1p(-budget),
        neutral=1.0,
    )


@dataclass(frozen=True)
class Performance:
    """A performance measure by name; called on counts (..., G), it gives (...) in [0, 1]."""

    key: str
    title: str
    of_counts: Callable[[Counts], Tensor]

    def __call__(self, counts: Counts) -> Tensor:
        return self.of_counts(counts.total()).squeeze(-1)


def balanced_accuracy(c: Counts) -> Tensor:
    """Mean of the true positive and the true negative rate."""
    return (true_positive_rate(c).value + 1 - false_positive_rate(c).value) / 2


def accuracy(c: Counts) -> Tensor:
    """P(decision = label)."""
    return accuracy_rate(c).value


def f1(c: Counts) -> Tensor:
    """Harmonic mean of precision and recall; 0 when nothing is found."""
    return 2 * c.tp / (2 * c.tp + c.fp + c.fn)


PERFORMANCES: dict[str, Performance] = {
    function.__name__: Performance(function.__name__, title, function)
    for function, title in (
        (balanced_accuracy, "balanced accuracy"),
        (accuracy, "accuracy"),
        (f1, "F1 score"),
    )
}


def noise_ceiling(metric: Metric, budget: float, *tables: Counts) -> float:
    """P(gap < budget) when the true gap is 0 and the sampling noise of all tables adds up.

    The noise is what each table's rates and sizes say.
    """
    gaps = [metric(table) for table in tables]
    zero = torch.zeros((), device=tables[0].tp.device)
    parts = [
        Difference(zero, torch.stack([part.variance for part in same]).sum(0))
        for same in zip(*(gap.parts for gap in gaps), strict=True)
    ]
    none = Gap(zero, zero, tuple(parts), gaps[0].bound)
    return float(none.probability_within(budget, 1.0))


TRIVIAL_SHARE = 0.02


def is_trivial(counts: Counts) -> bool:
    """Whether a rule decides (nearly) all rows alike: under 2 % of the rows differ from the rest.

    Such a rule meets any budget, at balanced accuracy near 0.5.
    """
    share = float(selection_rate(counts.total()).value)
    return not TRIVIAL_SHARE <= share <= 1 - TRIVIAL_SHARE


def auc_by_group(
    scores: Tensor, labels: Tensor, groups: Tensor, n_groups: int, weights: Tensor | None = None
) -> Tensor:
    """Area under the ROC curve of each group, (n_groups,), ties counted one half.

    NaN where a group has rows of one label only. ``scores`` (N,).
    """
    w = torch.ones_like(scores, dtype=torch.float64) if weights is None else weights.double()
    return torch.stack(
        [_auc(scores[groups == g], labels[groups == g], w[groups == g]) for g in range(n_groups)]
    )


def _auc(scores: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    values, rank = scores.unique(return_inverse=True)
    zeros = torch.zeros(len(values), dtype=torch.float64, device=scores.device)
    positive = zeros.index_add(0, rank, weights * labels)
    negative = zeros.index_add(0, rank, weights * (1 - labels))
    below = negative.cumsum(0) - negative
    return (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())

"""Whether a gap grew, from decisions before and after on the same rows.

The noise of both is largely shared, so that every variance here is of the paired change. Rows are
stratified by group: the sizes of the groups (and of their labels, for rates among one label) are
taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass
from functools import reduce

import numpy as np
from scipy.stats import norm

from fairfix.metrics.gaps import Contrast
from fairfix.metrics.rates import Rate
from fairfix.metrics.registry import Metric


@dataclass(frozen=True)
class Rows:
    """Rows with two decisions each: bool, bool, 0/1, 0..n_groups-1, >= 0, of shape (N,) each."""

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray
    n_groups: int

    @property
    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        return self.before, self.after


@dataclass(frozen=True)
class Figures:
    """A figure of every group before and after, with variances and covariance, (G,) each.

    ``n`` are the effective rows behind it.
    """

    before: np.ndarray
    after: np.ndarray
    var_before: np.ndarray
    var_after: np.ndarray
    covariance: np.ndarray
    n: np.ndarray

    def take(self, which: np.ndarray) -> Figures:
        return Figures(*(array[which] for array in astuple(self)))


def figures(metric: Metric, rows: Rows) -> list[Figures]:
    """The figures whose differences between groups make the metric: one, or one a rate."""
    found = [_figures(rate, rows) for rate in metric.rates]
    if metric.contrast is Contrast.RATIO:
        return [_logarithm(found[0])]
    if metric.contrast is Contrast.MEAN_DIFFERENCE:
        return [_mean(*found)]
    return found


def _figures(rate: Rate, rows: Rows) -> Figures:
    """A rate of every group before and after."""
    before, after = (_hits(rate.hits, decided, rows.labels == 1) for decided in rows.decisions)
    if not rate.fixed_trials:
        among = (_hits(rate.trials, decided, rows.labels == 1) for decided in rows.decisions)
        return _rate_of_selected(rows, before, after, *among)
    return _rate(rows, before, after, np.isin(rows.labels, rate.labels))


def _hits(cells: Collection[str], decided: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Rows (N,) bool in some of the cells of the confusion matrix."""
    found = np.zeros_like(decided)
    for cell in cells:
        found |= (decided == (cell in ("tp", "fp"))) & (label == (cell in ("tp", "fn")))
    return found


def _rate(rows: Rows, before: np.ndarray, after: np.ndarray, among: np.ndarray) -> Figures:
    """How often something holds before and after among some rows of each group.

    For the variances half a row is added to each of the four outcomes, so that what was not seen
    is not taken for impossible (``rates.Rate.variance`` does the same to one rate).
    """

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(rows.groups[among], weights[among], rows.n_groups)

    w = rows.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        n = total(w) ** 2 / total(w**2)  # Kish's effective rows
        was, now, both = (total(w * held) / total(w) for held in (before, after, before & after))
        smooth_was, smooth_now = _smooth(was, n), _smooth(now, n)
        smooth_both = (n * both + 0.5) / (n + 2)
        return Figures(
            before=was,
            after=now,
            var_before=smooth_was * (1 - smooth_was) / n,
            var_after=smooth_now * (1 - smooth_now) / n,
            covariance=(smooth_both - smooth_was * smooth_now) / n,
            n=n,
        )


def _rate_of_selected(
    rows: Rows,
    before: np.ndarray,
    after: np.ndarray,
    among_before: np.ndarray,
    among_after: np.ndarray,
) -> Figures:
    """A rate among rows that the decisions select, as the positive predictive value.

    The covariance is that of two ratio estimators on the same rows (linearization).
    """
    w = rows.weights

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows.groups, values, rows.n_groups)

    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = [total(w * among) for among in (among_before, among_after)]
        ns = [
            size**2 / total(w**2 * among)
            for size, among in zip(sizes, (among_before, among_after), strict=True)
        ]
        was, now = total(w * before) / sizes[0], total(w * after) / sizes[1]
        smooth_was, smooth_now = _smooth(was, ns[0]), _smooth(now, ns[1])
        away = (before - was[rows.groups] * among_before) * (after - now[rows.groups] * among_after)
        return Figures(
            before=was,
            after=now,
            var_before=smooth_was * (1 - smooth_was) / ns[0],
            var_after=smooth_now * (1 - smooth_now) / ns[1],
            covariance=total(w**2 * away) / (sizes[0] * sizes[1]),
            n=np.minimum(*ns),
        )


def _smooth(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    smooth: np.ndarray = (n * share + 1) / (n + 2)
    return smooth


def _mean(one: Figures, other: Figures) -> Figures:
    """The mean of two figures from different rows."""
    return Figures(
        before=(one.before + other.before) / 2,
        after=(one.after + other.after) / 2,
        var_before=(one.var_before + other.var_before) / 4,
        var_after=(one.var_after + other.var_after) / 4,
        covariance=(one.covariance + other.covariance) / 4,
        n=np.minimum(one.n, other.n),
    )


def _logarithm(rate: Figures) -> Figures:
    """Logarithms of smoothed rates, so that a rate of 0 has one (delta method)."""
    was, now = _smooth(rate.before, rate.n), _smooth(rate.after, rate.n)
    return Figures(
        before=np.log(was),
        after=np.log(now),
        var_before=rate.var_before / was**2,
        var_after=rate.var_after / now**2,
        covariance=rate.covariance / (was * now),
        n=rate.n,
    )


@dataclass(frozen=True)
class Gaps:
    """The gap of a metric before and after, as contrasts of its figures.

    The size is the sum, over ``parts``, of the largest contrast of the part. A part is a matrix
    (contrasts, figures); each contrast subtracts one group's figure from another's. ``figures``
    holds all figures in one row.
    """

    figures: Figures
    parts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, metric: Metric, found: Sequence[Figures]) -> Gaps:
        """The gaps of a metric between the groups of its ``figures``."""
        n_groups = len(found[0].n)
        pairs = (np.eye(n_groups)[:, None] - np.eye(n_groups)).reshape(-1, n_groups)
        pairs = pairs[pairs.any(axis=1)]
        joined = Figures(*map(np.concatenate, zip(*map(astuple, found), strict=True)))
        if len(found) == 1:
            return cls(joined, (pairs,))
        none = np.zeros_like(pairs)
        each = [
            np.hstack([pairs if i == j else none for j in range(len(found))])
            for i in range(len(found))
        ]
        if metric.contrast is Contrast.MEAN_ABSOLUTE:
            return cls(joined, tuple(part / len(found) for part in each))
        return cls(joined, (np.vstack(each),))

    @property
    def extremes(self) -> tuple[np.ndarray, np.ndarray]:
        """The contrasts that give the size before and after."""
        return self._largest(self.figures.before), self._largest(self.figures.after)

    def _largest(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(sum(part[np.argmax(part @ values)] for part in self.parts))

    def standard_error(self, slopes: tuple[float, float] = (1.0, 1.0)) -> float:
        """Of size after minus size before, ``slopes`` saying how fast each grows."""
        f, (was, now) = self.figures, self.extremes
        was, now = slopes[0] * was, slopes[1] * now
        variance = was**2 @ f.var_before + now**2 @ f.var_after - 2 * (was * now) @ f.covariance
        return math.sqrt(variance)

    @property
    def p_grown(self) -> float:
        """p-value of "the size did not grow": small where it grew.

        It grew where one contrast after exceeds every contrast before. So the largest one after,
        corrected for having been picked among all, is held against each one before. Of two groups
        that is a two-sided test which knows that the sign of a small gap is chance.
        """
        f, (_, now) = self.figures, self.extremes
        lead = now @ f.after - _sums([part @ f.before for part in self.parts])
        variance = now**2 @ f.var_after + _sums(
            [part**2 @ f.var_before - 2 * (part * now) @ f.covariance for part in self.parts]
        )
        z = float((lead / np.sqrt(variance)).min())
        picked_from = math.prod(len(part) for part in self.parts)
        return min(1.0, picked_from * float(norm.sf(z)))


def _sums(terms: Sequence[np.ndarray]) -> np.ndarray:
    """Every sum of one entry of each."""
    return np.asarray(reduce(np.add.outer, terms))

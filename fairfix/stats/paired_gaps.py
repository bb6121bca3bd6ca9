"""Test and standard error of the change of a gap between two sets of decisions on the same rows.

Both gaps share most of their sampling error, so variances are those of the paired change. Rows are
stratified by group: group sizes (and label counts, for rates among one label) are taken as fixed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace
from functools import reduce

import numpy as np
import torch
from scipy import special

from fairfix.metrics.clusters import ClusterIndex
from fairfix.metrics.contrasts import Contrast
from fairfix.metrics.fairness_metrics import Metric
from fairfix.metrics.rates import Rate
from fairfix.stats.gap_intervals import MIN_CLUSTERS

ENDS = 6
"""Groups at each end of a rate whose contrasts are compared, of more than 24 groups."""


@dataclass(frozen=True)
class PairedDecisions:
    """Rows with two decisions each, (N,) each.

    Attributes:
        before, after: bool.
        labels: 0/1.
        groups: in 0..n_groups-1.
        weights: >= 0.
        clusters: numbers of clusters; None for independent rows.
    """

    before: np.ndarray
    after: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    weights: np.ndarray
    n_groups: int
    clusters: np.ndarray | None = None

    @property
    def decisions(self) -> tuple[np.ndarray, np.ndarray]:
        return self.before, self.after


@dataclass(frozen=True)
class PairedRates:
    """A rate (or its logarithm, or a mean of two) of every group before and after, (G,) each.

    Attributes:
        var_before, var_after, covariance: of the two estimates.
        n: effective rows.
    """

    before: np.ndarray
    after: np.ndarray
    var_before: np.ndarray
    var_after: np.ndarray
    covariance: np.ndarray
    n: np.ndarray

    def take(self, which: np.ndarray) -> PairedRates:
        """Return those of some groups."""
        return PairedRates(*(array[which] for array in astuple(self)))


def paired_rates(metric: Metric, rows: PairedDecisions) -> list[PairedRates]:
    """Return the quantities whose differences between groups make the metric: one or two."""
    rates = [_paired_rate(rate, rows) for rate in metric.rates]
    if metric.contrast is Contrast.RATIO:
        return [_logarithm(rates[0])]
    if metric.contrast is Contrast.MEAN_DIFFERENCE:
        return [_mean(*rates)]
    return rates


def _paired_rate(rate: Rate, rows: PairedDecisions) -> PairedRates:
    before, after = (_hits(rate.hits, decided, rows.labels == 1) for decided in rows.decisions)
    if not rate.fixed_trials:
        among = (_hits(rate.trials, decided, rows.labels == 1) for decided in rows.decisions)
        return _rate_of_selected(rows, before, after, *among)
    return _rate_of_fixed_rows(rows, before, after, np.isin(rows.labels, rate.labels))


def _hits(cells: Collection[str], decided: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return which rows, (N,) bool, are in any of some cells of the confusion matrix."""
    hits = np.zeros_like(decided)
    for cell in cells:
        hits |= (decided == (cell in ("tp", "fp"))) & (label == (cell in ("tp", "fn")))
    return hits


def _rate_of_fixed_rows(
    rows: PairedDecisions, before: np.ndarray, after: np.ndarray, among: np.ndarray
) -> PairedRates:
    """Return the rates of ``before`` and ``after`` among some rows of each group, (N,) bool each.

    For the variances half a row is added to each of the four outcomes, so that they are not 0 for
    unobserved outcomes (as in ``fairfix.metrics.rates``).
    """

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(rows.groups[among], weights[among], rows.n_groups)

    w = rows.weights
    with np.errstate(invalid="ignore", divide="ignore"):
        n = total(w) ** 2 / total(w**2)  # Kish's effective rows
        was, now, both = (total(w * held) / total(w) for held in (before, after, before & after))
        smooth_was, smooth_now = _smooth(was, n), _smooth(now, n)
        smooth_both = (n * both + 0.5) / (n + 2)
        found = PairedRates(
            before=was,
            after=now,
            var_before=smooth_was * (1 - smooth_was) / n,
            var_after=smooth_now * (1 - smooth_now) / n,
            covariance=(smooth_both - smooth_was * smooth_now) / n,
            n=n,
        )
    return _clustered(rows, found, (before & among, after & among), (among, among))


def _rate_of_selected(
    rows: PairedDecisions,
    before: np.ndarray,
    after: np.ndarray,
    among_before: np.ndarray,
    among_after: np.ndarray,
) -> PairedRates:
    """Return a rate among rows that depend on the decisions, such as positive predictive value.

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
        residuals = [
            before - was[rows.groups] * among_before,
            after - now[rows.groups] * among_after,
        ]
        found = PairedRates(
            before=was,
            after=now,
            var_before=smooth_was * (1 - smooth_was) / ns[0],
            var_after=smooth_now * (1 - smooth_now) / ns[1],
            covariance=total(w**2 * residuals[0] * residuals[1]) / (sizes[0] * sizes[1]),
            n=np.minimum(*ns),
        )
    return _clustered(rows, found, (before, after), (among_before, among_after))


def _clustered(
    rows: PairedDecisions,
    rates: PairedRates,
    hits: tuple[np.ndarray, np.ndarray],
    trials: tuple[np.ndarray, np.ndarray],
) -> PairedRates:
    """Return the rates with variances increased by the largest design effect in each group.

    That is the effect on the rate before, after, or on their change, at least 1.

    Args:
        hits, trials: rows in numerator and denominator, before and after, (N,) bool each.
    """
    if rows.clusters is None:
        return rates
    index = ClusterIndex.of(
        torch.from_numpy(rows.clusters), torch.from_numpy(rows.groups), rows.n_groups
    )
    pair, group = index.pair.numpy(), index.group.numpy()

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(rows.groups, values, rows.n_groups)

    number = np.bincount(group, minlength=rows.n_groups)
    as_one = np.bincount(group, np.bincount(pair) ** 2.0, rows.n_groups) / total(rows.weights**0)
    effects = [np.ones(rows.n_groups)]
    with np.errstate(invalid="ignore", divide="ignore"):
        before, after = (
            rows.weights
            * (hit - value[rows.groups] * among)
            / total(rows.weights * among)[rows.groups]
            for hit, among, value in zip(hits, trials, (rates.before, rates.after), strict=True)
        )
        for influence in (before, after, after - before):
            together = np.bincount(group, np.bincount(pair, influence) ** 2, rows.n_groups)
            separate = total(influence**2)
            effect = number / (number - 1) * together / separate
            effects.append(np.where(np.isfinite(effect), effect, as_one))
    factor = np.maximum.reduce(effects)
    return replace(
        rates,
        var_before=rates.var_before * factor,
        var_after=rates.var_after * factor,
        covariance=rates.covariance * factor,
        n=np.where(number < MIN_CLUSTERS, 0.0, rates.n / factor),
    )


def _smooth(share: np.ndarray, n: np.ndarray) -> np.ndarray:
    smooth: np.ndarray = (n * share + 1) / (n + 2)
    return smooth


def _mean(one: PairedRates, other: PairedRates) -> PairedRates:
    """Return the mean of two rates of different rows."""
    return PairedRates(
        before=(one.before + other.before) / 2,
        after=(one.after + other.after) / 2,
        var_before=(one.var_before + other.var_before) / 4,
        var_after=(one.var_after + other.var_after) / 4,
        covariance=(one.covariance + other.covariance) / 4,
        n=np.minimum(one.n, other.n),
    )


def _logarithm(rate: PairedRates) -> PairedRates:
    """Return logarithms of smoothed rates, defined for a rate of 0 (delta method)."""
    was, now = _smooth(rate.before, rate.n), _smooth(rate.after, rate.n)
    return PairedRates(
        before=np.log(was),
        after=np.log(now),
        var_before=rate.var_before / was**2,
        var_after=rate.var_after / now**2,
        covariance=rate.covariance / (was * now),
        n=rate.n,
    )


@dataclass(frozen=True)
class PairedGap:
    """The gap of a metric before and after, as contrasts of rates.

    The size is the sum over ``parts`` of the largest contrast in each.

    Attributes:
        rates: all rates, concatenated.
        parts: matrices (contrasts, rates); each contrast subtracts one group's rate from another's.
            Of many groups, only contrasts between those at either end.
        n_contrasts: sums of one contrast of each part, of all groups.
    """

    rates: PairedRates
    parts: tuple[np.ndarray, ...]
    n_contrasts: int

    @classmethod
    def from_rates(cls, metric: Metric, rates: Sequence[PairedRates]) -> PairedGap:
        """Return the gap of a metric, from its ``paired_rates``."""
        n_groups = len(rates[0].n)
        ends = np.eye(n_groups)[_groups_at_the_ends(rates)]
        pairs = (ends[:, None] - ends).reshape(-1, n_groups)
        pairs = pairs[pairs.any(axis=1)]
        n_pairs = n_groups * (n_groups - 1)
        joined = PairedRates(*map(np.concatenate, zip(*map(astuple, rates), strict=True)))
        if len(rates) == 1:
            return cls(joined, (pairs,), n_pairs)
        none = np.zeros_like(pairs)
        by_rate = [
            np.hstack([pairs if i == j else none for j in range(len(rates))])
            for i in range(len(rates))
        ]
        if metric.contrast is Contrast.MEAN_ABSOLUTE:
            parts = tuple(part / len(rates) for part in by_rate)
            return cls(joined, parts, n_pairs ** len(rates))
        return cls(joined, (np.vstack(by_rate),), n_pairs * len(rates))

    @property
    def largest_contrasts(self) -> tuple[np.ndarray, np.ndarray]:
        """The contrasts whose values are the size before and after."""
        return self._largest(self.rates.before), self._largest(self.rates.after)

    def _largest(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(sum(part[np.argmax(part @ values)] for part in self.parts))

    def standard_error(self, slopes: tuple[float, float] = (1.0, 1.0)) -> float:
        """Return the standard error of size after - size before.

        Args:
            slopes: derivatives of the reported sizes by those of the contrasts, before and after.
        """
        r, (was, now) = self.rates, self.largest_contrasts
        was, now = slopes[0] * was, slopes[1] * now
        variance = was**2 @ r.var_before + now**2 @ r.var_after - 2 * (was * now) @ r.covariance
        return math.sqrt(variance)

    @property
    def p_grown(self) -> float:
        """p-value of "the size did not grow".

        The size grew if one contrast after exceeds every contrast before. So the largest contrast
        after, with Bonferroni's correction for choosing it, is compared with each one before. With
        two groups this is a two-sided test, which accounts for the random sign of a small gap.
        """
        r, (_, now) = self.rates, self.largest_contrasts
        differences = now @ r.after - _outer_sum([part @ r.before for part in self.parts])
        variance = now**2 @ r.var_after + _outer_sum(
            [part**2 @ r.var_before - 2 * (part * now) @ r.covariance for part in self.parts]
        )
        z = float((differences / np.sqrt(variance)).min())
        return min(1.0, self.n_contrasts * float(special.ndtr(-z)))


def _outer_sum(terms: Sequence[np.ndarray]) -> np.ndarray:
    """Return every sum of one entry of each term."""
    return np.asarray(reduce(np.add.outer, terms))


def _groups_at_the_ends(rates: Sequence[PairedRates]) -> np.ndarray:
    """Return the groups whose contrasts can be the largest, (K,): all, if they are few.

    Of each rate these are the groups with the highest and lowest values before and after, by
    estimate and by both limits of one standard error.
    """
    n_groups = len(rates[0].n)
    if n_groups <= 4 * ENDS:
        return np.arange(n_groups)
    values = [
        value + sign * np.sqrt(variance)
        for rate in rates
        for value, variance in ((rate.before, rate.var_before), (rate.after, rate.var_after))
        for sign in (-1.0, 0.0, 1.0)
    ]
    orders = [np.argsort(value, kind="stable") for value in values]
    return np.unique([np.r_[order[:ENDS], order[-ENDS:]] for order in orders])

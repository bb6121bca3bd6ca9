"""Search for the subgroups whose decisions or errors differ most from the rest.

A search over very many subgroups always finds one that looks bad. So the search uses one part of
the rows, and its candidates, one for each rate and direction, are estimated and tested on the other
part, with Holm's correction for the number of candidates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.splitting import random_parts
from fairfix.data.table import Group
from fairfix.metrics.clusters import design_effect_of_mean
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.gap_intervals import MIN_CLUSTERS, MIN_ROWS
from fairfix.stats.intervals import (
    CLOPPER_PEARSON,
    MIETTINEN_NURMINEN,
    Interval,
    contrast_limits,
    exact_contrast_limits,
    few_clusters_alpha,
    few_clusters_p,
    has_small_counts,
)
from fairfix.stats.subgroups.column_bins import BinnedColumn, bin_columns, choose_inputs
from fairfix.stats.subgroups.conjunctions import (
    Direction,
    find_strongest,
    in_subgroup,
    log_likelihood_ratio,
)
from fairfix.stats.verdicts import holm_adjusted

SEARCH_FRACTION = 0.6
"""Fraction of rows used for the search, which needs more than the tests of its candidates."""

MAX_SEARCH_ROWS = 50_000
"""Most rows used for the search, whose time is proportional to them."""

MAX_FEATURES = 16
"""Most features that are searched; time grows with the third power of the columns."""

TITLES = {
    "selection_rate": "positive decisions",
    "fnr": "negative decisions where the label is positive",
    "fpr": "positive decisions where the label is negative",
}


@dataclass(frozen=True)
class Subgroup:
    """A subgroup that the search proposed, estimated on test rows, which the search did not use.

    Attributes:
        rate_of: "selection_rate", "fnr" or "fpr"; ``title`` describes it.
        direction: "higher" or "lower" than in the rest: what was searched for.
        where: from column to its values in words; all conditions hold together.
        share: fraction of all rows of the table that are in the subgroup.
        rows: test rows in the subgroup that count for the rate.
        rate, rest: the rate in the subgroup, and in all other test rows.
        difference: rate - rest.
        interval: of the difference, two-sided at 1 - 2 alpha.
        p_adjusted: one-sided p-value of a difference in that direction, adjusted by Holm's method.
    """

    rate_of: str
    title: str
    direction: Direction
    where: dict[str, str]
    share: float
    rows: int
    rate: float
    rest: float
    difference: float
    interval: Interval
    p_adjusted: float

    @property
    def name(self) -> str:
        """The conditions in one line: ``sex=F & age=up to 30``."""
        return _describe(self.where)


@dataclass(frozen=True)
class SubgroupScan:
    """Result of a search for subgroups.

    Attributes:
        subgroups: the candidates that could be tested, by p-value, significant or not.
        searched, tested: numbers of rows used for the search and for the tests.
        columns: all columns; of more than 16 features, each rate uses the 16 most informative.
        too_few: candidates with fewer than 30 effective test rows in them or in the rest.
        inputs, inputs_left_out: numbers of inputs considered and left out.
    """

    subgroups: tuple[Subgroup, ...]
    searched: int
    tested: int
    columns: tuple[str, ...]
    too_few: tuple[str, ...]
    inputs: int = 0
    inputs_left_out: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in words."""
        if not self.inputs_left_out:
            return ()
        if not self.inputs:
            return ("subgroups: the inputs are not columns of a table and were not searched",)
        total = self.inputs + self.inputs_left_out
        return (
            f"subgroups: of {total:,} inputs the {self.inputs:,} most correlated with the "
            "decisions were searched",
        )

    def significant(self, level: float = 0.05) -> tuple[Subgroup, ...]:
        """Return the subgroups with an adjusted p-value of at most ``level``.

        If no subgroup differs, the probability of returning any is at most ``level``.
        """
        return tuple(each for each in self.subgroups if each.p_adjusted <= level)


def worst_subgroups(
    problem: Problem,
    decisions: Tensor,
    groups: Sequence[Group],
    feature_names: Sequence[str] = (),
    *,
    seed: int = 0,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> SubgroupScan:
    """Search for subgroups with deviating selection, false negative and false positive rates.

    Different selection rates alone are not evidence of bias, as they may follow from legitimate
    features; error rates are relative to the labels. Numbers are binned into at most five
    intervals. A subgroup has at most three conditions and at least 30 rows of the search. Row
    weights are used in the estimates and tests, not in the search.

    Args:
        problem: rows (N,), with features (N, D) or without.
        decisions: (N,) bool, True = positive.
        groups: the group columns, at least one.
        feature_names: D names of the features; without names, features are not searched.
        seed: of the split of rows; equal inputs and seed give equal results.
        confidence: of the intervals.
    """
    search_rows, test_rows = _parts(problem, seed)
    features, names, left_out = choose_inputs(problem, decisions, feature_names, search_rows)
    columns = bin_columns(groups, features, names)
    search = _SubgroupSearch(
        columns=columns,
        protected=frozenset(group.column for group in groups),
        weights=_weights(problem),
        clusters=None if problem.clusters is None else problem.clusters.cpu().numpy(),
        search_rows=np.sort(search_rows),
        test_rows=np.sort(test_rows),
    )
    candidates = [
        candidate
        for rate_of, (counted, hits) in _outcomes(problem, decisions).items()
        for candidate in search.candidates(rate_of, counted, hits)
    ]
    return SubgroupScan(
        subgroups=_tested([each for each in candidates if each.testable], confidence.alpha),
        searched=len(search_rows),
        tested=len(test_rows),
        columns=tuple(column.column for column in columns),
        too_few=tuple(each.name for each in candidates if not each.testable),
        inputs=len(names),
        inputs_left_out=left_out,
    )


def _parts(problem: Problem, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers of the search and of the tests; clusters are kept together."""
    n = len(problem)
    searched = min(MAX_SEARCH_ROWS, int(SEARCH_FRACTION * n))
    if problem.clusters is None:
        order = np.random.default_rng(seed).permutation(n)
        return order[:searched], order[searched:]
    share, clusters = searched / n, problem.clusters.cpu().numpy()
    parts = random_parts(n, {"search": (0, share), "test": (share, 1)}, seed, clusters)
    return parts["search"], parts["test"]


def _weights(problem: Problem) -> np.ndarray:
    if problem.weights is None:
        return np.ones(len(problem))
    return problem.weights.cpu().numpy().astype(float)


def _outcomes(problem: Problem, decisions: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return by rate which rows are counted, and which are hits; each (N,) bool."""
    positive = problem.labels.cpu().numpy() == 1
    decided = decisions.cpu().numpy().astype(bool)
    if not problem.labeled:
        return {"selection_rate": (np.ones_like(positive), decided)}
    return {
        "selection_rate": (np.ones_like(positive), decided),
        "fnr": (positive, ~decided),
        "fpr": (~positive, decided),
    }


@dataclass(frozen=True)
class _Candidate:
    """A subgroup to be tested.

    Attributes:
        rows: number of test rows in the subgroup.
        hits, trials: (2,) effective test rows in the subgroup and in the rest.
        clusters: the smaller number of clusters of the two; infinite for independent rows.
    """

    rate_of: str
    direction: Direction
    where: dict[str, str]
    share: float
    rows: int
    hits: np.ndarray
    trials: np.ndarray
    clusters: float

    @property
    def name(self) -> str:
        return f"{TITLES[self.rate_of]}: {_describe(self.where)}"

    @property
    def testable(self) -> bool:
        return bool((self.trials >= MIN_ROWS).all()) and self.clusters >= MIN_CLUSTERS


@dataclass(frozen=True)
class _SubgroupSearch:
    """Columns, weights and clusters of N rows, and the rows to search and to test on."""

    columns: tuple[BinnedColumn, ...]
    protected: frozenset[str]
    weights: np.ndarray
    clusters: np.ndarray | None
    search_rows: np.ndarray
    test_rows: np.ndarray

    def candidates(
        self, rate_of: str, counted: np.ndarray, hits: np.ndarray
    ) -> Iterator[_Candidate]:
        """Yield the best-scoring subgroup of each direction, of a rate among ``counted`` rows."""
        searched = self.search_rows[counted[self.search_rows]]
        if not 0 < hits[searched].sum() < len(searched):
            return
        columns = self._most_informative(searched, hits)
        if not columns:
            return
        codes = np.stack([column.codes for column in columns], 1)
        sets = [column.sets for column in columns]
        strongest = find_strongest(codes[searched], sets, hits[searched], MIN_ROWS)
        test_rows = self.test_rows[counted[self.test_rows]]
        for direction, conditions in strongest.items():
            rows = in_subgroup(conditions, codes)
            mask = rows[test_rows]
            sides = test_rows[mask], test_rows[~mask]
            parts = [self._effective(side, hits) for side in sides]
            part_hits, part_trials = np.array(parts).T
            where = {
                columns[index].column: columns[index].describe(values)
                for index, values in conditions.items()
            }
            share = float(self.weights[rows].sum() / self.weights.sum())
            size = int(mask.sum())
            clusters = min(map(self._n_clusters, sides))
            yield _Candidate(
                rate_of, direction, where, share, size, part_hits, part_trials, clusters
            )

    def _most_informative(self, searched: np.ndarray, hits: np.ndarray) -> list[BinnedColumn]:
        """Return the group columns, and the features whose values differ most in the rate."""

        def information(column: BinnedColumn) -> float:
            values, codes = len(column.values), column.codes[searched]
            rows = np.bincount(codes, minlength=values)
            value_hits = np.bincount(codes[hits[searched]], minlength=values)
            ratio = log_likelihood_ratio(value_hits, rows, float(hits[searched].mean()))
            return float(ratio.sum()) - values / 2  # expected by chance: about 1/2 per value

        features = [column for column in self.columns if column.column not in self.protected]
        kept = {column.column for column in sorted(features, key=information)[-MAX_FEATURES:]}
        return [c for c in self.columns if c.column in self.protected or c.column in kept]

    def _effective(self, rows: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
        """Return effective hits and trials of rows given by index.

        Trials are sum(w)^2 / sum(w^2), divided by the design effect of clusters.
        """
        w = self.weights[rows]
        if not w.any():
            return 0.0, 0.0
        trials = float(w.sum() ** 2 / (w @ w))
        if self.clusters is not None:
            trials /= design_effect_of_mean(hits[rows].astype(float), w, self.clusters[rows])
        return trials * float(w @ hits[rows] / w.sum()), trials

    def _n_clusters(self, rows: np.ndarray) -> float:
        return math.inf if self.clusters is None else len(np.unique(self.clusters[rows]))


def _tested(candidates: Sequence[_Candidate], alpha: float) -> tuple[Subgroup, ...]:
    """Return estimates and adjusted p-values of the candidates, by p-value."""
    estimates = [_estimate(each, alpha) for each in candidates]
    adjusted = holm_adjusted([each.p_adjusted for each in estimates])
    tested = [replace(each, p_adjusted=p) for each, p in zip(estimates, adjusted, strict=True)]
    return tuple(sorted(tested, key=lambda s: (s.p_adjusted, -abs(s.difference))))


def _estimate(candidate: _Candidate, alpha: float) -> Subgroup:
    """Return the candidate on the test rows, with its p-value not yet adjusted."""
    rate, rest = (float(value) for value in candidate.hits / candidate.trials)
    return Subgroup(
        rate_of=candidate.rate_of,
        title=TITLES[candidate.rate_of],
        direction=candidate.direction,
        where=candidate.where,
        share=candidate.share,
        rows=candidate.rows,
        rate=rate,
        rest=rest,
        difference=rate - rest,
        interval=_interval(candidate, alpha),
        p_adjusted=_p_value(candidate),
    )


def _interval(candidate: _Candidate, alpha: float) -> Interval:
    """Return the interval of the difference from the rest, exact if counts are small."""
    hits, trials = candidate.hits, candidate.trials
    is_exact = bool(has_small_counts(hits, trials).any())
    limits_of = exact_contrast_limits if is_exact else contrast_limits
    alpha = few_clusters_alpha(alpha, candidate.clusters)
    limits = limits_of(hits, trials, [1.0, -1.0], alpha)
    method = CLOPPER_PEARSON if is_exact else MIETTINEN_NURMINEN
    return Interval(float(limits.low), float(limits.high), method)


def _p_value(candidate: _Candidate) -> float:
    """Return the one-sided p-value of Fisher's exact test of the subgroup against the rest."""
    (hits, others), (size, rest) = np.rint(candidate.hits), np.rint(candidate.trials)
    total = hits + others
    possible = np.arange(max(0, total - rest), min(size, total) + 1)
    log_ways = _log_binomial(size, possible) + _log_binomial(rest, total - possible)
    extreme = possible >= hits if candidate.direction == "higher" else possible <= hits
    log_p = special.logsumexp(log_ways[extreme]) - _log_binomial(size + rest, total)
    return float(few_clusters_p(np.minimum(1.0, np.exp(log_p)), candidate.clusters))


def _log_binomial(n: float, k: float | np.ndarray) -> np.ndarray:
    """Return the logarithm of the binomial coefficient."""
    return np.asarray(-special.betaln(n - k + 1, k + 1) - np.log(n + 1))


def _describe(where: Mapping[str, str]) -> str:
    return " & ".join(f"{column}={values}" for column, values in where.items())

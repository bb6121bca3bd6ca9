"""The subgroups that decisions treat most unlike the rest, over simple conjunctions of columns.

A search over very many subgroups always finds one that looks bad. So it sees one part of the rows,
and what it proposes, one subgroup for each rate and direction, is measured and tested on the other
part, which played no role in choosing it; Holm's correction covers the few proposals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.intervals import SCORE, STRICT, Interval, contrast, small, strict_contrast
from fairfix.stats.subgroups.column_bins import Bucketed, bucketed
from fairfix.stats.subgroups.conjunctions import Direction, inside, log_likelihood_ratio, strongest
from fairfix.stats.verdicts import holm_adjusted

# A search over many subgroups needs more rows than the test of the one it proposes.
SEARCHED_SHARE = 0.6
SEARCHED = 50_000  # rows at most: time grows with them
FEATURES = 16  # at most, beside the protected columns: time grows with their third power
MIN_ROWS = 30
TITLES = {
    "selection_rate": "positive decisions",
    "fnr": "negative decisions where the label is positive",
    "fpr": "positive decisions where the label is negative",
}


@dataclass(frozen=True)
class Subgroup:
    """A subgroup that the search proposed, measured on rows that the search did not see.

    Attributes:
        rate_of: "selection_rate", "fnr" or "fpr"; ``title`` says it in words.
        direction: "higher" or "lower" than in the rest: what was searched for.
        where: column -> its values in words; all the conditions hold together.
        share: of all rows of the table that are in it.
        rows: unseen rows in it that have the rate.
        rate, rest: in it, and in all other unseen rows.
        difference: rate - rest, and its ``interval``, two-sided at 1 - 2 alpha.
        p_adjusted: of a difference in that direction, corrected for all that was tested (Holm).
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
        """Its conditions in a line: ``sex=F & age=up to 30``."""
        return _line(self.where)


@dataclass(frozen=True)
class SubgroupScan:
    """What a search for subgroups found.

    Attributes:
        subgroups: the proposals that could be tested, the surest first, whether significant or not.
        searched, judged: rows that the search saw, and rows it did not see.
        columns: over which it searched; of more than 16 features, the 16 that tell most of a rate.
        too_few: proposals with fewer than 30 (effective) unseen rows in them or in the rest.
    """

    subgroups: tuple[Subgroup, ...]
    searched: int
    judged: int
    columns: tuple[str, ...]
    too_few: tuple[str, ...]

    def significant(self, level: float = 0.05) -> tuple[Subgroup, ...]:
        """Those with an adjusted p-value of at most ``level``.

        Where no subgroup differs at all, there is one with a probability of ``level`` at most.
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
    """Search for subgroups of deviant selection, false negative and false positive rates.

    Selection rates that differ by what the model rightly looks at are no bias by themselves; the
    error rates are held against the labels. Numbers count in at most five intervals; a subgroup
    has at most three conditions and, when proposed, at least 30 rows. Row weights count when a
    subgroup is measured, not while searching. Equal inputs and seed give equal results.

    Args:
        problem: rows (N,), with features (N, D) or without.
        decisions: (N,) bool, True = positive.
        groups: the protected columns, at least one.
        feature_names: D names of the features; none leaves features aside.
    """
    features = problem.features.cpu().numpy() if problem.features is not None else None
    columns = bucketed(groups, features if feature_names else None, feature_names)
    order = np.random.default_rng(seed).permutation(len(problem))
    seen = min(SEARCHED, int(SEARCHED_SHARE * len(order)))
    search = _Search(
        columns=columns,
        protected=frozenset(group.column for group in groups),
        weights=_weights(problem),
        searched=np.sort(order[:seen]),
        judged=np.sort(order[seen:]),
    )
    proposals = [
        proposal
        for rate_of, (has, hit) in _outcomes(problem, decisions).items()
        for proposal in search.proposals(rate_of, has, hit)
    ]
    return SubgroupScan(
        subgroups=_tested([each for each in proposals if each.testable], confidence.alpha),
        searched=seen,
        judged=len(order) - seen,
        columns=tuple(column.column for column in columns),
        too_few=tuple(each.name for each in proposals if not each.testable),
    )


def _weights(problem: Problem) -> np.ndarray:
    if problem.weights is None:
        return np.ones(len(problem))
    return problem.weights.cpu().numpy().astype(float)


def _outcomes(problem: Problem, decisions: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each rate: which rows have it, and which rows are hit; each (N,) bool."""
    positive = problem.labels.cpu().numpy() == 1
    decided = decisions.cpu().numpy().astype(bool)
    return {
        "selection_rate": (np.ones_like(positive), decided),
        "fnr": (positive, ~decided),
        "fpr": (~positive, decided),
    }


@dataclass(frozen=True)
class _Proposal:
    """A subgroup to be tested on the unseen rows.

    ``hits`` and ``trials`` (2,) are effective rows in the subgroup and in the rest; ``rows``
    counts those in the subgroup.
    """

    rate_of: str
    direction: Direction
    where: dict[str, str]
    share: float
    rows: int
    hits: np.ndarray
    trials: np.ndarray

    @property
    def name(self) -> str:
        return f"{TITLES[self.rate_of]}: {_line(self.where)}"

    @property
    def testable(self) -> bool:
        return bool((self.trials >= MIN_ROWS).all())


@dataclass(frozen=True)
class _Search:
    """Columns of N rows, and the numbers of the rows to search and of those to judge by."""

    columns: tuple[Bucketed, ...]
    protected: frozenset[str]
    weights: np.ndarray
    searched: np.ndarray
    judged: np.ndarray

    def proposals(self, rate_of: str, has: np.ndarray, hit: np.ndarray) -> Iterator[_Proposal]:
        """The strongest subgroup of each direction, of a rate that the rows ``has`` have."""
        seen = self.searched[has[self.searched]]
        if not 0 < hit[seen].sum() < len(seen):
            return
        columns = self._telling(seen, hit)
        if not columns:
            return
        codes = np.stack([column.codes for column in columns], 1)
        found = strongest(codes[seen], [column.sets for column in columns], hit[seen], MIN_ROWS)
        unseen = self.judged[has[self.judged]]
        for direction, conditions in found.items():
            rows = inside(conditions, codes)
            here = rows[unseen]
            parts = [self._effective(unseen[part], hit) for part in (here, ~here)]
            hits, trials = np.array(parts).T
            where = {
                columns[place].column: columns[place].describe(values)
                for place, values in conditions.items()
            }
            share = float(self.weights[rows].sum() / self.weights.sum())
            yield _Proposal(rate_of, direction, where, share, int(here.sum()), hits, trials)

    def _telling(self, seen: np.ndarray, hit: np.ndarray) -> list[Bucketed]:
        """The protected columns, and the features whose values differ most in the rate."""

        def tells(column: Bucketed) -> float:
            values, codes = len(column.values), column.codes[seen]
            rows = np.bincount(codes, minlength=values)
            hits = np.bincount(codes[hit[seen]], minlength=values)
            ratio = log_likelihood_ratio(hits, rows, float(hit[seen].mean()))
            return float(ratio.sum()) - values / 2  # chance alone gives about half a value

        features = [column for column in self.columns if column.column not in self.protected]
        kept = {column.column for column in sorted(features, key=tells)[-FEATURES:]}
        return [c for c in self.columns if c.column in self.protected or c.column in kept]

    def _effective(self, rows: np.ndarray, hit: np.ndarray) -> tuple[float, float]:
        """Hits and trials among numbered rows, as effective rows: sum(w)^2 / sum(w^2)."""
        w = self.weights[rows]
        if not w.any():
            return 0.0, 0.0
        trials = float(w.sum() ** 2 / (w @ w))
        return trials * float(w @ hit[rows] / w.sum()), trials


def _tested(proposals: Sequence[_Proposal], alpha: float) -> tuple[Subgroup, ...]:
    measured = [_measured(each, alpha) for each in proposals]
    adjusted = holm_adjusted([each.p_adjusted for each in measured])
    found = [replace(each, p_adjusted=p) for each, p in zip(measured, adjusted, strict=True)]
    return tuple(sorted(found, key=lambda s: (s.p_adjusted, -abs(s.difference))))


def _measured(proposal: _Proposal, alpha: float) -> Subgroup:
    """The proposal on the unseen rows; ``p_adjusted`` is the p-value by itself as yet."""
    rate, rest = (float(share) for share in proposal.hits / proposal.trials)
    return Subgroup(
        rate_of=proposal.rate_of,
        title=TITLES[proposal.rate_of],
        direction=proposal.direction,
        where=proposal.where,
        share=proposal.share,
        rows=proposal.rows,
        rate=rate,
        rest=rest,
        difference=rate - rest,
        interval=_interval(proposal, alpha),
        p_adjusted=_p_value(proposal),
    )


def _interval(proposal: _Proposal, alpha: float) -> Interval:
    """Of the difference to the rest; exact where hits or misses are few."""
    hits, trials = proposal.hits, proposal.trials
    exact = bool(small(hits, trials).any())
    limits = (strict_contrast if exact else contrast)(hits, trials, [1.0, -1.0], alpha)
    return Interval(float(limits.low), float(limits.high), STRICT if exact else SCORE)


def _p_value(proposal: _Proposal) -> float:
    """Fisher's exact test of the subgroup against the rest, one-sided."""
    from scipy.stats import hypergeom

    (hits, others), (size, rest) = np.rint(proposal.hits), np.rint(proposal.trials)
    chance = hypergeom(size + rest, hits + others, size)
    return float(chance.sf(hits - 1) if proposal.direction == "higher" else chance.cdf(hits))


def _line(where: Mapping[str, str]) -> str:
    return " & ".join(f"{column}={values}" for column, values in where.items())

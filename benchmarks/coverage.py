"""Simulate the coverage of intervals and the error rate of verdicts: ``make coverage``.

Tables are drawn from known rates, and every figure that a verdict depends on is checked:

- 90 % intervals cover the truth in 90 % of the tables;
- a gap equal to the budget is certified in 5 % of them, and so is a performance equal to the floor;
- with the number of rows that ``rows_needed`` returns, the budget is certified in 80 %.

The tolerance is two standard errors of the simulation, plus half a point for what cannot be exact
because tables have whole rows (two points for power). The exact limits do not get that half point.
The exit code is 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from fairfix.metrics.clusters import ClusterIndex
from fairfix.metrics.counts import Counts, count
from fairfix.stats.auc_intervals import auc, auc_change
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.gap_intervals import MetricRates, certified, metric_limits
from fairfix.stats.performance_intervals import (
    LIMITS,
    performance_change_limits,
    performance_of_table,
)
from fairfix.stats.power import rows_needed

ALPHA = 0.05
SLACK = 0.005
CLUSTER_SLACK = 0.015
POWER, POWER_SLACK = 0.8, 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SimulationResult:
    """Simulated error rates of one setting.

    Attributes:
        expected: the smallest expected count.
        missed: share of tables whose interval misses the truth, at most ``2 ALPHA``.
        certified: share of tables certified falsely, at most ``ALPHA``; None if that is impossible.
        slack: tolerance beyond two standard errors.
    """

    name: str
    expected: float
    repetitions: int
    missed: float
    certified: float | None
    slack: float

    @property
    def passed(self) -> bool:
        falsely = self.certified or 0.0
        return self.missed <= self._limit(2 * ALPHA) and falsely <= self._limit(ALPHA)

    def _limit(self, nominal: float) -> float:
        return nominal + 2 * math.sqrt(nominal * (1 - nominal) / self.repetitions) + self.slack

    def __str__(self) -> str:
        shown = "" if self.certified is None else f"{100 * self.certified:.2f}"
        mark = "" if self.passed else "**broken**"
        covered = 100 * (1 - self.missed)
        return f"| {self.name} | {self.expected:.4g} | {covered:.2f} | {shown} | {mark} |"


@dataclass(frozen=True)
class Setting:
    """True values (R, G) of a metric's R rates in G groups, and their numbers of rows (R, G)."""

    metric: str
    shares: tuple[tuple[float, ...], ...]
    rows: tuple[tuple[int, ...], ...]

    @property
    def counts(self) -> Counts:
        """The expected table of counts."""
        shares, rows = torch.tensor(self.shares).double(), torch.tensor(self.rows).double()
        hits, misses = shares * rows, (1 - shares) * rows
        none = torch.zeros_like(hits[0])
        two = len(hits) == 2
        return Counts(hits[0], hits[1] if two else none, misses[0], misses[1] if two else none)

    @property
    def cells(self) -> MetricRates:
        return MetricRates.from_counts(self.metric, self.counts)

    @property
    def truth(self) -> float:
        """The true value of the metric as reported."""
        cells = self.cells
        value = float(cells.estimates()[0] if cells.signed else abs(cells.estimates()).max())
        if cells.ratio:
            return math.exp(value if cells.signed else -value)
        return value

    @property
    def gap(self) -> float:
        """The true gap size, as a budget bounds it."""
        return 1 - min(self.truth, 1 / self.truth) if self.cells.ratio else abs(self.truth)

    @property
    def expected(self) -> float:
        """The smallest expected number of hits or misses."""
        shares, rows = np.array(self.shares), np.array(self.rows)
        return float((np.minimum(shares, 1 - shares) * rows).min())

    def __str__(self) -> str:
        shares = "; ".join(", ".join(f"{share:.4g}" for share in rate) for rate in self.shares)
        rows = "; ".join(", ".join(map(str, rate)) for rate in self.rows)
        return f"{self.metric} | {shares} | {rows}"

    def draw(self, rng: np.random.Generator, repetitions: int) -> tuple[MetricRates, Array]:
        """Draw tables; return the distinct ones and the share of each."""
        cells = self.cells
        trials = np.array(self.rows)
        hits = rng.binomial(trials, self.shares, (repetitions, *trials.shape))
        tables, times = np.unique(hits.reshape(repetitions, -1), axis=0, return_counts=True)
        shape = (len(tables), *trials.shape)
        drawn = replace(
            cells,
            hits=tables.reshape(shape).astype(float),
            trials=np.broadcast_to(trials.astype(float), shape),
        )
        return drawn, times / repetitions


def simulate(
    setting: Setting, rng: np.random.Generator, repetitions: int, strict: bool
) -> SimulationResult:
    """Simulate one metric in one setting."""
    return check_tables(setting, *setting.draw(rng, repetitions), repetitions, strict)


def check_tables(
    setting: Setting, cells: MetricRates, share: Array, repetitions: int, strict: bool
) -> SimulationResult:
    """Compare tables with the truth; each makes up a ``share`` of those drawn."""
    low, high = metric_limits(cells, ALPHA, exact=strict)
    missed = (low > setting.truth + 1e-12) | (high < setting.truth - 1e-12)
    falsely = None
    if setting.gap > 1e-9:
        falsely = float(share @ certified(cells, setting.gap, ALPHA, exact=strict))
    slack = 0.0 if strict else SLACK
    return SimulationResult(
        str(setting), setting.expected, repetitions, float(share @ missed), falsely, slack
    )


SIZES = [(30, 30), (100, 100), (300, 300), (1000, 1000), (3000, 3000),
         (30, 3000), (3000, 30), (100, 1000), (1000, 100), (300, 3000), (500, 750)]  # fmt: skip
SHARES = (0.02, 0.05, 0.2, 0.5, 0.95)
BUDGETS = (0.0, 0.05, 0.1)


def _apart(share: float, budget: float) -> float:
    """Return another rate below 1 that differs by the budget."""
    return share + budget if share <= 0.5 else share - budget


def gap_settings() -> Iterator[Setting]:
    """Yield settings of all metrics: gaps of 0 and of the budget, extreme rates, unequal groups."""
    for metric, rows, share, budget in product(("spd", "eod"), SIZES, SHARES, BUDGETS):
        if metric == "spd" or (budget == 0.05 and share in (0.5, 0.95)):
            yield Setting(metric, ((share, _apart(share, budget)),), (rows,))
    for rows, share, budget in product(SIZES, SHARES, (0.0, 0.05, 0.2)):
        yield Setting("di", ((share, share * (1 - budget)),), (rows,))
    pairs = [(30, 30), (100, 100), (300, 300), (1000, 1000), (100, 1000), (3000, 300), (30, 3000)]
    for rows, budget in product(pairs, (0.0, 0.05)):
        other = tuple(2 * n for n in rows)
        for tpr, fpr in ((0.8, 0.2), (0.95, 0.05), (0.5, 0.02)):
            up, down = (tpr, tpr - budget), (fpr, fpr + budget)
            same = (fpr + budget, fpr)
            twice = (tpr, tpr - 2 * budget) if budget else up
            yield Setting("aod", (up, same), (rows, other))
            yield Setting("aod", (twice, (fpr, fpr)), (rows, other))
            yield Setting("aaod", (up, down), (rows, other))
            yield Setting("aaod", (twice, (fpr, fpr)), (rows, other))
            yield Setting("eqodds", (up, (fpr, fpr)), (rows, other))
            yield Setting("eqodds", (up, down), (rows, other))
    three = [
        (100, 100, 100),
        (300, 300, 300),
        (1000, 1000, 1000),
        (3000, 300, 100),
        (30, 300, 3000),
    ]
    five = [(300,) * 5, (1000,) * 5, (3000, 1000, 300, 100, 100)]
    for share, budget in product(SHARES, BUDGETS):
        end, middle = _apart(share, budget), _apart(share, budget / 2)
        for rows, shares in product(three, ((share, end, end), (share, middle, end))):
            yield Setting("spd", (shares,), (rows,))
        for rows in five if budget in (0.0, 0.05) else ():
            yield Setting("spd", ((share, middle, middle, middle, end),), (rows,))
            yield Setting("spd", ((share, end, share, end, share),), (rows,))
    for rows, budget in product(three, BUDGETS):
        shares = ((0.8, 0.8 - budget, 0.8), (0.2, 0.2, 0.2 + budget))
        for metric in ("aod", "aaod", "eqodds"):
            yield Setting(metric, shares, (rows, rows))
        yield Setting("di", ((0.3, 0.3 * (1 - 2 * budget), 0.3),), (rows,))


def performance_rows(
    rng: np.random.Generator, repetitions: int, strict: bool
) -> Iterator[SimulationResult]:
    """Simulate balanced accuracy, accuracy and F1 of random rows and of fixed label counts."""
    sizes = [(30, 30), (100, 100), (30, 300), (300, 300), (100, 1000), (1000, 3000)]
    for (ones, zeros), (tpr, fpr) in product(sizes, ((0.8, 0.3), (0.95, 0.05), (0.5, 0.5))):
        rows = ones + zeros
        cells = np.array([tpr * ones, fpr * zeros, (1 - tpr) * ones, (1 - fpr) * zeros])
        tp, fp = (rng.binomial(n, p, repetitions) for n, p in ((ones, tpr), (zeros, fpr)))
        fixed = np.stack([tp, fp, ones - tp, zeros - fp])
        drawn = rng.multinomial(rows, cells / rows, repetitions).T
        for key, (how, sides) in product(LIMITS, (("random rows", drawn), ("fixed", fixed))):
            truth = float(performance_of_table(key, np.array([cells[[3, 1]], cells[[2, 0]]])))
            (low, high), _ = LIMITS[key][0](*sides.astype(float), ALPHA, exact=strict)
            missed = (low > truth + 1e-12) | (high < truth - 1e-12)
            yield SimulationResult(
                f"{key} ({how}) | {tpr:g}; {fpr:g} | {ones}; {zeros}",
                float(cells.min()),
                repetitions,
                float(missed.mean()),
                float((low >= truth).mean()),
                0.0 if strict else SLACK,
            )


def change_rows(rng: np.random.Generator, repetitions: int) -> Iterator[SimulationResult]:
    """Simulate changes of balanced accuracy, accuracy and F1 between two rules on the same rows."""
    sizes = [(30, 30), (100, 100), (100, 1000), (1000, 3000)]
    # Shares of decisions before and after (00, 01, 10, 11), for label 0 and for label 1.
    kinds = (
        ((0.5, 0.2, 0.2, 0.1), (0.1, 0.2, 0.2, 0.5)),
        ((0.75, 0.05, 0.1, 0.1), (0.1, 0.15, 0.05, 0.7)),
        ((0.85, 0.05, 0.05, 0.05), (0.05, 0.05, 0.1, 0.8)),
    )
    for (ones, zeros), shares in product(sizes, kinds):
        rows = np.array([zeros, ones])
        expected = (rows[:, None] * shares).reshape(2, 2, 2)
        drawn = np.stack(
            [rng.multinomial(n, p, repetitions) for n, p in zip(rows, shares, strict=True)], axis=1
        ).reshape(repetitions, 2, 2, 2)
        for key in LIMITS:
            truth = float(
                performance_of_table(key, expected.sum(-2))
                - performance_of_table(key, expected.sum(-1))
            )
            low, high = performance_change_limits(key, drawn.astype(float), ALPHA)
            yield SimulationResult(
                f"change of {key} | {shares[1]}; {shares[0]} | {ones}; {zeros}",
                float(expected[:, [0, 1], [1, 0]].min()),
                repetitions,
                float(((low > truth) | (high < truth)).mean()),
                float((low >= truth).mean()),
                SLACK,
            )


def auc_rows(rng: np.random.Generator, repetitions: int) -> Iterator[SimulationResult]:
    """Simulate the AUC of normal scores, and its change to a second, correlated score."""
    for (ones, zeros), area in product([(30, 30), (100, 100), (30, 300)], (0.5, 0.8, 0.95)):
        labels = np.repeat([1, 0], [ones, zeros])
        apart = math.sqrt(2) * float(stats.norm.ppf(area))
        missed = above = missed_change = above_change = 0
        for _ in range(repetitions):
            both = rng.normal(size=len(labels))
            one, other = both + rng.normal(size=(2, len(labels)))
            first = one + math.sqrt(2) * apart * labels
            second = other + math.sqrt(2) * apart * labels
            level = auc(first, labels).interval(ALPHA)
            change = auc_change(first, second, labels).interval(ALPHA)
            missed += not level.low <= area <= level.high
            above += level.low >= area
            missed_change += not change.low <= 0 <= change.high
            above_change += change.low >= 0
        for what, wrong, falsely in (
            ("auc", missed, above),
            ("change of auc", missed_change, above_change),
        ):
            yield SimulationResult(
                f"{what} | {area:g} | {ones}; {zeros}",
                min(ones, zeros) * (1 - area),
                repetitions,
                wrong / repetitions,
                falsely / repetitions,
                SLACK,
            )


def cluster_rows(rng: np.random.Generator, repetitions: int) -> Iterator[SimulationResult]:
    """Simulate gaps of selection rates of clustered rows; rates of clusters are beta."""
    for clusters, size, alike in product((20, 60, 200), (3, 10), (0.1, 0.5)):
        groups = torch.arange(2).repeat_interleave(clusters * size)
        index = ClusterIndex.of(torch.arange(2 * clusters).repeat_interleave(size), groups, 2)
        rates, spread = np.array([0.5, 0.4]), 1 / alike - 1
        labels, ones = torch.zeros_like(groups), torch.ones(len(groups)).double()
        missed = falsely = 0
        for _ in range(repetitions):
            own = rng.beta(rates * spread, (1 - rates) * spread, (clusters, 2)).T
            decided = torch.from_numpy(rng.random((2, clusters, size)) < own[..., None]).flatten()
            drawn = replace(
                count(decided, labels, groups, 2), clusters=index.counts(decided, labels, ones)
            )
            cells = MetricRates.from_counts("spd", drawn)
            low, high = metric_limits(cells, ALPHA)
            missed += not low <= 0.1 <= high
            falsely += bool(certified(cells, 0.1, ALPHA))
        yield SimulationResult(
            f"spd, {clusters} clusters of {size}, correlation {alike:g} | 0.5, 0.4 | "
            f"{clusters * size}, {clusters * size}",
            0.4 * clusters * size,
            repetitions,
            missed / repetitions,
            falsely / repetitions,
            CLUSTER_SLACK,
        )


@dataclass(frozen=True)
class PowerResult:
    """Rows computed for a power of 80 %, and the simulated power."""

    setting: Setting
    budget: float
    rows: list[int]
    strict: bool
    repetitions: int
    power: float

    @property
    def passed(self) -> bool:
        error = math.sqrt(POWER * (1 - POWER) / self.repetitions)
        return abs(self.power - POWER) <= POWER_SLACK + 2 * error

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.rows))
        how = "exact" if self.strict else "score"
        mark = "" if self.passed else "**broken**"
        power = f"{100 * self.power:.2f}"
        return f"| {self.setting} | {self.budget:g} | {how} | {rows} | {power} | {mark} |"


def power_settings() -> Iterator[tuple[Setting, float, bool]]:
    """Yield true gaps within budgets, for two and three groups and all metrics."""
    for share, gap in product((0.05, 0.1, 0.2, 0.3, 0.5), (0.0, 0.01, 0.02)):
        yield Setting("spd", ((share + gap, share),), ((1000, 1000),)), 0.05, False
    for metric in ("spd", "eod"):
        yield Setting(metric, ((0.3, 0.32),), ((300, 3000),)), 0.05, metric == "spd"
    yield Setting("spd", ((0.3, 0.31, 0.29),), ((300, 500, 1000),)), 0.05, False
    yield Setting("di", ((0.3, 0.32),), ((500, 1000),)), 0.2, False
    odds = ((0.8, 0.78), (0.2, 0.21))
    for metric in ("aod", "aaod", "eqodds"):
        yield Setting(metric, odds, ((300, 500), (700, 900))), 0.05, False


def power_rows(rng: np.random.Generator, repetitions: int) -> Iterator[PowerResult]:
    """Simulate the power with the number of rows that ``rows_needed`` returns."""
    for setting, budget, strict in power_settings():
        needed = rows_needed(
            setting.metric, setting.counts, budget, confidence=ConfidenceLevel(exact=strict)
        )
        assert needed is not None
        before = sum(np.asarray(side) for side in setting.counts.sides)
        trials = np.rint(np.array(setting.rows) * (np.array(needed) / before)).astype(int)
        larger = Setting(setting.metric, setting.shares, tuple(map(tuple, trials.tolist())))
        cells, share = larger.draw(rng, repetitions)
        power = float(share @ certified(cells, budget, ALPHA, exact=strict))
        yield PowerResult(setting, budget, needed, strict, repetitions, power)


ERROR_HEADER = "| metric | true rates | rows | expected | coverage % | falsely certified % | |"
POWER_HEADER = "| metric | true rates | rows | budget | limits | rows needed | power % | |"


def table(title: str, header: str, rows: list[SimulationResult] | list[PowerResult]) -> bool:
    """Print one table; return whether every bound in it held."""
    print(f"\n## {title}\n\n{header}\n|{' --- |' * (header.count('|') - 1)}")
    for row in rows:
        print(row)
    broken = sum(not row.passed for row in rows)
    print(f"\n{len(rows)} settings, {broken} broken.", flush=True)
    return not broken


def main() -> int:
    """Run all simulations, print their tables and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, n = np.random.default_rng(options.seed), options.repetitions
    print(f"# Coverage\n\n{n} tables a setting, seed {options.seed}.")
    passed = True
    for name, strict in (("score", False), ("exact", True)):
        gaps = [simulate(setting, rng, n, strict) for setting in gap_settings()]
        passed &= table(f"Gaps, {name} limits", ERROR_HEADER, gaps)
        passed &= table(
            f"Performance, {name} limits", ERROR_HEADER, list(performance_rows(rng, n, strict))
        )
    passed &= table("Changes of performance", ERROR_HEADER, list(change_rows(rng, n)))
    passed &= table("Area under the curve", ERROR_HEADER, list(auc_rows(rng, n)))
    passed &= table("Clusters", ERROR_HEADER, list(cluster_rows(rng, max(1, n // 10))))
    passed &= table("Rows needed for a power of 80 %", POWER_HEADER, list(power_rows(rng, n)))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the judged rows show of an outcome: intervals, the verdict on the budget, who gained and who
lost, and subgroups. Everything here is read off rows that the method never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.row_fingerprints import Fingerprint, fingerprint
from fairfix.metrics.rates import METRICS, PERFORMANCES, Counts
from fairfix.stats.decision_changes import Change, change
from fairfix.stats.evaluation import RATES
from fairfix.stats.gap_intervals import Cells, limits
from fairfix.stats.intervals import Interval, rate
from fairfix.stats.overfitting import overfitting
from fairfix.stats.performance_intervals import auc, auc_gap, performance
from fairfix.stats.power import Power, power
from fairfix.stats.subgroups.intersections import intersections
from fairfix.stats.subgroups.worst_subgroups import SubgroupScan, worst_subgroups
from fairfix.stats.verdicts import Claim, claim

if TYPE_CHECKING:
    from fairfix.workflows.debias import Outcome

BINS = 20


@dataclass(frozen=True)
class Intervals:
    """The intervals of every figure of one evaluation, two-sided at 2 confidence - 1.

    Attributes:
        groups: by the group's name, then by rate, "auc" among them.
        gaps: every metric by key, "aucd" among them; ``performance`` likewise, with "auc".
    """

    groups: Mapping[str, Mapping[str, Interval]]
    gaps: Mapping[str, Interval]
    performance: Mapping[str, Interval]


UNKNOWN = Intervals({}, {}, {})


def intervals(
    problem: Problem, decisions: Tensor, *, confidence: float = 0.95, strict: bool = False
) -> Intervals:
    """Of decisions (N,) bool on a problem's rows, and of its scores."""
    alpha = 1 - confidence
    counts = problem.counts(decisions)
    scores, labels, groups = (
        values.cpu().numpy() for values in (problem.scores, problem.labels, problem.groups)
    )
    weights = None if problem.weights is None else problem.weights.cpu().numpy()
    rates = _rates(counts, alpha, strict)
    for g, found in enumerate(rates):
        here = groups == g
        weight = None if weights is None else weights[here]
        found["auc"] = auc(scores[here], labels[here], weight, strict=strict).interval(alpha)
    gaps = {key: _gap(key, counts, alpha, strict) for key in METRICS}
    gaps["aucd"] = auc_gap(scores, labels, groups, problem.n_groups, weights).interval(alpha)
    measures = {
        key: performance(key, counts, strict=strict).interval(alpha) for key in PERFORMANCES
    }
    measures["auc"] = auc(scores, labels, weights, strict=strict).interval(alpha)
    return Intervals(dict(zip(problem.group_names, rates, strict=True)), gaps, measures)


def _gap(key: str, counts: Counts, alpha: float, strict: bool) -> Interval:
    cells = Cells.of(key, counts)
    low, high = limits(cells, alpha, strict=strict)
    if bool(METRICS[key](counts).size.isnan()):
        return Interval(float("nan"), float("nan"), cells.method(strict=strict))
    return Interval(float(low), float(high), cells.method(strict=strict))


def _rates(counts: Counts, alpha: float, strict: bool) -> list[dict[str, Interval]]:
    groups = counts.tp.shape[-1]
    effect = torch.as_tensor(counts.design_effect, dtype=torch.float64).expand(groups)
    found: list[dict[str, Interval]] = [{} for _ in range(groups)]
    for key, of in RATES.items():
        here = of(counts)
        for g in range(groups):
            hits, trials = float(here.hits[g] / effect[g]), float(here.trials[g] / effect[g])
            found[g][key] = rate(hits, trials, alpha, strict=strict)
    return found


@dataclass(frozen=True)
class Evidence:
    """What the judged rows show of an outcome.

    Attributes:
        original, identity, debiased: the intervals of each evaluation.
        claim: the metric held against the budget.
        power: what these rows can show of the budget at all.
        change: who gained and who lost, and what became of other protected columns.
        overfitting: sentences on how the fitting rows flatter.
        subgroups: those treated most unlike the rest by the result.
        histograms: by group, the scores before and after in 20 bins of equal width, in rows.
    """

    original: Intervals
    identity: Intervals
    debiased: Intervals
    claim: Claim
    power: Power
    change: Change
    overfitting: tuple[str, ...]
    subgroups: SubgroupScan
    histograms: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    fitting_rows: Fingerprint | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must not be overlooked, as sentences without a full stop."""
        found = [*self.change.levelling_down]
        found += [column.sentence for column in self.change.columns if column.worse]
        return (*found, *self.overfitting)


def evidence(outcome: Outcome) -> Evidence:
    """Everything that the judged rows of an outcome show; computed anew at each call."""
    objective, confidence = outcome.objective, outcome.confidence
    how: dict[str, Any] = {"confidence": confidence, "strict": outcome.strict}
    rows, fitted = outcome.judged_rows, outcome.fitting_rows
    before, decided = rows.problem, rows.debiased
    after = replace(before, scores=rows.scores)
    metric, counts, names = objective.metric, before.counts(decided), before.group_names
    columns = (*rows.groups[1:], *(each.group for each in intersections(rows.groups)))
    return Evidence(
        original=intervals(before, rows.original, **how),
        identity=intervals(before, rows.identity, **how),
        debiased=intervals(after, decided, **how),
        claim=claim(metric.key, counts, names, objective.budget, **how),
        power=power(metric.key, counts, names, objective.budget, **how),
        change=change(before, rows.original, decided, metric, columns),
        overfitting=overfitting(fitted.problem, fitted.debiased, before, decided, objective),
        subgroups=worst_subgroups(
            outcome.case.in_table_units(before),
            decided,
            rows.groups,
            outcome.case.table.feature_names,
            seed=outcome.seed,
            confidence=confidence,
        ),
        histograms=_histograms(before, after),
        fitting_rows=fingerprint(fitted.problem, salt(outcome)),
    )


def salt(outcome: Outcome) -> str:
    """Of the row hashes: equal runs give equal reports, other tables and seeds other hashes."""
    return f"{outcome.case.table.sha256}-{outcome.seed}"


def _histograms(
    before: Problem, after: Problem
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    def bins(problem: Problem, group: int) -> tuple[int, ...]:
        scores = problem.scores[problem.groups == group].cpu().numpy()
        return tuple(np.histogram(scores, BINS, (0.0, 1.0))[0].tolist())

    return {name: (bins(before, g), bins(after, g)) for g, name in enumerate(before.group_names)}

"""Evidence on the test rows: intervals, verdict, power, changes by group, and subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from fairfix.data.known_rows import KnownRows
from fairfix.data.problem import Problem
from fairfix.data.table import Group
from fairfix.metrics.counts import Counts
from fairfix.metrics.fairness_metrics import METRICS, Metric
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES
from fairfix.stats.auc_intervals import auc, auc_gap
from fairfix.stats.confidence import DEFAULT_CONFIDENCE, ConfidenceLevel
from fairfix.stats.decision_changes import DecisionChange, decision_change
from fairfix.stats.deterioration import Deterioration, deteriorations
from fairfix.stats.gap_claims import gap_claim, gap_power
from fairfix.stats.gap_intervals import MetricRates, metric_limits
from fairfix.stats.intervals import Interval
from fairfix.stats.performance_intervals import performance
from fairfix.stats.power import PowerAnalysis
from fairfix.stats.rate_estimates import group_rate_intervals
from fairfix.stats.reference_gaps import ReferenceGaps, reference_gaps
from fairfix.stats.subgroups.intersections import intersections
from fairfix.stats.subgroups.worst_subgroups import SubgroupScan, worst_subgroups
from fairfix.stats.verdicts import Claim, Verdict
from fairfix.workflows.case import Case
from fairfix.workflows.gate.checks import Check, Rows, Scored, run_check
from fairfix.workflows.gate.demands import Demand
from fairfix.workflows.gate.holm_correction import after_holm

BINS = 20


@dataclass(frozen=True)
class Intervals:
    """The intervals of every figure of one evaluation, two-sided at 1 - 2 alpha.

    Attributes:
        groups: by the group's name, then by rate, "auc" among them.
        gaps: every metric by key, "aucd" among them; ``performance`` likewise, with "auc".
        to_reference: of every other group to the reference group; None if none were merged.
    """

    groups: Mapping[str, Mapping[str, Interval]]
    gaps: Mapping[str, Interval]
    performance: Mapping[str, Interval]
    to_reference: ReferenceGaps | None = None


UNKNOWN = Intervals({}, {}, {})


def intervals(
    problem: Problem,
    decisions: Tensor,
    group: Group,
    metric: Metric,
    *,
    confidence: ConfidenceLevel = DEFAULT_CONFIDENCE,
) -> Intervals:
    """Return the intervals for decisions (N,) bool on a problem's rows, and for its scores.

    Args:
        group: the problem's groups; if some were merged, ``metric`` is compared between each of
            them and the reference group.
    """
    alpha, exact = confidence.alpha, confidence.exact
    counts = problem.clustered_counts(decisions)
    scores, labels, groups = (
        values.cpu().numpy() for values in (problem.scores, problem.labels, problem.groups)
    )
    weights = None if problem.weights is None else problem.weights.cpu().numpy()
    clusters = None if problem.clusters is None else problem.clusters.cpu().numpy()
    by_group = group_rate_intervals(counts, confidence)
    for g, found in enumerate(by_group):
        here = groups == g
        weight = None if weights is None else weights[here]
        cluster = None if clusters is None else clusters[here]
        area = auc(scores[here], labels[here], weight, cluster, exact=exact)
        found["auc"] = area.interval(alpha)
    gaps = {key: _gap(key, counts, confidence) for key in METRICS}
    aucd = auc_gap(scores, labels, groups, problem.n_groups, weights, clusters)
    gaps["aucd"] = aucd.interval(alpha)
    measures = {key: performance(key, counts, exact=exact).interval(alpha) for key in PERFORMANCES}
    measures["auc"] = auc(scores, labels, weights, clusters, exact=exact).interval(alpha)
    return Intervals(
        dict(zip(problem.group_names, by_group, strict=True)),
        gaps,
        measures,
        reference_gaps(problem, decisions, group, metric, confidence=confidence),
    )


def _gap(key: str, counts: Counts, confidence: ConfidenceLevel) -> Interval:
    metric_rates = MetricRates.from_counts(key, counts)
    low, high = metric_limits(metric_rates, confidence.alpha, exact=confidence.exact)
    method = metric_rates.method(exact=confidence.exact)
    if bool(METRICS[key](counts).size.isnan()):
        return Interval(float("nan"), float("nan"), method)
    return Interval(float(low), float(high), method)


@dataclass(frozen=True)
class DecidedRows:
    """Rows and the decisions of the three rules on them.

    Attributes:
        problem: the rows with the scores of the unmodified network; ``scores`` (N,) are those of
            the result, and ``probabilities`` (N,) what a score model takes for calibrated; None
            without one.
        unmodified, retuned, debiased: decisions (N,) bool, as in ``outcome.Comparison``.
        optimum: those of the unmodified network at its threshold of best performance, without a
            budget.
        groups: every group column on these rows, the one that was debiased first.
    """

    problem: Problem
    scores: Tensor
    unmodified: Tensor
    retuned: Tensor
    optimum: Tensor
    debiased: Tensor
    groups: tuple[Group, ...]
    probabilities: Tensor | None = None

    @property
    def grouped(self) -> DecidedRows:
        """The rows with a group; these rows if all have one."""
        problem = self.problem.grouped
        if problem is self.problem:
            return self
        known = self.problem.groups >= 0
        at = known.nonzero().squeeze(1).cpu().numpy()
        return DecidedRows(
            problem,
            self.scores[known],
            self.unmodified[known],
            self.retuned[known],
            self.optimum[known],
            self.debiased[known],
            tuple(group.take(at) for group in self.groups),
            None if self.probabilities is None else self.probabilities[known],
        )

    @property
    def debiased_problem(self) -> Problem:
        """The rows with the scores of the result."""
        return replace(self.problem, scores=self.scores, probabilities=self.probabilities)


@dataclass(frozen=True)
class Evidence:
    """What the test rows show.

    Attributes:
        unmodified, retuned, debiased: the intervals of each evaluation.
        claim: the metric against its budget.
        promises: the further budgets, floors and ceilings.
        power: the largest gap that these rows can certify, or the rows that it would take.
        change: decisions before and after by group, levelling down, other group columns.
        overfitting: sentences on figures that are worse on test rows than on validation rows.
        deteriorations: figures past their limit, serious or not.
        subgroups: those whose decisions or errors differ most from the rest; None if they were not
            searched.
        histograms: by group, counts of scores before and after in 20 bins of equal width.
        tuned: fingerprints of the validation rows, for the gate; ``learned`` those of the training
            rows, None without them.
    """

    unmodified: Intervals
    retuned: Intervals
    debiased: Intervals
    claim: Claim
    promises: tuple[Check, ...]
    power: PowerAnalysis
    change: DecisionChange
    overfitting: tuple[str, ...]
    deteriorations: tuple[Deterioration, ...]
    subgroups: SubgroupScan | None
    histograms: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
    tuned: KnownRows
    learned: KnownRows | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Short sentences without a full stop."""
        found = [*self.change.levelling_down]
        found += [column.sentence for column in self.change.columns if column.worse]
        found += [
            f"{each.name} is {each.verdict}: {each.reason}"
            for each in self.promises
            if each.verdict is not Verdict.CERTIFIED
        ]
        return (*found, *self.overfitting)


def collect_evidence(
    case: Case,
    objective: Objective,
    *,
    validation: DecidedRows,
    test: DecidedRows,
    seed: int,
    confidence: ConfidenceLevel,
    promises: Sequence[Demand] = (),
    subgroups: bool = True,
) -> Evidence:
    """Everything that the test rows show of a result.

    Args:
        promises: demands with their group columns, tested besides the objective's budget.
    """
    before, decided = test.problem, test.debiased
    after = test.debiased_problem
    metric, budget = objective.metric, objective.budget
    grouped = test.grouped
    described, feature_names = case.in_table_units(grouped.problem)
    today = Scored(before.scores, test.unmodified)
    rows, alpha = Rows(after, decided, test.groups, today), confidence.alpha
    columns = (*grouped.groups[1:], *(each.group for each in intersections(grouped.groups)))
    deteriorated = deteriorations(validation.grouped, grouped, objective)
    salt, training = f"{case.table.sha256}-{seed}", case.problem.training
    measured = partial(intervals, group=test.groups[0], metric=metric, confidence=confidence)
    return Evidence(
        unmodified=measured(before, test.unmodified),
        retuned=measured(before, test.retuned),
        debiased=measured(after, decided),
        claim=gap_claim(metric, after, decided, budget, confidence=confidence),
        promises=tuple(after_holm([run_check(p, rows, confidence) for p in promises], alpha)),
        power=gap_power(metric, after, decided, budget, confidence=confidence),
        change=decision_change(
            grouped.problem,
            grouped.unmodified,
            grouped.debiased,
            metric,
            columns,
            grouped.scores,
        ),
        overfitting=tuple(each.detail for each in deteriorated if each.what == "overfitting"),
        deteriorations=deteriorated,
        subgroups=None
        if not subgroups
        else worst_subgroups(
            described,
            grouped.debiased,
            grouped.groups,
            feature_names,
            seed=seed,
            confidence=confidence,
        ),
        histograms=_histograms(before, after),
        tuned=KnownRows.of(validation.problem, salt),
        learned=None if training is None else KnownRows.of(training, salt),
    )


def _histograms(
    before: Problem, after: Problem
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    def bins(problem: Problem, group: int) -> tuple[int, ...]:
        scores = problem.scores[problem.groups == group].cpu().numpy()
        return tuple(np.histogram(scores, BINS, (0.0, 1.0))[0].tolist())

    return {name: (bins(before, g), bins(after, g)) for g, name in enumerate(before.group_names)}

"""Warnings about a result: short sentences without a full stop."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fairfix.stats.deterioration import STANDARD_ERRORS, Deterioration
from fairfix.stats.evaluation import Evaluation
from fairfix.workflows.group_use import group_use
from fairfix.workflows.outcome import Comparison, Outcome
from fairfix.workflows.small_group import small_group_sentence

REVERSED_AUC = 0.45
"""An AUC below this is not an accident of sampling."""
LARGE_LOSS = 0.05
"""A loss of performance that is worth a warning."""
SMALL_GAIN = 0.005
"""A gain of probability that rounds to 0."""
NEARLY_TRIVIAL = 0.55
"""Balanced accuracy; deciding all rows alike gives 0.5."""


def reversed_scores(auc: float, rows: str) -> list[str]:
    """Warn of scores that rank the rows by the unfavorable label; an undefined AUC does not."""
    if not auc < REVERSED_AUC:
        return []
    return [f"the scores rank {rows} in reverse (AUC {auc:.3f}): check the output label"]


def warnings_of(outcome: Outcome) -> tuple[str, ...]:
    """All warnings about a result."""
    return (
        *_of_the_result(outcome),
        *_small_group(outcome),
        *_cost_of_certainty(outcome),
        *_repeats(outcome),
        *filter(None, [group_use(outcome.case, outcome.rule).warning]),
    )


def _small_group(outcome: Outcome) -> list[str]:
    """Name the group that makes a rule (nearly) trivial, if its few rows do."""
    test, problem = outcome.test, outcome.validation_rows.problem
    if not (test.debiased.trivial or _nearly_trivial(test)):
        return []
    rows = dict(zip(problem.group_names, problem.group_sizes.tolist(), strict=True))
    sentence = small_group_sentence(outcome.case.columns.groups[0], rows)
    return [] if sentence is None else [sentence]


def _of_the_result(outcome: Outcome) -> list[str]:
    """Budgets that are not met, rules that are (nearly) trivial, reversed scores."""
    key, budget = outcome.objective.metric.key, outcome.objective.budget
    found = []
    for rows, comparison in (("validation", outcome.validation), ("test", outcome.test)):
        after = comparison.debiased
        size = after.gap_sizes[key]
        if math.isnan(size):
            found.append(f"{key} is undefined on the {rows} rows, so the budget is not met")
        elif not after.met:
            found.append(
                f"budget not met on the {rows} rows: abs({key}) = {size:.3f}, not < {budget:g}"
            )
    found += outcome.goals.warnings if outcome.goals is not None else ()
    found += _useless_rules(outcome)
    if outcome.validation.debiased.objective < outcome.validation.retuned.objective:
        found.append("on the validation rows the result is worse than the retuned threshold")
    return found


def serious_warnings(outcome: Outcome) -> list[str]:
    """Warnings with which a certified result is amber."""
    serious = [each for each in outcome.evidence.deteriorations if each.serious]
    return [*_useless_rules(outcome), *(_sentence(each) for each in serious)]


def lesser_deteriorations(outcome: Outcome) -> list[str]:
    """What is past a limit without being worse than today's decisions and the network's optimum."""
    return [
        f"{_sentence(each)}; this is not worse than both by more than {STANDARD_ERRORS:g} "
        "standard errors"
        for each in outcome.evidence.deteriorations
        if not each.serious and not each.detail
    ]


def audit_warnings(evaluation: Evaluation) -> Iterator[str]:
    """Yield what keeps a certified rule that is audited from being green."""
    if evaluation.trivial:
        yield "the rule is trivial: it decides nearly all rows alike"
    yield from reversed_scores(evaluation.performance["auc"], "these rows")


def _useless_rules(outcome: Outcome) -> list[str]:
    """Return warnings of trivial and nearly trivial rules, and of reversed scores."""
    sides = (("validation", outcome.validation), ("test", outcome.test))
    trivial = [rows for rows, comparison in sides if comparison.debiased.trivial]
    return [
        *(f"the rule is trivial: it decides nearly all {rows} rows alike" for rows in trivial),
        *_nearly_trivial(outcome.test),
        *reversed_scores(outcome.test.unmodified.performance["auc"], "the test rows"),
    ]


def _sentence(each: Deterioration) -> str:
    """Return a deterioration in words, without a full stop."""
    if each.detail:
        return each.detail
    references = f"today {each.today:.3f}, the network's optimum without a budget"
    references += f" {each.optimum:.3f}"
    match each.what:
        case "accuracy":
            return (
                f"accuracy on the test rows is {each.debiased:.3f}, below the {each.limit:.3f} of "
                f"always deciding for the more frequent label ({references})"
            )
        case "selection rate":
            return (
                f"the selection rate on the test rows went from {each.today:.3f} to "
                f"{each.debiased:.3f}, by more than half (the network's optimum without a budget "
                f"{each.optimum:.3f})"
            )
        case "calibration error":
            return (
                f"the calibration error of the scores on the test rows went from {each.today:.3f} "
                f"to {each.debiased:.3f}, up by more than {each.limit:g}"
            )
        case "gap":
            return (
                f"abs({each.metric}) between the groups of {each.column!r} is "
                f"{each.debiased:.3f} on the test rows, beyond the budget of {each.limit:g} "
                f"({references})"
            )
    return (
        f"{each.metric} between the groups of {each.column!r} is reversed on the test rows: "
        f"{each.debiased:+.3f} (today {each.today:+.3f}, the network's optimum without a budget "
        f"{each.optimum:+.3f})"
    )


def _repeats(outcome: Outcome) -> list[str]:
    """Warn of rows that equal each other."""
    tables = [case.table for case in (outcome.case, outcome.test_case) if case]
    names = [table.name for table in tables]
    if len(set(names)) < len(names):  # such as test.csv of two folders, or two tables in memory
        names = [
            f"{name} ({rows})" for name, rows in zip(names, ("validation", "test"), strict=True)
        ]
    return [
        f"{name}: {table.repeats}"
        for name, table in zip(names, tables, strict=True)
        if table.repeats
    ]


def _nearly_trivial(test: Comparison) -> list[str]:
    """Warn of a rule that is hardly better than deciding all rows alike."""
    before, after = test.unmodified, test.debiased
    kept, had = (each.performance["balanced_accuracy"] for each in (after, before))
    if after.trivial or not kept < NEARLY_TRIVIAL:
        return []
    return [
        f"the rule is nearly trivial: balanced accuracy on the test rows is {kept:.3f} "
        f"(unmodified model {had:.3f}, all rows alike 0.5)"
    ]


def _cost_of_certainty(outcome: Outcome) -> list[str]:
    """Warn where the chance-weighted choice gave up much performance for a surer budget."""
    if not outcome.objective.uses_probability:
        return []
    chosen = next(point for point in outcome.tradeoff_curve if point.chosen)
    best = max(outcome.tradeoff_curve, key=lambda point: point.performance)
    cost = best.performance - chosen.performance
    if cost < LARGE_LOSS or chosen.probability - best.probability < SMALL_GAIN:
        return []
    return [
        f"the threshold gives up {cost:.3f} of {outcome.objective.performance.title} on the "
        f"validation rows (best {best.performance:.3f}) to raise the chance of meeting the budget "
        f"on new rows from {best.probability:.2f} to {chosen.probability:.2f}; --risk sets it"
    ]

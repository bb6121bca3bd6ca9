"""What to try after a result that decides nearly all rows alike, with expected figures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from fairfix import methods
from fairfix.errors import NoResultError
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import is_trivial
from fairfix.thresholds.per_group import searchable
from fairfix.thresholds.shared import best_threshold_of
from fairfix.workflows.outcome import Outcome
from fairfix.workflows.warnings import NEARLY_TRIVIAL

GROUP_AWARE = "thresholds"
_LARGER = 1.5, 2.0, 3.0, 4.0
"""Factors on the budget."""
_LARGEST_BUDGET = 0.5


def refuse_trivial(outcome: Outcome) -> None:
    """Refuse a result that decides nearly all rows alike.

    Raises:
        NoResultError: with what to try next.
    """
    if is_trivial_result(outcome):
        raise NoResultError(
            "The result is trivial: it decides fewer than 2 % of the rows unlike the rest, so "
            f"nothing was written. {next_commands(outcome)}; --allow-trivial writes it."
        )


def is_trivial_result(outcome: Outcome) -> bool:
    """Whether fewer than 2 % of the validation or of the test rows are decided unlike the rest."""
    return outcome.validation.debiased.trivial or outcome.test.debiased.trivial


def is_poor(outcome: Outcome) -> bool:
    """Whether a result is trivial, or its balanced accuracy on test rows is below .55."""
    kept = outcome.test.debiased.performance["balanced_accuracy"]
    return is_trivial_result(outcome) or kept < NEARLY_TRIVIAL


def next_commands(outcome: Outcome) -> str:
    """Return what to try next, with the figures expected from the validation rows."""
    tries = [*_riskier(outcome), *_larger_budget(outcome), *_by_group(outcome), "more rows"]
    return f"Try {', or '.join(tries)}"


def _riskier(outcome: Outcome) -> Iterator[str]:
    """Yield the risk of the surest useful point of the trade-off curve."""
    if not outcome.objective.uses_probability:
        return
    useful = [
        point
        for point in outcome.tradeoff_curve
        if not point.trivial and not point.chosen and point.performance >= NEARLY_TRIVIAL
    ]
    if not useful:
        return
    best = max(useful, key=lambda point: point.probability)
    risk = math.ceil(100 * (1 - best.probability)) / 100
    if 0 < risk < 1:
        yield f"--risk {risk:g} ({_expected(outcome.objective, best.performance)})"


def _larger_budget(outcome: Outcome) -> Iterator[str]:
    """Yield the smallest larger budget that a useful threshold meets, on the result's scores."""
    rows, objective = outcome.validation_rows.problem, outcome.objective
    for factor in _LARGER:
        budget = float(f"{factor * objective.budget:.3g}")
        if budget >= _LARGEST_BUDGET:
            return
        larger = replace(objective, budget=budget, limits=())
        found = best_threshold_of(rows, outcome.validation_rows.scores, larger)
        if _useful(found.counts.take(0), objective):
            expected = _expected(objective, float(objective.performance(found.counts)[0]))
            yield f"--budget {budget:g} ({expected})"
            return


def _by_group(outcome: Outcome) -> Iterator[str]:
    """Yield group thresholds if the result has none and they apply to these rows."""
    if outcome.rule.needs_group or outcome.method == GROUP_AWARE:
        return
    rows, objective = outcome.validation_rows.problem, replace(outcome.objective, limits=())
    if rows.has_unknown_groups or not searchable(rows, objective):
        return
    found = methods.describe(GROUP_AWARE).run(rows, objective, seed=outcome.seed)
    counts = rows.counts(found.policy.probability(rows.scores, rows.groups))
    if _useful(counts, objective):
        expected = _expected(objective, float(objective.performance(counts)))
        yield f"fairfix {GROUP_AWARE}, which needs the group of a row ({expected})"


def _useful(counts: Counts, objective: Objective) -> bool:
    return not is_trivial(counts) and float(objective.performance(counts)) >= NEARLY_TRIVIAL


def _expected(objective: Objective, performance: float) -> str:
    return f"{objective.performance.title} about {performance:.2f}"

"""What must not be overlooked of a result, as sentences without a full stop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairfix.workflows.debias import Comparison, Outcome

WRONG_WAY = 0.45  # an AUC below it is no accident of sampling
DEAR = 0.05  # performance given up that must be said
NEARLY_TRIVIAL = 0.55  # balanced accuracy; deciding all rows alike gives 0.5


def wrong_way(auc: float, rows: str) -> list[str]:
    """What to say of scores that order ``rows`` by the unfavorable label; NaN says nothing."""
    if not auc < WRONG_WAY:
        return []
    return [
        f"the scores order {rows} the wrong way round (AUC {auc:.3f}): is the output label right?"
    ]


def cautions(outcome: Outcome) -> tuple[str, ...]:
    """Everything that a result must not be read without."""
    return (*_of_the_result(outcome), *_price_of_caution(outcome))


def _of_the_result(outcome: Outcome) -> list[str]:
    """Budgets not met, rules that are (nearly) trivial, scores the wrong way round."""
    key, budget = outcome.objective.metric.key, outcome.objective.budget
    said = []
    for rows, comparison in (("fitting", outcome.fitting), ("judged", outcome.judged)):
        after = comparison.debiased
        size = after.gap_sizes[key]
        if math.isnan(size):
            said.append(f"{key} is undefined on the {rows} rows, so the budget is not met")
        elif not after.met:
            said.append(
                f"budget not met on the {rows} rows: abs({key}) = {size:.3f}, not < {budget:g}"
            )
        if after.trivial:
            said.append(f"the rule is trivial: it decides nearly all {rows} rows alike")
    said += _nearly_trivial(outcome.judged)
    said += wrong_way(outcome.judged.original.performance["auc"], "the judged rows")
    if outcome.fitting.debiased.objective < outcome.fitting.identity.objective:
        said.append(
            "on its own fitting rows the result is below the untouched network at its best cut"
        )
    return said


def _nearly_trivial(judged: Comparison) -> list[str]:
    """What to say of a rule that is hardly better than deciding all rows alike."""
    before, after = judged.original, judged.debiased
    kept, had = (each.performance["balanced_accuracy"] for each in (after, before))
    if after.trivial or kept >= NEARLY_TRIVIAL or had - kept < DEAR:
        return []
    return [
        f"the rule is nearly trivial: balanced accuracy on the judged rows is {kept:.3f}, where "
        f"deciding all alike gives 0.5 and the cut deployed today {had:.3f}"
    ]


def _price_of_caution(outcome: Outcome) -> list[str]:
    """What the choice by chance gave up for a surer budget, where that is much."""
    if not outcome.objective.by_chance:
        return []
    chosen = next(point for point in outcome.frontier if point.chosen)
    best = max(outcome.frontier, key=lambda point: point.performance)
    price = best.performance - chosen.performance
    if price < DEAR:
        return []
    return [
        f"for a chance of {chosen.probability:.2f} to meet the budget on new rows, instead of "
        f"{best.probability:.2f}, the choice of cuts gave up {price:.3f} of "
        f"{outcome.objective.performance.title} on the fitting rows, where {best.performance:.3f} "
        "is possible: --risk sets the chance"
    ]

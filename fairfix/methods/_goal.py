"""Which goals a method can pursue."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fairfix.errors import UsageError
from fairfix.metrics.limits import AucLimit, GapLimit, Limit, RangeLimit, SmallestRateLimit
from fairfix.metrics.rates import positive_predictive_value, true_positive_rate

if TYPE_CHECKING:
    from fairfix.metrics.objective import Objective

_THRESHOLDS_ALONE = re.compile("(randomized )?thresholds")
_RATES = {"precision": positive_predictive_value.key, "recall": true_positive_rate.key}
"""The rate that each of these measures is."""
_TRIVIAL = {
    "precision": "largest where nearly no row is selected",
    "recall": "largest where every row is selected",
    "auc": "as large where all rows are decided alike, which meets any budget",
}


def check_goal(objective: Objective, method: str, changes: str) -> None:
    """Check that a method can pursue a goal.

    Args:
        objective: the goal.
        method: name of the method.
        changes: the fact "Changes" of its description.

    Raises:
        UsageError: if trivial decisions are the best because no limit is on another measure than
            precision, recall or the AUC, or if metric or performance is of scores and the method
            changes none.
    """
    measure = objective.performance
    for goal in (objective.metric, measure):
        if goal.of_scores and _THRESHOLDS_ALONE.match(changes):
            raise UsageError(
                f"{method} only changes thresholds, and no threshold changes {goal.key}; use a "
                "method that changes weights, such as finetune, prune or gda."
            )
    if measure.of_scores and objective.metric.of_scores:
        return
    if not measure.counterpart or any(_keeps(each, measure.key) for each in objective.limits):
        return
    raise UsageError(
        f"The {measure.key} alone is {_TRIVIAL[measure.key]}; add a limit such as "
        f"--floor {measure.counterpart}=0.6, or choose balanced_accuracy."
    )


def _keeps(limit: Limit, key: str) -> bool:
    """Whether a limit is on decisions over all rows, and not on the measure itself."""
    if isinstance(limit, GapLimit | AucLimit):
        return False
    if isinstance(limit, RangeLimit):
        return limit.figure.key not in (key, _RATES.get(key))
    return not isinstance(limit, SmallestRateLimit) or limit.rate.key != _RATES.get(key)

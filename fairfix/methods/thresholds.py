"""One threshold per group, the exact optimum over all combinations.

For a constraint on one rate no deterministic rule based on score and group performs better (Hardt,
Price, Srebro 2016; Corbett-Davies and others 2017). Nothing is trained, so little performance is
lost to sampling error.

Deviation from the papers: they bound the gap itself, or require it to be 0; here the objective
allows for sampling error, and balanced accuracy can be maximized as well as accuracy.

When not to use it: if the group is unknown at prediction, or if treating equal scores differently
by group is not lawful in your use. With few rows in a group its threshold is mostly noise.

Changes: thresholds per group.
Group at prediction: yes.
Gradients: no.
Training rows: no.
Cost: one sort per group.
Paper: Hardt, Price, Srebro 2016; Corbett-Davies and others 2017.
"""

from __future__ import annotations

from fairfix.data.problem import Problem
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.objective import Objective
from fairfix.thresholds.per_group import best_group_thresholds
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.randomized import best_randomized_thresholds


def thresholds(
    problem: Problem, objective: Objective, *, seed: int = 0, randomized: bool = False
) -> Result:
    """Choose one threshold per group by exact search.

    Supports spd, eod, aod, fprd and di with any number of groups, and eqodds with two groups (with
    any number if randomized; di cannot be randomized), at best balanced accuracy or accuracy.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        seed: unused.
        randomized: choose at random between thresholds, by the best mixture per group (a linear
            program); the random number of a row is a salted hash of its id.

    Raises:
        UsageError: if the metric, the performance measure or the number of groups is unsupported.
    """
    if randomized:
        return policy_result(problem, objective, best_randomized_thresholds(problem, objective))
    best = best_group_thresholds(problem, objective)
    return policy_result(problem, objective, Policy.by_group(best.thresholds))

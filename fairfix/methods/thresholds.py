"""One threshold for each group, the exact optimum of all combinations.

Group-aware post-processing at its strongest: for constraints on one rate no deterministic rule of
score and group does better (Corbett-Davies and others 2017; Hardt, Price, Srebro 2016). Nothing
is learned, so the price of sampling error is small.

When not to use it: the decision needs the group at prediction and treats equal scores differently
by group, which some uses may not lawfully do. With few rows in a group its threshold is mostly
noise.

Changes: cuts.
Group at prediction: yes.
Gradients: no.
Cost: one sort a group.
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
    """Choose one threshold for each group by exact search.

    For spd, eod, aod, fprd and di with any number of groups, for eqodds with two (with any number
    where randomized; di is never), at best balanced accuracy or accuracy.

    Args:
        randomized: let each group draw lots between thresholds, the best mixture by linear
            programming; the lot of a row is fixed by a salted hash of its id.
    """
    if randomized:
        return policy_result(problem, objective, best_randomized_thresholds(problem, objective))
    found = best_group_thresholds(problem, objective)
    return policy_result(problem, objective, Policy.by_group(found.thresholds))

"""Reject option: favor one group where the network is unsure (Kamiran, Karim, Zhang 2012).

In a band around the threshold, rows of the favored group get the positive decision and rows of the
other the negative one. A band from t - m to t + m is the pair of cuts t - m for the favored group
and t + m for the other, so all thresholds and all margins are searched exactly, as ordered pairs of
cuts.

When not to use it: the decision needs the group at prediction; where the groups' scores are
calibrated differently, free thresholds by group (thresholds) do better.

Changes: cuts, two groups only.
Group at prediction: yes.
Gradients: no.
Cost: one sort a group.
Paper: Kamiran, Karim, Zhang 2012.
"""

from __future__ import annotations

import torch

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.objective import Objective
from fairfix.metrics.rates import selection_rate
from fairfix.thresholds.per_group import best_group_thresholds
from fairfix.thresholds.policy import Policy


def roc(problem: Problem, objective: Objective, *, seed: int = 0, favor: str = "") -> Result:
    """Choose threshold and margin of a reject option by exact search; two groups.

    Args:
        favor: the group the band favors; empty for the one with the lower rate of positive
            decisions at the cut deployed today.
    """
    if problem.n_groups != 2:
        raise UsageError(
            f"The reject option is between two groups; here are {problem.n_groups}. "
            "Use thresholds for more."
        )
    if favor and favor not in problem.group_names:
        raise UsageError(
            f"There is no group {favor!r} to favor; there are "
            f"{' and '.join(map(repr, problem.group_names))}."
        )
    favored = problem.group_names.index(favor) if favor else _lower(problem)
    found = best_group_thresholds(problem, objective, lower_group=favored)
    low, high = found.thresholds[favored], found.thresholds[1 - favored]
    note = (
        f"the band favors group {problem.group_names[favored]!r}: threshold "
        f"{(low + high) / 2:.4g}, margin {(high - low) / 2:.4g}"
    )
    return policy_result(problem, objective, Policy.by_group(found.thresholds), note)


def _lower(problem: Problem) -> int:
    """The group with the lower rate of positive decisions today; of equal ones, the lower mean."""
    decisions = problem.scores > problem.threshold
    rate = selection_rate(problem.counts(decisions)).value
    if rate[0] == rate[1]:
        means = [problem.scores[problem.groups == g].mean() for g in (0, 1)]
        rate = torch.stack(means).double()
    return int(rate.argmin())

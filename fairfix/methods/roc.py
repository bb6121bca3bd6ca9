"""Reject option: favor one group where the network is uncertain (Kamiran, Karim, Zhang 2012).

In a band around the threshold, rows of the favored group get the favorable decision and rows of the
other group the unfavorable one. A band from t - m to t + m is the same as threshold t - m for the
favored group and t + m for the other.

Deviation from the paper: threshold and margin are not fixed or taken from a grid (AIF360: 100
thresholds, 50 margins). All pairs are searched exactly, as ordered pairs of group thresholds.

When not to use it: if the group is unknown at prediction. Where scores of the groups are calibrated
differently, free thresholds per group (thresholds) perform better.

Changes: thresholds per group; two groups only.
Group at prediction: yes.
Gradients: no.
Training rows: no.
Cost: one sort per group.
Paper: Kamiran, Karim, Zhang 2012.
"""

from __future__ import annotations

import torch

from fairfix._utils.text import quoted_list
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
        problem: the validation rows.
        objective: what is optimized.
        seed: unused.
        favor: the group that the band favors; empty for the one with the lower selection rate at
            the threshold in use today.

    Raises:
        UsageError: if there are more than two groups, ``favor`` is not one of them, or the metric
            is unsupported.
    """
    if problem.n_groups != 2:
        raise UsageError(
            f"roc supports two groups, not {problem.n_groups}; use the method thresholds for more."
        )
    if favor and favor not in problem.group_names:
        raise UsageError(
            f"favor must be one of the groups {quoted_list(problem.group_names)}, not {favor!r}."
        )
    favored = problem.group_names.index(favor) if favor else _less_selected(problem)
    best = best_group_thresholds(problem, objective, lower_group=favored)
    low, high = best.thresholds[favored], best.thresholds[1 - favored]
    note = (
        f"the reject option favors group {problem.group_names[favored]!r}: threshold "
        f"{(low + high) / 2:.4g}, margin {(high - low) / 2:.4g}"
    )
    return policy_result(problem, objective, Policy.by_group(best.thresholds), note)


def _less_selected(problem: Problem) -> int:
    """Return the group with the lower selection rate today, or with the lower mean if equal."""
    decisions = problem.scores > problem.threshold
    rate = selection_rate(problem.counts(decisions)).value
    if rate[0] == rate[1]:
        means = [problem.scores[problem.groups == g].mean() for g in (0, 1)]
        rate = torch.stack(means).double()
    return int(rate.argmin())

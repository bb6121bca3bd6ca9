"""Equalized odds by random flips of decisions (Hardt, Price, Srebro 2016), by AIF360's engine.

The linear program of the paper chooses four probabilities, of a favorable decision for each group
and each decision of the network, so that true and false positive rates are equal in both groups at
least error. Which rows are flipped follows from a salted hash of the row id.

Deviation from the paper: the decisions that are flipped are those of the threshold with the best
performance (base "current": the threshold in use today).

When not to use it: if the group is unknown at prediction, if individual decisions must not be
random, or for a metric other than eqodds, which it ignores. It flips correct decisions of one group
to equalize error rates. The engine ignores row weights, so rates are equal among the rows only.

Changes: randomized thresholds per group; two groups only.
Group at prediction: yes.
Gradients: no.
Cost: a small linear program.
Paper: Hardt, Price, Srebro 2016.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fairfix.data.problem import Problem
from fairfix.methods._aif360 import (
    PRIVILEGED,
    UNPRIVILEGED,
    binary_label_dataset,
    check_two_groups,
    no_warnings,
)
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.objective import Objective
from fairfix.thresholds.policy import Policy, randomize_threshold
from fairfix.thresholds.shared import evaluate_all_thresholds


def eqodds(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    base: Literal["best", "current"] = "best",
) -> Result:
    """Make true and false positive rates equal in expectation; two groups.

    Args:
        problem: the validation rows.
        objective: its performance measure chooses the base decisions.
        seed: of the engine.
        base: the decisions that are flipped: "best" those of the threshold with the best
            performance, "current" those of the threshold in use today.

    Raises:
        UsageError: unless there are two groups, each with rows of both labels.
    """
    check_two_groups(problem, "eqodds")
    threshold = problem.threshold
    if base == "best":
        thresholds, counts = evaluate_all_thresholds(problem)
        threshold = float(thresholds[objective.performance(counts).nan_to_num(-1).argmax()])
    decisions = problem.scores > threshold
    notes = [] if problem.weights is None else ["rates are equalized without the row weights"]
    rows = replace(problem, weights=None)  # the engine would use them for the base rates alone
    with no_warnings():
        from aif360.algorithms.postprocessing import EqOddsPostprocessing

        engine = EqOddsPostprocessing(UNPRIVILEGED, PRIVILEGED, seed=seed)
        engine.fit(
            binary_label_dataset(rows, problem.labels, problem.scores),
            binary_label_dataset(rows, decisions, problem.scores),
        )
    if engine.model_params.x is None:
        notes.append("the linear program of equalized odds has no solution on these rows")
        return policy_result(problem, objective, Policy.shared(threshold), *notes)
    kept_1, raised_1, kept_0, raised_0 = (
        min(1.0, max(0.0, float(p))) for p in engine.model_params.x
    )
    policy = Policy(
        (
            randomize_threshold(threshold, kept_0, raised_0),
            randomize_threshold(threshold, kept_1, raised_1),
        )
    )
    return policy_result(problem, objective, policy, *notes)

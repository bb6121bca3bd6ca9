"""Equalized odds by flipping decisions at random (Hardt, Price, Srebro 2016), by AIF360's engine.

A linear program over four probabilities, of a positive decision for each group and each decision
of the network, makes true and false positive rates equal in both groups at least error. Which rows
are flipped is fixed by a salted hash of the row's id.

When not to use it: it flips good decisions of one group to make both equally bad, it needs the
group at prediction, and its aim is equalized odds, whatever metric is asked for. The engine knows
no row weights: with them the rates are equal among the rows, not among what they stand for.

Changes: cuts, by lottery, two groups only.
Group at prediction: yes.
Gradients: no.
Cost: a small linear program.
Paper: Hardt, Price, Srebro 2016.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fairfix.data.problem import Problem
from fairfix.methods._aif360 import PRIVILEGED, UNPRIVILEGED, check_two_groups, dataset, quiet
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
    base: Literal["best", "deployed"] = "best",
) -> Result:
    """Make true and false positive rates equal in expectation; two groups.

    Args:
        base: the decisions that are flipped: "best" cuts where performance is best, "deployed" at
            the cut deployed today.
    """
    check_two_groups(problem, "eqodds")
    threshold = problem.threshold
    if base == "best":
        thresholds, counts = evaluate_all_thresholds(problem)
        threshold = float(thresholds[objective.performance(counts).nan_to_num(-1).argmax()])
    decisions = problem.scores > threshold
    notes = [] if problem.weights is None else ["equal rates are sought without the row weights"]
    rows = replace(problem, weights=None)  # the engine would weigh the base rates alone
    with quiet():
        from aif360.algorithms.postprocessing import EqOddsPostprocessing

        engine = EqOddsPostprocessing(UNPRIVILEGED, PRIVILEGED, seed=seed)
        engine.fit(
            dataset(rows, problem.labels, problem.scores),
            dataset(rows, decisions, problem.scores),
        )
    if engine.model_params.x is None:
        notes.append("the linear program of equalized odds has no solution here")
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

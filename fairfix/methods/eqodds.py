"""Equalized odds by random flips of decisions (Hardt, Price, Srebro 2016).

The linear program of the paper chooses four probabilities, of a favorable decision for each group
and each decision of the network, so that true and false positive rates are equal in both groups at
the best performance. Which rows are flipped follows from a salted hash of the row id.

Deviation from the paper: the decisions that are flipped are those of the threshold with the best
performance (base "current": the threshold in use today). Cost "aif360" is the program of AIF360,
which maximizes the true minus the false positive rate whatever the performance measure, and ignores
row weights.

When not to use it: if the group is unknown at prediction, if individual decisions must not be
random, or for a metric other than eqodds, which it ignores. It flips correct decisions of one group
to equalize error rates.

Changes: randomized thresholds per group; two groups only.
Group at prediction: yes.
Gradients: no.
Training rows: no.
Cost: a small linear program.
Paper: Hardt, Price, Srebro 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._aif360 import (
    PRIVILEGED,
    UNPRIVILEGED,
    binary_label_dataset,
    check_two_groups,
    no_warnings,
)
from fairfix.methods._result import Result
from fairfix.methods._search import policy_result
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.thresholds.policy import Policy, randomize_threshold
from fairfix.thresholds.shared import evaluate_all_thresholds

DINKELBACH_STEPS = 50
MEASURES = "balanced_accuracy", "accuracy", "f1"

Flips = tuple[tuple[float, float], tuple[float, float]]
"""By group, the probability of a positive decision after a positive and after a negative one."""


def eqodds(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    base: Literal["best", "current"] = "best",
    cost: Literal["performance", "aif360"] = "performance",
) -> Result:
    """Make true and false positive rates equal in expectation; two groups.

    Args:
        problem: the validation rows.
        objective: its performance measure chooses the base decisions and is maximized.
        seed: of AIF360's engine.
        base: the decisions that are flipped: "best" those of the threshold with the best
            performance, "current" those of the threshold in use today.
        cost: "performance" maximizes the performance measure, "aif360" is the program of AIF360.

    Raises:
        UsageError: unless there are two groups, each with rows of both labels, or for another
            performance measure than balanced accuracy, accuracy or F1.
    """
    check_two_groups(problem, "eqodds")
    if objective.performance.key not in MEASURES:
        raise UsageError(
            f"eqodds maximizes {', '.join(MEASURES)}, not {objective.performance.key}; choose one "
            "of them with --performance."
        )
    threshold = problem.threshold
    if base == "best":
        thresholds, counts = evaluate_all_thresholds(problem)
        threshold = float(thresholds[objective.performance(counts).nan_to_num(-1).argmax()])
    decisions = problem.scores > threshold
    if cost == "performance":
        solved = _best_flips(problem.counts(decisions), objective.performance.key)
        notes: list[str] = []
    else:
        solved, notes = _flips_of_aif360(problem, decisions, seed)
    if solved is None:
        notes.append("the linear program of equalized odds has no solution on these rows")
        return policy_result(problem, objective, Policy.shared(threshold), *notes)
    policy = Policy(tuple(randomize_threshold(threshold, kept, raised) for kept, raised in solved))
    return policy_result(problem, objective, policy, *notes)


def _best_flips(counts: Counts, performance: str) -> Flips | None:
    """Return the flips with equal rates and the best performance.

    Balanced accuracy and accuracy are linear in the probabilities. F1 is a ratio of linear terms,
    whose maximum a series of linear programs finds (Dinkelbach 1967).

    Args:
        counts: (2,) rows of the base decisions.
        performance: key of the measure.
    """
    tp, fp, fn, tn = (side.cpu().double().numpy() for side in counts.sides)
    ones, zeros = tp + fn, fp + tn
    # Rows with a positive decision, per probability of one after a positive and a negative one.
    true = np.stack([tp, fn], 1)
    false = np.stack([fp, tn], 1)
    equal = np.array([(true / ones[:, None] * [[1], [-1]]).ravel(),
                      (false / zeros[:, None] * [[1], [-1]]).ravel()])  # fmt: skip
    true, false, positives = true.ravel(), false.ravel(), float(ones.sum())
    if performance == "balanced_accuracy":
        return _solve(true / positives - false / zeros.sum(), equal)
    if performance == "accuracy":
        return _solve(true - false, equal)
    ratio, flips = 0.0, None
    for _ in range(DINKELBACH_STEPS):
        flips = _solve(2 * true - ratio * (true + false), equal)
        if flips is None:
            return None
        p = np.ravel(flips)
        reached = float(2 * true @ p / ((true + false) @ p + positives))
        if reached <= ratio + 1e-12:
            break
        ratio = reached
    return flips


def _solve(gain: np.ndarray, equal: np.ndarray) -> Flips | None:
    """Return the probabilities in [0, 1] with the largest gain for which ``equal`` gives 0."""
    from scipy.optimize import linprog

    solved = linprog(-gain, A_eq=equal, b_eq=np.zeros(len(equal)), bounds=(0, 1))
    return None if solved.x is None else _flips(solved.x)


def _flips(probabilities: Sequence[float] | np.ndarray) -> Flips:
    kept_0, raised_0, kept_1, raised_1 = (min(1.0, max(0.0, float(p))) for p in probabilities)
    return (kept_0, raised_0), (kept_1, raised_1)


def _flips_of_aif360(
    problem: Problem, decisions: Tensor, seed: int
) -> tuple[Flips | None, list[str]]:
    """Return the flips of AIF360's engine, and notes."""
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
        return None, notes
    kept_1, raised_1, kept_0, raised_0 = engine.model_params.x
    return _flips([kept_0, raised_0, kept_1, raised_1]), notes

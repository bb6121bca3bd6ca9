"""Calibrated equalized odds (Pleiss and others 2017, algorithm 1), by AIF360's engine.

In the group with the lower generalized cost (false negatives, false positives, or both) the scores
of a random share of rows are replaced by the group's base rate, so that both groups have equal cost
and scores stay calibrated. Which rows are replaced follows from a salted hash of the row id.

Deviation from the paper: afterwards one shared threshold is chosen for the objective; the paper
leaves scores as they are.

When not to use it: if the group is unknown at prediction, or if individual decisions must not be
random. It makes decisions of one group worse and reduces no rate difference directly.

Changes: randomized thresholds per group; two groups only.
Group at prediction: yes.
Gradients: no.
Training rows: no.
Cost: closed form.
Paper: Pleiss and others 2017.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

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
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.thresholds.policy import Policy, randomize_threshold
from fairfix.thresholds.shared import evaluate_all_thresholds


def caleqodds(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    cost: Literal["weighted", "fnr", "fpr"] = "weighted",
) -> Result:
    """Equalize a generalized cost, keep scores calibrated, and choose the best shared threshold.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        seed: of the engine.
        cost: what is equalized: "fnr" the generalized false negative rate, "fpr" the generalized
            false positive rate, "weighted" the sum of both, weighted by the base rates.

    Raises:
        UsageError: unless there are two groups, each with rows of both labels.
    """
    check_two_groups(problem, "caleqodds")
    with no_warnings():
        from aif360.algorithms.postprocessing import CalibratedEqOddsPostprocessing

        engine = CalibratedEqOddsPostprocessing(
            UNPRIVILEGED, PRIVILEGED, cost_constraint=cost, seed=seed
        )
        engine.fit(
            binary_label_dataset(problem, problem.labels, problem.scores),
            binary_label_dataset(problem, problem.scores > problem.threshold, problem.scores),
        )
    shares = [min(1.0, max(0.0, float(s))) for s in (engine.unpriv_mix_rate, engine.priv_mix_rate)]
    base_rates = [float(engine.base_rate_unpriv), float(engine.base_rate_priv)]
    thresholds, counts = evaluate_all_thresholds(problem)
    share = thresholds.new_tensor(shares)
    replaced_favorable = (thresholds.new_tensor(base_rates) > thresholds.unsqueeze(1)) * share
    best = int(objective.utility(_mixed(counts, share, replaced_favorable)).argmax())
    policy = Policy(
        tuple(
            randomize_threshold(
                float(thresholds[best]),
                1 - shares[g] + float(replaced_favorable[best, g]),
                float(replaced_favorable[best, g]),
            )
            for g in (0, 1)
        )
    )
    group = problem.group_names[0 if shares[0] > 0 else 1]
    note = f"{max(shares):.1%} of group {group!r} receive the base rate of the group as their score"
    return policy_result(problem, objective, policy, note)


def _mixed(counts: Counts, share: Tensor, favorable: Tensor) -> Counts:
    """Return the expected counts (T, G) if the decisions of a random share of rows are replaced.

    Args:
        counts: (T, G) of the decisions that are kept.
        share: (G,) of the rows of each group whose decision is replaced.
        favorable: (T, G) share of the rows that then have a favorable decision.
    """
    if counts.joint is not None:
        share, favorable = share[counts.joint.groups], favorable[:, counts.joint.groups]
    tp, fp, fn, tn = counts.cells().chunk(4, -1)
    mixed_tp = (1 - share) * tp + favorable * (tp + fn)
    mixed_fp = (1 - share) * fp + favorable * (fp + tn)
    sides = mixed_tp, mixed_fp, tp + fn - mixed_tp, fp + tn - mixed_fp
    return counts.with_cells(torch.cat(sides, -1))

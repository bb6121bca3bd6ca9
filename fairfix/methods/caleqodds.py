"""Calibrated equalized odds (Pleiss and others 2017), by AIF360's engine.

A share of the group that the network serves better gets its base rate as score instead of its own,
so that the generalized cost (false negatives, false positives, or both) is equal in both groups and
scores stay calibrated. Whose score is replaced is fixed by a salted hash of the row's id.

When not to use it: it makes one group's decisions worse by lot and serves no rate difference
directly; it needs the group at prediction.

Changes: cuts, by lottery, two groups only.
Group at prediction: yes.
Gradients: no.
Cost: closed form.
Paper: Pleiss and others 2017.
"""

from __future__ import annotations

from typing import Literal

from fairfix.data.problem import Problem
from fairfix.methods._aif360 import PRIVILEGED, UNPRIVILEGED, check_two_groups, dataset, quiet
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
    """Make a generalized cost equal and keep scores calibrated; then choose the best cut.

    Args:
        cost: what is made equal: "fnr" the generalized false negative rate, "fpr" the false
            positive rate, "weighted" the sum of both weighed by the base rates.
    """
    check_two_groups(problem, "caleqodds")
    with quiet():
        from aif360.algorithms.postprocessing import CalibratedEqOddsPostprocessing

        engine = CalibratedEqOddsPostprocessing(
            UNPRIVILEGED, PRIVILEGED, cost_constraint=cost, seed=seed
        )
        engine.fit(
            dataset(problem, problem.labels, problem.scores),
            dataset(problem, problem.scores > problem.threshold, problem.scores),
        )
    shares = [min(1.0, max(0.0, float(s))) for s in (engine.unpriv_mix_rate, engine.priv_mix_rate)]
    base_rates = [float(engine.base_rate_unpriv), float(engine.base_rate_priv)]
    thresholds, counts = evaluate_all_thresholds(problem)
    share = thresholds.new_tensor(shares)
    lucky = (thresholds.new_tensor(base_rates) > thresholds.unsqueeze(1)) * share
    tp = (1 - share) * counts.tp + lucky * (counts.tp + counts.fn)
    fp = (1 - share) * counts.fp + lucky * (counts.fp + counts.tn)
    mixed = Counts(
        tp, fp, counts.tp + counts.fn - tp, counts.fp + counts.tn - fp, counts.design_effect
    )
    best = int(objective.utility(mixed).argmax())
    policy = Policy(
        tuple(
            randomize_threshold(
                float(thresholds[best]),
                1 - shares[g] + float(lucky[best, g]),
                float(lucky[best, g]),
            )
            for g in (0, 1)
        )
    )
    worse = problem.group_names[0 if shares[0] > 0 else 1]
    note = f"{max(shares):.1%} of group {worse!r} get their group's base rate as score"
    return policy_result(problem, objective, policy, note)

"""Levelling down of scores: a smaller AUC difference because groups lost."""

from __future__ import annotations

from scipy import special
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.metrics.performance import AUC
from fairfix.stats.auc_figures import auc_changes, of_auc_gap
from fairfix.stats.linearized_figures import standard_errors
from fairfix.stats.verdicts import holm
from fairfix.thresholds.score_figures import areas_of

ALPHA = 0.05


def auc_levelling_down(problem: Problem, scores: Tensor) -> tuple[str, ...]:
    """Return a warning, without a full stop, if the AUC difference became smaller by harm alone.

    That is, it is smaller for the new scores (N,) than for the problem's own, the area of some
    group is significantly smaller (paired DeLong test, Holm's correction over all groups), and that
    of none is significantly larger.
    """
    was, now = (of_auc_gap(problem, each).value for each in (problem.scores, scores))
    if not now < was:
        return ()
    changes = auc_changes(problem, scores)
    z = [standard_errors((change, problem.clusters)) for change in changes]
    rejected = holm([2 * float(special.ndtr(-abs(each))) for each in z], ALPHA)
    significant = [g for g, reject in enumerate(rejected) if reject]
    if not significant or any(z[g] > 0 for g in significant):
        return ()
    before, after = (areas_of(problem, each).value.tolist() for each in (problem.scores, scores))
    lost = ", ".join(
        f"the {AUC.title} of {problem.group_names[g]!r} went from {before[g]:.3f} to {after[g]:.3f}"
        for g in significant
    )
    shrank = f"levelling down: abs(aucd) shrank from {was:.3f} to {now:.3f}"
    return (f"{shrank} while {lost}, and no group gained significantly",)

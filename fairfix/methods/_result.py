"""What a method returns: a policy, new weights if any, and its trajectory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from fairfix.methods._reweighting import Reweighting
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import ScoreModel
from fairfix.thresholds.policy import Policy


@dataclass(frozen=True)
class Step:
    """One candidate of a method, measured on the validation rows.

    Attributes:
        index: position in the trajectory.
        gap: signed gap of the objective's metric; NaN if undefined.
        performance: of the objective's measure, in [0, 1]; NaN if undefined.
        utility: value of the objective, higher is better; -inf if undefined.
        threshold: the shared threshold, in [-1, 1]; NaN if decisions depend on the group.
    """

    index: int
    gap: float
    performance: float
    utility: float
    threshold: float


@dataclass(frozen=True)
class Result:
    """What a method returns. A method does not evaluate itself on test rows.

    Attributes:
        policy: how scores become decisions.
        state: state of the changed network, with the keys and shapes of the unmodified one; None
            if the network is unchanged.
        trajectory: the candidates in their order; the first is the unmodified network. A method
            from outside may leave it empty.
        chosen: index into ``trajectory``.
        notes: short sentences for the user, without a full stop.
        score_model: turns the network's scores into those that the policy is applied to; None
            applies it to the network's scores.
        validation_scores: (N,) the score of every validation row by a score model that was fitted
            without it, which the policy was chosen on; None if rows are scored as new rows are.
        k: ``Objective.k`` that the policy was chosen by; None for that of the given objective.
        utility: value of that objective, with the labels or probabilities of labels that rates
            were counted with; None if the policy was not chosen by it.
        reweighting: new weights of the training rows, and what they did to the gaps; None if the
            method left the weights as they were.
    """

    policy: Policy
    state: dict[str, Tensor] | None = None
    trajectory: tuple[Step, ...] = ()
    chosen: int = 0
    notes: tuple[str, ...] = ()
    score_model: ScoreModel | None = None
    validation_scores: Tensor | None = None
    k: float | None = None
    utility: float | None = None
    reweighting: Reweighting | None = None

    def chosen_by(self, objective: Objective) -> Objective:
        """Return the objective that the policy was chosen by, from the one that was given."""
        return objective if self.k is None else replace(objective, k=self.k)

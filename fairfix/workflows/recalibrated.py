"""Recalibrate a result whose weights were changed, without changing a decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.models.scorer import Scorer
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.recalibration import (
    Recalibration,
    difference,
    fit_platt,
    fold_affine,
    moved_policy,
)

State = dict[str, Tensor]
Stored = tuple[State, Scorer, Policy]


def recalibrated(
    validation: Problem,
    held_out: Problem,
    current: Stored,
    store: Callable[[Mapping[str, Tensor]], State],
) -> tuple[Stored, Recalibration | None]:
    """Return state, scorer and policy after recalibration, and what was done.

    Args:
        validation: the rows that the recalibration is fitted on.
        held_out: further rows on which no decision may change.
        current: state as stored, the scorer with it, and the policy.
        store: rounds a state to the checkpoint's dtypes.

    Returns:
        The same with None if the weights are those of the unmodified network.
    """
    state, scorer, policy = current
    if _unchanged(validation, state):
        return current, None
    found = fit_platt(scorer, validation)
    if found is None:
        return current, Recalibration(reason="no increasing function of the scores fits the labels")
    changed = fold_affine(scorer, *found)
    if changed is None:
        reason = "the network does not end in a linear layer with a weight and a bias"
        if scorer.classes is not None:
            reason = "the network has more than two outputs"
        return current, Recalibration(reason=reason)
    recalibration, moved = Recalibration(*found), moved_policy(policy, *found)
    stored = store(changed.weights())
    changed.network.load_state_dict(stored)
    rows: Sequence[Problem] = (validation, held_out)
    reason = difference(rows, (scorer, policy), (changed, moved), recalibration)
    if reason:
        return current, Recalibration(reason=reason)
    return (stored, changed, moved), recalibration


def _unchanged(problem: Problem, state: State) -> bool:
    assert problem.scorer is not None
    own = problem.scorer.weights()
    return own.keys() == state.keys() and all(
        torch.equal(own[key].cpu(), state[key].to(own[key].dtype)) for key in own
    )

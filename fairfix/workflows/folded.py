"""Fold the threshold of a result into its network (``--fold-threshold``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods import Method
from fairfix.models.scorer import Scorer
from fairfix.thresholds.folding import fold_threshold
from fairfix.thresholds.policy import Policy

State = dict[str, Tensor]


def check_foldable(method: Method, problem: Problem) -> None:
    """Check before a run that a method gives one threshold on the score of a network.

    Raises:
        UsageError: if it does not, or may not.
    """
    if problem.scorer is None:
        raise UsageError("A threshold can be folded into a network, not into scores alone.")
    check_folded(method.name, needs_group=method.needs_group is True, scored=method.changes_score)
    if method.builtin and method.needs_group is None:
        raise UsageError(
            f"{method.name} may choose a method whose threshold cannot be folded into the network; "
            "remove --fold-threshold, or name the method to run."
        )


def check_folded(name: str, *, needs_group: bool, scored: bool) -> None:
    """Check that a result has one threshold for all groups, on the score of its network.

    Args:
        name: of the method.
        needs_group: whether it has thresholds by group.
        scored: whether it has a score model.

    Raises:
        UsageError: if not.
    """
    if scored:
        raise UsageError(
            f"The threshold of {name} is compared with the score of a model in the rule, so it "
            "cannot be folded into the network; remove --fold-threshold."
        )
    if needs_group:
        raise UsageError(
            "Group thresholds cannot be folded into one bias; remove --fold-threshold."
        )


def folded(
    problem: Problem, scorer: Scorer, policy: Policy, store: Callable[[Mapping[str, Tensor]], State]
) -> tuple[State, Scorer, Policy]:
    """Return state, scorer and policy with the shared threshold in the last bias.

    Args:
        problem: rows to compare decisions on.
        store: rounds a state to the dtypes of the checkpoint.
    """
    changed = fold_threshold(scorer, policy.thresholds(1)[0], problem)
    state = store(changed.weights())
    changed.network.load_state_dict(state)
    return state, changed, Policy.shared(0.5)

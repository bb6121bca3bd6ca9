"""Check the result of a method from outside the package, and measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.errors import UsageError
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch, step_of_policy
from fairfix.metrics.objective import Objective


def complete_result(method: str, result: object, problem: Problem, objective: Objective) -> Result:
    """Return the result of a method, with a trajectory if it has none.

    That trajectory is the unmodified model at its best threshold, then the result.

    Raises:
        UsageError: if it is not a ``Result``, or does not fit the problem.
    """
    if not isinstance(result, Result):
        raise UsageError(
            f"{method} returned a value of type {type(result).__name__}; a method must return a "
            "fairfix.methods.Result."
        )
    scores = problem.scores
    if result.state is not None:
        _check_state(method, result.state, problem)
        scores = problem.score(result.state)
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise UsageError(
                f"{method} returned weights with which the network gives no probability for some "
                "validation rows; check them for NaN and infinity."
            )
    scores = _modeled(method, result, problem, scores)
    policy = result.policy
    if len(policy.steps) not in (1, problem.n_groups):
        raise UsageError(
            f"{method} returned thresholds for {len(policy.steps)} groups; there are "
            f"{problem.n_groups}. Return one threshold, or one for each group."
        )
    if not result.trajectory:
        step = step_of_policy(1, problem, objective, policy, scores)
        before = CandidateSearch(problem, objective).steps
        return replace(result, trajectory=(*before, step), chosen=1)
    if not 0 <= result.chosen < len(result.trajectory):
        raise UsageError(
            f"{method} returned {result.chosen} as the chosen step of "
            f"{len(result.trajectory)}; return an index into the trajectory."
        )
    return result


def _modeled(method: str, result: Result, problem: Problem, scores: Tensor) -> Tensor:
    """Return the validation scores (N,) that the policy is applied to.

    Raises:
        UsageError: if there are new weights as well, if the score model needs features that the
            problem lacks, or if its scores of the validation rows are not probabilities.
    """
    if result.score_model is None:
        return scores
    if result.state is not None:
        raise UsageError(f"{method} returned weights and a score model; return one of them.")
    if problem.model_features is None:
        raise UsageError(
            f"{method} returned a score model, but the rows have no matrix of features."
        )
    modeled = result.score_model.apply(problem.model_features, scores).score
    given = modeled if result.validation_scores is None else result.validation_scores
    if given.shape != scores.shape or not bool(((given >= 0) & (given <= 1)).all()):
        raise UsageError(
            f"{method} returned validation scores that are not one probability for each row."
        )
    return given


def _check_state(method: str, state: Mapping[str, Tensor], problem: Problem) -> None:
    """Raise ``UsageError`` unless the state has the keys and shapes of the network's."""
    if problem.scorer is None:
        raise UsageError(f"{method} returned weights, but there are only scores; pass a model.")
    shapes = {key: tuple(value.shape) for key, value in problem.scorer.weights().items()}
    returned = {key: tuple(value.shape) for key, value in state.items()}
    if returned != shapes:
        different = [key for key in {**shapes, **returned} if returned.get(key) != shapes.get(key)]
        raise UsageError(
            f"{method} returned weights that do not fit the network (first difference: "
            f"{different[0]!r}); return every tensor of scorer.weights() in its shape."
        )

"""Problems that share a network, such as one for each of its labels, and its candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.objective import Objective
from fairfix.models.inputs import Inputs
from fairfix.models.scorer import Scorer


class JointSearch:
    """The candidate networks of one run; the unmodified network is the first.

    A candidate replaces the best one so far only if the mean of its utilities is strictly higher.

    Args:
        searches: one for each problem.
    """

    def __init__(self, searches: Sequence[CandidateSearch]) -> None:
        self._searches = searches
        self._utilities = [self._last_utilities()]
        self._best = 0
        self._state: dict[str, Tensor] | None = None

    @classmethod
    def of(
        cls, problems: Sequence[Problem], objective: Objective, learned: Sequence[Problem]
    ) -> JointSearch:
        """Return the search of networks that were trained on the rows ``learned``."""
        pairs = zip(problems, learned, strict=True)
        return cls([CandidateSearch(p, objective, in_sample=own is p) for p, own in pairs])

    def add(self, scores: Sequence[Tensor], state: Callable[[], dict[str, Tensor]]) -> None:
        """Evaluate a candidate at its best thresholds and keep it if it is the best so far.

        Args:
            scores: (N,) in [0, 1] of each label's rows.
            state: returns the state of the candidate's network; called only if it is kept.
        """
        state = cache(state)
        for search, own in zip(self._searches, scores, strict=True):
            search.add(own, state)
        self._utilities.append(self._last_utilities())
        if sum(self._utilities[-1]) > sum(self._utilities[self._best]):
            self._best, self._state = len(self._utilities) - 1, state()

    def results(self, *notes: str) -> tuple[Result, ...]:
        """Return the best candidate, with the threshold of each label."""
        chosen = zip(self._searches, self._utilities[self._best], strict=True)
        return tuple(s.result_of(self._best, own, self._state, *notes) for s, own in chosen)

    def _last_utilities(self) -> list[float]:
        return [search.last_utility for search in self._searches]


def shared_networks(problems: Sequence[Problem]) -> list[tuple[Scorer, Inputs]]:
    """Return the scorers of the problems, all with one trainable copy of the network, and inputs.

    Raises:
        TableError: if the problems have only scores.
        CheckpointError: if the weights of the network cannot be changed.
    """
    networks = [problems[0].network()]
    for problem in problems[1:]:
        assert problem.scorer is not None
        assert problem.inputs is not None
        networks.append((problem.scorer.with_network(networks[0][0].network), problem.inputs))
    return networks


def all_finite(scores: Sequence[Tensor]) -> bool:
    """Whether all scores of all problems are finite."""
    return all(bool(own.isfinite().all()) for own in scores)

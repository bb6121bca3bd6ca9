"""Keeping the best of many candidate networks, each at its exact best cut."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from fairfix.cuts import best_cut
from fairfix.objectives import Objective
from fairfix.policy import Policy
from fairfix.problem import Problem
from fairfix.result import Result, Step

# Networks that were learnt on the rows they are compared on look better there than they are:
# standard errors count for more by this factor. Of 1, 1.2, 1.4, 1.7 and 2 it did best on new rows
# (benchmarks/splits.py): less breaks the budget more often, more hardly moves.
LEARNT = 1.7


class Search:
    """The candidates of one run on its fitting rows; the untouched network is the first.

    A candidate must be strictly better than all before it to be kept. ``learns`` says that the
    candidates were made by looking at these very rows.
    """

    def __init__(self, problem: Problem, objective: Objective, *, learns: bool = False) -> None:
        self.problem = problem
        self.objective = objective
        self._weigh = replace(objective, k=objective.k * LEARNT) if learns else objective
        self.steps: list[Step] = []
        self._best = 0
        self._state: dict[str, Tensor] | None = None
        self.offer(problem.scores, lambda: None)

    def offer(self, scores: Tensor, state: Callable[[], dict[str, Tensor] | None]) -> Step:
        """Judge the scores (N,) of a candidate; ``state`` is called only if it is the best."""
        step = self._judged(scores, self._weigh, len(self.steps))
        self.steps.append(step)
        if step.index == 0 or step.utility > self.best.utility:
            self._best, self._state = step.index, state()
        return step

    def _judged(self, scores: Tensor, objective: Objective, index: int) -> Step:
        p = self.problem
        cut = best_cut(scores, p.labels, p.groups, p.n_groups, objective, p.weights)
        return Step(
            index=index,
            gap=float(objective.metric(cut.counts).value),
            performance=float(objective.performance(cut.counts)),
            utility=float(cut.utility),
            threshold=float(cut.threshold),
        )

    @property
    def best(self) -> Step:
        """The best candidate so far."""
        return self.steps[self._best]

    def result(self, *notes: str) -> Result:
        """The best candidate; where that is the untouched network, at its cut without learning."""
        if self._best == 0 and self._weigh is not self.objective:
            self.steps[0] = self._judged(self.problem.scores, self.objective, 0)
        if math.isinf(self.best.utility):
            notes = (*notes, f"{self.objective.metric.key} is undefined at every cut of these rows")
        cut = Policy.cut(self.best.threshold)
        return Result(cut, self._state, tuple(self.steps), self._best, notes)


def policy_result(problem: Problem, objective: Objective, policy: Policy, *notes: str) -> Result:
    """The result of a method that keeps the network and decides by group.

    The trajectory holds the untouched network at its best shared cut, then the policy, counted in
    expectation where it draws lots. Where the first does better on these rows, a note says so.
    """
    search = Search(problem, objective)
    counts = problem.counts(policy.probability(problem.scores, problem.groups))
    step = Step(
        index=1,
        gap=float(objective.metric(counts).value),
        performance=float(objective.performance(counts)),
        utility=float(objective.utility(counts)),
        threshold=math.nan,
    )
    if step.utility < search.best.utility:
        notes = (
            *notes,
            "weighing in sampling error, the untouched network at one shared cut is worth more "
            "on the fitting rows",
        )
    return Result(policy, None, (*search.steps, step), 1, notes)

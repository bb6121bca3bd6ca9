"""Keeping the best of many candidate networks, each at its exact best cut."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from fairfix.cuts import best_cut
from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.result import Result, Step


class Search:
    """The candidates of one run on its fitting rows; the untouched network is the first.

    A candidate must be strictly better than all before it to be kept.
    """

    def __init__(self, problem: Problem, objective: Objective) -> None:
        self.problem = problem
        self.objective = objective
        self.steps: list[Step] = []
        self._best = 0
        self._state: dict[str, Tensor] | None = None
        self.offer(problem.scores, lambda: None)

    def offer(self, scores: Tensor, state: Callable[[], dict[str, Tensor] | None]) -> Step:
        """Judge the scores (N,) of a candidate; ``state`` is called only if it is the best."""
        p, objective = self.problem, self.objective
        cut = best_cut(scores, p.labels, p.groups, p.n_groups, objective, p.weights)
        step = Step(
            index=len(self.steps),
            gap=float(objective.metric(cut.counts).value),
            performance=float(objective.performance(cut.counts)),
            utility=float(cut.utility),
            threshold=float(cut.threshold),
        )
        self.steps.append(step)
        if step.index == 0 or step.utility > self.steps[self._best].utility:
            self._best, self._state = step.index, state()
        return step

    def result(self, *notes: str) -> Result:
        best = self.steps[self._best]
        if math.isinf(best.utility):
            notes = (*notes, f"{self.objective.metric.key} is undefined at every cut of these rows")
        return Result(best.threshold, self._state, tuple(self.steps), self._best, notes)

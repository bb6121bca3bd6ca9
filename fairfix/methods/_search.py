"""Keeping the best of many candidate networks, each at its exact best cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.methods._result import Result, Step
from fairfix.metrics.objective import Objective
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.shared import best_threshold

# Networks that were learned on the rows they are compared on look better there than they are:
# standard errors count for more by this factor. On new rows (docs/results.md) less breaks the
# budget more often, and more gives up performance for little surety.
LEARNED = 1.2

# More than what round-off in scores does to what a candidate is worth: in 12,960 comparisons on the
# reference networks it did something in one, 0.00007.
NEAR = 0.0005


def learned(objective: Objective) -> Objective:
    """The objective as it rates networks on the rows they were learned on."""
    return replace(objective, k=objective.k * LEARNED)


class Search:
    """The candidates of one run on its fitting rows; the untouched network is the first.

    A candidate must be strictly better than all before it to be kept. ``learns`` says that the
    candidates were made by looking at these very rows.

    Where candidates learn rows by heart, ``unseen`` (row numbers) are those that they were not made
    from: candidates and their cuts are chosen on them alone, and figures are of all rows.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        *,
        learns: bool = False,
        unseen: Tensor | None = None,
    ) -> None:
        self.problem = problem
        self.objective = objective
        self._weigh = learned(objective) if learns else objective
        self._unseen = unseen
        self._aside = None if unseen is None else problem.take(unseen)
        self.steps: list[Step] = []
        self._best = 0
        self._worth = -math.inf
        self._state: dict[str, Tensor] | None = None
        self.offer(problem.scores, lambda: None)

    def offer(self, scores: Tensor, state: Callable[[], dict[str, Tensor] | None]) -> Step:
        """Judge the scores (N,) of a candidate; ``state`` is called only if it is the best."""
        index = len(self.steps)
        if self._aside is None:
            step = self._judged(scores, self._weigh, index)
            worth = step.utility
        else:
            step, worth = self._chosen_aside(scores, self._aside, index)
        self.steps.append(step)
        if index == 0 or worth > self._worth:
            self._best, self._worth, self._state = index, worth, state()
        return step

    def _chosen_aside(self, scores: Tensor, aside: Problem, index: int) -> tuple[Step, float]:
        """The candidate at its best cut of the rows ``aside``, and what it is worth there.

        The untouched network learned nothing: all rows say where to cut it.
        """
        p, q = self.problem, aside
        here = scores[self._unseen]
        cut = best_threshold(here, q.labels, q.groups, q.n_groups, self._weigh, q.weights)
        worth, threshold = float(cut.utility), float(cut.threshold)
        if index == 0:
            return self._judged(scores, self.objective, 0), worth
        counts = p.counts(scores > threshold)
        figures = (
            float(self.objective.metric(counts).value),
            float(self.objective.performance(counts)),
            float(self.objective.utility(counts)),
        )
        return Step(index, *figures, threshold), worth

    def sift(
        self,
        rough: Iterable[tuple[Sequence[int], Tensor]],
        exact: Callable[[int], Tensor],
        state: Callable[[], dict[str, Tensor]],
    ) -> None:
        """Judge many candidates by scores that are right but for round-off.

        Those that may be the best are then judged by their exact scores, in the place of the rough
        ones, so that the same one is kept as if all had been. The figures of the others stay those
        of the rough scores.

        Args:
            rough: numbers of B candidates, and their scores (B, N).
            exact: makes one candidate, by its number, and gives its scores (N,).
            state: of the candidate made last.
        """
        first, numbers = len(self.steps), list[int]()
        for candidates, scores in rough:
            numbers += candidates
            self.steps += self._all_judged(scores, self._weigh, len(self.steps))
        for step in sorted(self.steps[first:], key=lambda step: -step.utility):
            if step.utility <= self.best.utility - NEAR:
                break
            if step.utility == self.best.utility and step.index > self._best:
                continue
            scores = exact(numbers[step.index - first])
            if scores.isfinite().all():
                judged = self._judged(scores, self._weigh, step.index)
            else:
                judged = Step(step.index, math.nan, math.nan, -math.inf, math.nan)
            self.steps[step.index] = judged
            if (judged.utility, -judged.index) > (self.best.utility, -self._best):
                self._best, self._worth, self._state = judged.index, judged.utility, state()

    def _judged(self, scores: Tensor, objective: Objective, index: int) -> Step:
        return self._all_judged(scores.unsqueeze(0), objective, index)[0]

    def _all_judged(self, scores: Tensor, objective: Objective, first: int) -> list[Step]:
        """Of scores (B, N), numbered from ``first`` on."""
        p = self.problem
        cut = best_threshold(scores, p.labels, p.groups, p.n_groups, objective, p.weights)
        figures = zip(
            objective.metric(cut.counts).value.tolist(),
            objective.performance(cut.counts).tolist(),
            cut.utility.tolist(),
            cut.threshold.tolist(),
            strict=True,
        )
        return [Step(index, *step) for index, step in enumerate(figures, start=first)]

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
        notes = (*notes, *_missed_risk(self.objective, self.best.utility))
        cut = Policy.shared(self.best.threshold)
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
    notes = (*notes, *_missed_risk(objective, step.utility))
    return Result(policy, None, (*search.steps, step), 1, notes)


def _missed_risk(objective: Objective, utility: float) -> tuple[str, ...]:
    """What to say of the best candidate where it is not as sure as was asked."""
    if objective.risk is None or utility >= 0 or math.isinf(utility):
        return ()
    return (
        f"nothing found meets the budget with the chance of {1 - objective.risk:g} that a risk of "
        f"{objective.risk:g} leaves; the likeliest, of {max(0.0, 1 + utility):.3f}, is taken",
    )

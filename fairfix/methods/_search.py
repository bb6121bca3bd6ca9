"""Keep the best of many candidate networks, each at its exact optimal threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.methods._result import Result, Step
from fairfix.metrics.counts import Counts
from fairfix.metrics.objective import Objective
from fairfix.models.score_model import ScoreModel
from fairfix.thresholds.policy import Policy
from fairfix.thresholds.score_figures import with_score_figures
from fairfix.thresholds.shared import best_threshold_of
from fairfix.thresholds.unlabeled import best_threshold_with_unlabeled

# Networks look better on the rows they were trained on than on new rows, so their standard errors
# are multiplied by this factor. With a smaller one the budget is missed more often on new rows; a
# larger one gives up performance for little certainty (docs/results.md).
IN_SAMPLE_FACTOR = 1.2

# Larger than any change of the utility by round-off in scores: on the reference networks it changed
# in 1 of 12,960 comparisons, by 7e-5.
UTILITY_TOLERANCE = 0.0005


def in_sample_objective(objective: Objective) -> Objective:
    """Return the objective for networks that were trained on the rows they are compared on."""
    return replace(objective, k=objective.factor * IN_SAMPLE_FACTOR)


class CandidateSearch:
    """The candidate networks of one run; the unmodified network is the first.

    A candidate replaces the best one so far only if it is strictly better.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        in_sample: the candidates were trained on these very rows, so the objective uses larger
            standard errors (``in_sample_objective``).
        selection_rows: (M,) row numbers that candidates were not trained on. Candidates and their
            thresholds are then chosen on these rows alone; the figures of a step are those of all
            rows.
        ranking_objective: objective by which candidates and their thresholds are chosen, if it is
            not ``objective``.
        label_probabilities: (N,) P(label = 1) in place of the labels in that choice; the figures
            of a step are those of the labels.
    """

    def __init__(
        self,
        problem: Problem,
        objective: Objective,
        *,
        in_sample: bool = False,
        selection_rows: Tensor | None = None,
        ranking_objective: Objective | None = None,
        label_probabilities: Tensor | None = None,
    ) -> None:
        self.problem = problem
        self.objective = objective
        self._ranking_objective = ranking_objective or (
            in_sample_objective(objective) if in_sample else objective
        )
        self._selection_rows = selection_rows
        self._label_probabilities = label_probabilities
        self._selection = problem if selection_rows is None else problem.take(selection_rows)
        self.steps: list[Step] = []
        self.last_utility = -math.inf
        """That of the candidate added last, by which it was chosen."""
        self._best = 0
        self._best_utility = -math.inf
        self._state: dict[str, Tensor] | None = None
        more = problem.unlabeled
        self.add(problem.scores, lambda: None, None if more is None else more.scores)

    def add(
        self,
        scores: Tensor,
        state: Callable[[], dict[str, Tensor] | None],
        unlabeled_scores: Tensor | None = None,
    ) -> Step:
        """Evaluate a candidate at its best threshold and keep it if it is the best so far.

        Args:
            scores: (N,) in [0, 1].
            state: returns the state of the candidate's network; called only if it is kept.
            unlabeled_scores: (U,) of the unlabeled rows of the problem, if it has any.
        """
        index = len(self.steps)
        if unlabeled_scores is not None:
            step, utility = self._step_with_unlabeled(scores, unlabeled_scores, index)
        elif self._selection_rows is None and self._label_probabilities is None:
            step = self._step(scores, self._ranking_objective, index)
            utility = step.utility
        else:
            step, utility = self._step_by_selection(scores, index)
        self.steps.append(step)
        self.last_utility = utility
        if index == 0 or utility > self._best_utility:
            self._state = None  # before the next is copied, since a network can be large
            self._best, self._best_utility, self._state = index, utility, state()
        return step

    def _step_with_unlabeled(
        self, scores: Tensor, unlabeled_scores: Tensor, index: int
    ) -> tuple[Step, float]:
        """Return the candidate at the threshold that all rows choose, and its utility there.

        Its figures are those of the labeled rows; that of the unmodified network, see
        ``_step_by_selection``.
        """
        p = self.problem
        utility, threshold = best_threshold_with_unlabeled(
            p, scores, unlabeled_scores, self._ranking_objective
        )
        if index == 0:
            return self._step(scores, self.objective, 0), utility
        counts = with_score_figures(p.counts(scores > threshold), p, scores, self.objective)
        return step_of_counts(index, self.objective, counts, threshold), utility

    def _step_by_selection(self, scores: Tensor, index: int) -> tuple[Step, float]:
        """Return the candidate at the threshold that is chosen for it, and its utility there.

        The choice is on the selection rows, by label probabilities if there are any. The unmodified
        network was not trained here; its step has the best threshold on all rows.
        """
        p, q, rows = self.problem, self._selection, self._selection_rows
        best = best_threshold_of(
            q,
            scores if rows is None else scores[rows],
            self._ranking_objective,
            self._label_probabilities,
        )
        utility, threshold = float(best.utility), float(best.threshold)
        if index == 0:
            return self._step(scores, self.objective, 0), utility
        counts = with_score_figures(p.counts(scores > threshold), p, scores, self.objective)
        return step_of_counts(index, self.objective, counts, threshold), utility

    def add_approximate(
        self,
        batches: Iterable[tuple[Sequence[int], Tensor]],
        exact_scores: Callable[[int], Tensor],
        state: Callable[[], dict[str, Tensor]],
    ) -> None:
        """Evaluate many candidates whose scores are exact up to round-off.

        Those that may be the best are evaluated again with exact scores, so that the same candidate
        is kept as if all had been. The steps of the others keep the approximate figures.

        Args:
            batches: numbers of B candidates, and their scores (B, N).
            exact_scores: makes the candidate of a number and returns its scores (N,).
            state: returns the state of the candidate made last.
        """
        first, numbers = len(self.steps), list[int]()
        for candidates, scores in batches:
            numbers += candidates
            self.steps += self._steps(scores, self._ranking_objective, len(self.steps))
        for step in sorted(self.steps[first:], key=lambda step: -step.utility):
            if step.utility <= self.best.utility - UTILITY_TOLERANCE:
                break
            if step.utility == self.best.utility and step.index > self._best:
                continue
            scores = exact_scores(numbers[step.index - first])
            if scores.isfinite().all():
                exact = self._step(scores, self._ranking_objective, step.index)
            else:
                exact = Step(step.index, math.nan, math.nan, -math.inf, math.nan)
            self.steps[step.index] = exact
            if (exact.utility, -exact.index) > (self.best.utility, -self._best):
                self._best, self._best_utility, self._state = exact.index, exact.utility, state()

    def _step(self, scores: Tensor, objective: Objective, index: int) -> Step:
        return self._steps(scores.unsqueeze(0), objective, index)[0]

    def _steps(self, scores: Tensor, objective: Objective, first: int) -> list[Step]:
        """Return the steps of scores (B, N) at their best thresholds, numbered from ``first``."""
        best = best_threshold_of(self.problem, scores, objective)
        figures = zip(
            objective.metric(best.counts).value.tolist(),
            objective.performance(best.counts).tolist(),
            best.utility.tolist(),
            best.threshold.tolist(),
            strict=True,
        )
        return [Step(index, *step) for index, step in enumerate(figures, start=first)]

    @property
    def best(self) -> Step:
        """The best candidate so far."""
        return self.steps[self._best]

    def result_of(
        self, index: int, utility: float, state: dict[str, Tensor] | None, *notes: str
    ) -> Result:
        """Return a candidate that was chosen elsewhere, with its utility and network state."""
        self._best, self._best_utility, self._state = index, utility, state
        return self.result(*notes)

    def result(self, *notes: str) -> Result:
        """Return the best candidate.

        If that is the unmodified network, its threshold is chosen without larger standard errors:
        it was not trained on these rows.
        """
        chosen_by, utility = self._ranking_objective, self._best_utility
        if self._best == 0 and chosen_by is not self.objective:
            chosen_by = self.objective
            self.steps[0] = self._step(self.problem.scores, chosen_by, 0)
            utility = self.steps[0].utility
        if math.isinf(self.best.utility):
            key = self.objective.metric.key
            notes = (*notes, f"{key} is undefined at every threshold on these rows")
        notes = (*notes, *threshold_note(self.objective))
        notes = (*notes, *_risk_note(self.objective, self.best.utility))
        policy = Policy.shared(self.best.threshold)
        steps, k = tuple(self.steps), chosen_by.factor
        return Result(policy, self._state, steps, self._best, notes, k=k, utility=utility)


def scores_of_unlabeled(problem: Problem, state: Mapping[str, Tensor]) -> Tensor | None:
    """Return the scores (U,) of the unlabeled rows by new weights; None if there are none."""
    return None if problem.unlabeled is None else problem.unlabeled.score(state)


def step_of_counts(index: int, objective: Objective, counts: Counts, threshold: float) -> Step:
    """Return a step with the figures of given counts by group."""
    return Step(
        index=index,
        gap=float(objective.metric(counts).value),
        performance=float(objective.performance(counts)),
        utility=float(objective.utility(counts)),
        threshold=threshold,
    )


def step_of_policy(
    index: int, problem: Problem, objective: Objective, policy: Policy, scores: Tensor
) -> Step:
    """Return the step of a policy on scores (N,), in expectation where it is randomized."""
    counts = problem.counts(policy.probability(scores, problem.groups))
    counts = with_score_figures(counts, problem, scores, objective)
    threshold = math.nan if policy.needs_group else policy.thresholds(1)[0]
    return step_of_counts(index, objective, counts, threshold)


def policy_result(
    problem: Problem,
    objective: Objective,
    policy: Policy,
    *notes: str,
    score_model: ScoreModel | None = None,
    validation_scores: Tensor | None = None,
) -> Result:
    """Return the result of a method that keeps the network.

    The trajectory is the unmodified network at its best shared threshold, then the policy, in
    expectation where it is randomized. A note is added if the first has the higher utility.

    Args:
        notes: short sentences without a full stop.
        score_model, validation_scores: see ``Result``.
    """
    search = CandidateSearch(problem, objective)
    scores = problem.scores if validation_scores is None else validation_scores
    step = step_of_policy(1, problem, objective, policy, scores)
    if step.utility < search.best.utility:
        notes = (*notes, BETTER_RETUNED)
    notes = (*notes, *_risk_note(objective, step.utility))
    trajectory = (*search.steps, step)
    fitted = score_model, validation_scores
    return Result(
        policy, None, trajectory, 1, notes, *fitted, k=objective.factor, utility=step.utility
    )


BETTER_RETUNED = (
    "allowing for sampling error, one shared threshold reaches a higher objective on the "
    "validation rows (method identity)"
)


def threshold_note(objective: Objective) -> tuple[str, ...]:
    """Return a note if the threshold is chosen by something else than the objective."""
    by = objective.for_thresholds
    if by is objective:
        return ()
    goals = [goal.key for goal in (objective.metric, objective.performance) if goal.of_scores]
    which = "it chose the network" if len(goals) == 1 else "they chose the network"
    other = by.performance.title
    return (f"no threshold changes {' or '.join(goals)}: {which}, and {other} its threshold",)


def _risk_note(objective: Objective, utility: float) -> tuple[str, ...]:
    """Return a note if the best candidate misses the budget with more than the allowed risk."""
    risk = objective.largest_risk
    if risk is None or utility >= 0 or math.isinf(utility):
        return ()
    return (
        f"no candidate meets the budget with a probability of {1 - risk:g}, as a risk of "
        f"{risk:g} requires; the most probable one, with {max(0.0, 1 + utility):.3f}, "
        "is kept",
    )

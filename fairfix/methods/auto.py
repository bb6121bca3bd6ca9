"""The best of a few methods, by an objective that is measured out of fold.

Candidates are the retuned threshold, finetune and blind; with --use-group also thresholds and
repair. The one with the highest objective is run on all rows. For blind and repair the objective is
that of rows which their trees were not fitted on. finetune is compared by two networks, each
trained on one half of the rows and measured on the other. Thresholds alone are measured on the rows
they are chosen on. The objective has the same --k for all, also where a method chooses by its own.
A candidate that does not apply, such as blind with three groups, is left out.
The notes of the result list what was tried, with its objective.

When not to use it: if the method must be fixed before the rows are seen, or weights may not change.

Changes: what the chosen method changes.
Group at prediction: only with --use-group.
Gradients: yes.
Training rows: no.
Cost: blind, and finetune two or three times.
Paper: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

import torch

from fairfix._utils.constraints import Range
from fairfix.data.problem import Problem
from fairfix.data.splitting import stratified_folds
from fairfix.errors import FairfixError
from fairfix.methods._result import Result
from fairfix.methods._search import BETTER_RETUNED, step_of_counts, with_auc
from fairfix.methods.blind import blind
from fairfix.methods.finetune import finetune
from fairfix.methods.identity import identity
from fairfix.methods.repair import repair
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective
from fairfix.thresholds.shared import best_threshold_of


@dataclass(frozen=True)
class _Candidate:
    """A method that was tried: its utility out of fold, and what runs it on all rows."""

    name: str
    utility: float
    run: Callable[[], Result]


def auto(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    use_group: bool = False,
    steps: Annotated[int, Range(0)] = 240,
) -> Result:
    """Try a few methods and run the one with the highest objective out of fold.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        seed: of folds and minibatches.
        use_group: also try thresholds and repair, whose decisions need the group column.
        steps: steps of finetune for each trade-off weight.
    """

    def tune() -> Result:
        return finetune(problem, objective, seed=seed, steps=steps)

    def tuned() -> _Candidate:
        return _Candidate("finetune", _finetuned_utility(problem, objective, seed, steps), tune)

    def known(name: str, result: Result) -> _Candidate:
        return _Candidate(name, _utility(problem, objective, result), lambda: result)

    # The simplest first: it wins a tie.
    tries: dict[str, Callable[[], _Candidate]] = {
        "identity": lambda: known("identity", identity(problem, objective))
    }
    if use_group:
        tries["thresholds"] = lambda: known("thresholds", thresholds(problem, objective))
    tries["blind"] = lambda: known("blind", blind(problem, objective, seed=seed))
    if use_group:
        tries["repair"] = lambda: known("repair", repair(problem, objective, seed=seed))
    tries["finetune"] = tuned

    best: _Candidate | None = None
    tried, left_out = list[str](), list[str]()
    for name, attempt in tries.items():
        try:
            candidate = attempt()
        except FairfixError as error:
            left_out.append(f"{name} was not tried: {str(error).removesuffix('.')}")
            continue
        tried.append(f"{name} {candidate.utility:.3f}")
        if best is None or candidate.utility > best.utility:
            best = candidate
    assert best is not None  # identity applies to every problem
    won = f"auto chose {best.name}, which has the highest objective out of fold: {', '.join(tried)}"
    result = best.run()
    own = [note for note in result.notes if note != BETTER_RETUNED]  # identity was compared here
    return replace(result, notes=(won, *left_out, *own))


def _utility(problem: Problem, objective: Objective, result: Result) -> float:
    """Return the utility of a result that keeps the network, on scores out of fold."""
    scores = problem.scores if result.validation_scores is None else result.validation_scores
    counts = problem.counts(result.policy.probability(scores, problem.groups))
    counts = with_auc(counts, problem, scores, objective)
    return step_of_counts(0, objective, counts, math.nan).utility


def _finetuned_utility(problem: Problem, objective: Objective, seed: int, steps: int) -> float:
    """Return the utility of networks that are trained on one half and decide on the other.

    As for blind, thresholds are chosen on the scores of rows that the network was not trained on.

    Raises:
        TableError: if the problem has only scores, or a half lacks a group or a label.
    """
    problem.network()  # refuse problems without one
    scores = problem.scores.clone()
    decisions = torch.zeros_like(scores, dtype=torch.bool)
    folds = torch.from_numpy(stratified_folds(problem, 2, seed)).to(scores.device)
    for fold in (0, 1):
        new = problem.take(folds == fold)
        state = finetune(problem.take(folds != fold), objective, seed=seed, steps=steps).state
        scored = new.scores if state is None else new.score(state)
        best = best_threshold_of(new, scored, objective)
        scores[folds == fold] = scored
        decisions[folds == fold] = scored > best.threshold
    counts = with_auc(problem.counts(decisions), problem, scores, objective)
    return step_of_counts(0, objective, counts, math.nan).utility

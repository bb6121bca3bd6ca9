"""The best of a few methods, by the objective that is to be expected on new rows.

Candidates are the retuned threshold, finetune and blind; with --use-group also thresholds, and
repair for metrics that depend on labels. Each chooses with its own --k. Then all are compared with
that of finetune, which is to allow for what a network learns of the rows: 1.2 for metrics that
depend on labels, 1.7 for others, unless --k is given. blind and repair are counted on rows that
their models were not fitted on, finetune by probabilities of labels where the metric depends on
labels. The candidate with the highest objective is the result (docs/results.md).
A candidate that does not apply, such as blind with three groups, is left out.
The notes of the result list what was tried, with its objective.

When not to use it: if the method must be fixed before the rows are seen, or weights may not change.

Changes: what the chosen method changes.
Group at prediction: only with --use-group.
Gradients: yes.
Training rows: no.
Cost: blind and finetune.
Paper: none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fairfix._utils.constraints import Range
from fairfix.data.problem import Problem
from fairfix.errors import FairfixError
from fairfix.methods._result import Result
from fairfix.methods._search import BETTER_RETUNED, step_of_policy
from fairfix.methods.blind import blind
from fairfix.methods.finetune import K_BY_LABELS, K_BY_PROBABILITIES, finetune
from fairfix.methods.identity import identity
from fairfix.methods.repair import repair
from fairfix.methods.thresholds import thresholds
from fairfix.metrics.objective import Objective
from fairfix.thresholds.policy import Policy


def auto(
    problem: Problem,
    objective: Objective,
    *,
    seed: int = 0,
    use_group: bool = False,
    steps: Annotated[int, Range(0)] = 240,
) -> Result:
    """Try a few methods and return the result of the one with the highest objective.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        seed: of folds and minibatches.
        use_group: also try thresholds, and repair for metrics that depend on labels; their
            decisions need the group column.
        steps: steps of finetune for each trade-off weight.
    """

    # The simplest first: it wins a tie.
    candidates: dict[str, Callable[[], Result]] = {"identity": lambda: identity(problem, objective)}
    if use_group:
        candidates["thresholds"] = lambda: thresholds(problem, objective)
    candidates["blind"] = lambda: blind(problem, objective, seed=seed)
    if use_group and objective.metric.needs_labels:
        candidates["repair"] = lambda: repair(problem, objective, seed=seed)
    candidates["finetune"] = lambda: finetune(problem, objective, seed=seed, steps=steps)
    compared_by = objective.with_default_k(
        K_BY_PROBABILITIES if objective.metric.needs_labels else K_BY_LABELS
    )

    won, best, highest = "", Result(Policy.shared(0.5)), -math.inf
    tried, left_out = list[str](), list[str]()
    for name, run in candidates.items():
        try:
            result = run()
        except FairfixError as error:
            left_out.append(f"{name} was not tried: {str(error).removesuffix('.')}")
            continue
        utility = _utility(problem, compared_by, result)
        tried.append(f"{name} {utility:.3f}")
        if not won or utility > highest:
            won, best, highest = name, result, utility
    by = f"the highest objective at k = {compared_by.factor:.4g}"
    first = f"auto chose {won}, which has {by}: {', '.join(tried)}"
    own = [note for note in best.notes if note != BETTER_RETUNED]  # identity was compared here
    return replace(best, notes=(first, *left_out, *own))


def _utility(problem: Problem, objective: Objective, result: Result) -> float:
    """Return the objective of a result, as it was counted if it was chosen with the same k."""
    if result.utility is not None and result.k == objective.factor:
        return result.utility
    scores = problem.scores if result.validation_scores is None else result.validation_scores
    return step_of_policy(0, problem, objective, result.policy, scores).utility

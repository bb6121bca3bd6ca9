"""The retuned threshold: the unmodified network at its best single threshold.

No weight changes. The threshold is the exact optimum of the objective over all thresholds. Every
method is compared with this one.

When not to use it: to reduce a gap that no single threshold can reduce at acceptable performance.

Changes: threshold.
Group at prediction: no.
Gradients: no.
Training rows: no.
Cost: one sort.
Paper: none.
"""

from __future__ import annotations

from fairfix.data.problem import Problem
from fairfix.methods._result import Result
from fairfix.methods._search import CandidateSearch
from fairfix.metrics.objective import Objective


def identity(problem: Problem, objective: Objective, *, seed: int = 0) -> Result:
    """Choose the best single threshold by exact search and leave the weights as they are.

    Args:
        problem: the validation rows.
        objective: what is optimized.
        seed: unused.
    """
    return CandidateSearch(problem, objective).result()

"""The untouched network at its best threshold: the baseline every method must beat.

Changes: cut.
Group at prediction: no.
Gradients: no.
Cost: one sort.
Paper: none.
"""

from __future__ import annotations

from fairfix.data.problem import Problem
from fairfix.methods._result import Result
from fairfix.methods._search import Search
from fairfix.metrics.objective import Objective


def identity(problem: Problem, objective: Objective, *, seed: int = 0) -> Result:
    """Leave the weights as they are and choose the best threshold.

    One threshold for everybody, by exact search; the decision needs no group.
    """
    return Search(problem, objective).result()

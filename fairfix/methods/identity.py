"""The untouched network at its best threshold: the baseline every method must beat.

Changes: cut.
Group at prediction: no.
Gradients: no.
Cost: one sort.
Paper: none.
"""

from __future__ import annotations

from fairfix.objectives import Objective
from fairfix.problem import Problem
from fairfix.result import Result
from fairfix.search import Search


def identity(problem: Problem, objective: Objective, *, seed: int = 0) -> Result:
    """Leave the weights as they are and choose the best threshold.

    One threshold for everybody, by exact search; the decision needs no group.
    """
    return Search(problem, objective).result()

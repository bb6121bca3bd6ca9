"""Demands that any constant decision meets, so that a pass shows nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fairfix.data.problem import Problem
from fairfix.metrics.performance import PERFORMANCES
from fairfix.workflows.gate.demands import Demand, Kind, Severity


def met_by_constants(demand: Demand, problem: Problem) -> bool:
    """Whether a floor of performance is met by deciding all rows alike, either way."""
    if demand.kind is not Kind.FLOOR or demand.key not in PERFORMANCES:
        return False
    measure = PERFORMANCES[demand.key]
    everybody = torch.ones(len(problem), dtype=torch.bool, device=problem.scores.device)
    decided = (everybody, ~everybody)
    return all(float(measure(problem.counts(each))) >= demand.limit for each in decided)


def excludes_constants(asked: Sequence[Demand], problem: Problem) -> bool:
    """Whether a blocking floor of performance is missed by some constant decision."""
    return any(
        demand.kind is Kind.FLOOR
        and demand.key in PERFORMANCES
        and demand.severity is Severity.ERROR
        and not met_by_constants(demand, problem)
        for demand in asked
    )

"""The goal of a study's cells: an objective as plain data, and the value methods are ranked by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairfix.bench.limits_json import limits_from_json, limits_to_json
from fairfix.metrics.fairness_metrics import goal as goal_metric
from fairfix.metrics.objective import DEFAULT_K, Objective
from fairfix.metrics.performance import GOALS


def goal_to_json(objective: Objective) -> dict[str, Any]:
    """Return an objective as the ``goal`` object of a row, with the default of k written out."""
    goal = {
        "metric": objective.metric.key,
        "budget": objective.budget,
        "margin": objective.margin,
        "performance": objective.performance.key,
        "kind": objective.kind,
        "lambda": objective.lambda_,
        "k": objective.factor,
        "risk": objective.risk,
    }
    if objective.limits:
        goal["limits"] = limits_to_json(objective.limits)
    return goal


def objective_from_json(goal: Mapping[str, Any]) -> Objective:
    """Return the objective of the ``goal`` object of a row."""
    values = dict(goal)
    k = values.pop("k")
    return Objective(
        k=None if k == DEFAULT_K else k,
        metric=goal_metric(values.pop("metric")),
        performance=GOALS[values.pop("performance")],
        lambda_=values.pop("lambda"),
        limits=limits_from_json(values.pop("limits", ())),
        **values,
    )


@dataclass(frozen=True)
class Goal:
    """The goal shared by the cells of one table, and the value that ranks their methods.

    The value is the performance if the budget and all limits held, else 0. For a trade-off it is
    lambda * gap size + (1 - lambda) * (1 - performance), and smaller is better.
    """

    metric: str
    performance_key: str
    kind: str
    budget: float
    margin: float | None
    lambda_: float
    k: float
    risk: float | str | None
    limits: str = ""

    @classmethod
    def from_json(cls, goal: Mapping[str, Any]) -> Goal:
        """Return the goal of the ``goal`` object of a row."""
        return cls(
            metric=goal["metric"],
            performance_key=goal["performance"],
            kind=goal["kind"],
            budget=goal["budget"],
            margin=goal["margin"],
            lambda_=goal["lambda"],
            k=goal["k"],
            risk=goal.get("risk"),
            limits=", ".join(each.name for each in limits_from_json(goal.get("limits", ()))),
        )

    @property
    def smaller_is_better(self) -> bool:
        return self.kind == "tradeoff"

    @property
    def value_name(self) -> str:
        """Name of the ranking value."""
        return "trade-off" if self.smaller_is_better else "objective"

    def value(self, gap_size: float, performance: float, *, limits_held: bool = True) -> float:
        """Return the ranking value of one split.

        An undefined figure, or a limit that does not hold, gives the worst value.
        """
        undefined = math.isnan(gap_size) or math.isnan(performance) or not limits_held
        if self.smaller_is_better:
            if undefined:
                return 1.0
            return self.lambda_ * gap_size + (1 - self.lambda_) * (1 - performance)
        return performance if not undefined and gap_size < self.budget else 0.0

"""Check that rows define what a method optimizes."""

from __future__ import annotations

import torch

from fairfix.data.problem import Problem
from fairfix.errors import TableError
from fairfix.metrics.objective import Objective
from fairfix.thresholds.score_figures import with_score_figures


def check_defined(problem: Problem, objective: Objective, rows: str) -> None:
    """Check that gap and performance are defined on these rows, whatever is decided.

    Raises:
        TableError: if a group lacks rows that the metric needs, or a label has no row. Rows of
            weight 0 do not count.
    """
    metric = objective.metric
    row = "row" if problem.weights is None else "row of positive weight"
    occurs = problem.cells.sum(0).reshape(problem.n_groups, 2) > 0
    labels = "unfavorable", "favorable"
    for label, has in zip(labels, occurs.any(0).tolist(), strict=True):
        if not has:
            raise TableError(f"The {rows} rows have no {row} with {label} label. Add such rows.")
    everybody = torch.ones_like(problem.labels, dtype=torch.bool)
    counts = with_score_figures(problem.counts(everybody), problem, problem.scores, objective)
    if not metric(counts).size.isnan():
        return
    fewest = int(occurs.sum(1).argmin())
    lacking = [label for label, has in zip(labels, occurs[fewest].tolist(), strict=True) if not has]
    with_label = f" with {lacking[0]} label" if len(lacking) == 1 else ""
    raise TableError(
        f"The {metric.title} is undefined on the {rows} rows: group "
        f"{problem.group_names[fewest]!r} has no {row}{with_label}. Add such rows or choose "
        "another metric."
    )

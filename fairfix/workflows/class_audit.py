"""Each class of a network against all others, and the decisions by the largest output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fairfix.data.problem import Problem
from fairfix.data.table import equal_values
from fairfix.metrics.objective import Objective
from fairfix.models.scorer import Output
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.evaluation import Evaluation, evaluate
from fairfix.workflows.case import Case
from fairfix.workflows.evidence import Intervals, intervals


@dataclass(frozen=True)
class MeasuredDecisions:
    """Figures of some decisions by the first group column, with their intervals."""

    evaluation: Evaluation
    intervals: Intervals


@dataclass(frozen=True)
class ClassAudit:
    """Decisions by the largest output of a network with several classes.

    Attributes:
        favorable: positive where the class of the largest output is a favorable one.
        one_against_rest: by class, positive where its output is the largest; the label is whether
            the row is of that class, and the score its probability.
    """

    favorable: MeasuredDecisions
    one_against_rest: Mapping[str, MeasuredDecisions]


@torch.no_grad()
def audit_classes(
    case: Case, objective: Objective, confidence: ConfidenceLevel
) -> ClassAudit | None:
    """Measure the decisions by the largest output; None without classes."""
    scorer, inputs, classes = case.problem.scorer, case.problem.inputs, case.classes
    if scorer is None or inputs is None or classes is None:
        return None
    outputs = scorer.class_outputs(inputs)
    probabilities = outputs if scorer.output is Output.PROB else outputs.softmax(1)
    largest = outputs.argmax(1)
    places = torch.tensor(classes.favorable, device=largest.device)

    def measured(problem: Problem, decisions: Tensor) -> MeasuredDecisions:
        unknown = (math.nan,) * problem.n_groups
        return MeasuredDecisions(
            evaluate(problem, problem.scores, decisions, objective, unknown),
            intervals(
                problem, decisions, case.table.groups[0], objective.metric, confidence=confidence
            ),
        )

    def of_class(place: int, name: str) -> MeasuredDecisions:
        labels = _labels(case, name)
        known = labels is not None and 0 < int(labels.sum()) < len(labels)
        problem = replace(
            case.problem,
            scores=probabilities[:, place].clamp(0, 1).to(case.problem.scores.dtype),
            labels=labels if labels is not None and known else torch.zeros_like(largest),
            labeled=known,
            probabilities=None,
        )
        return measured(problem, largest == place)

    return ClassAudit(
        measured(case.problem, torch.isin(largest, places)),
        {name: of_class(place, name) for place, name in enumerate(classes.names)},
    )


def _labels(case: Case, name: str) -> Tensor | None:
    """Return whether each row is of a class, (N,) int64; None without labels."""
    codes = case.table.label_codes
    if codes is None:
        return None
    values = case.table.label_values
    code = next((i for i, value in enumerate(values) if equal_values(value, name)), -1)
    return torch.from_numpy((codes == code).astype("int64")).to(case.problem.labels.device)

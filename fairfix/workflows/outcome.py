"""The result of a debiasing run as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from fairfix.methods._result import Result
from fairfix.metrics.objective import Objective
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.stats.evaluation import Evaluation
from fairfix.thresholds.recalibration import Recalibration
from fairfix.thresholds.rule import DecisionRule
from fairfix.thresholds.tradeoff_curve import TradeoffPoint
from fairfix.workflows.case import Case
from fairfix.workflows.evidence import DecidedRows, Evidence, collect_evidence
from fairfix.workflows.gate.demands import Demand
from fairfix.workflows.goals import Goals
from fairfix.workflows.notebook_forms import NotebookForms


@dataclass(frozen=True)
class Comparison:
    """The same rows under three rules.

    Attributes:
        unmodified: the network as it came in, at the threshold in use today.
        retuned: the unmodified network at its best single threshold.
        debiased: the result.
    """

    unmodified: Evaluation
    retuned: Evaluation
    debiased: Evaluation


@dataclass(frozen=True, repr=False)
class Outcome(NotebookForms):
    """What ``fairfix.debias`` returns.

    Attributes:
        case: model and table that went in; ``test_case`` the test table, None after a holdout.
        method, options: the method and all of its options.
        objective, seed, holdout_share: the settings of the run; the share is None with a test
            table.
        rule: the decision rule to deploy with the weights.
        state: the network's new state as the checkpoint will hold it; None if unchanged.
        recalibration: whether the scores of changed weights were recalibrated; None if it was not
            asked for or the weights are unchanged.
        result: what the method returned; ``retuned`` the same for the unmodified network at its
            best single threshold.
        validation: figures on the rows that the method was tuned on.
        test: figures on rows that the method never saw.
        validation_rows, test_rows: the rows themselves, in table order.
        confidence: of the verdict and the intervals on the test rows.
        tradeoff_curve: other thresholds on the result's scores, on the validation rows.
        warnings: short sentences without a full stop.
        promises: further budgets, floors and ceilings that are tested on the test rows.
        goals: all goals of the search at the result, on the validation rows; None without limits
            besides the budget.
        subgroups: whether to search for subgroups.
        training_use: what the training rows of the case were used for; None without any.
    """

    case: Case
    test_case: Case | None
    method: str
    options: Mapping[str, Any]
    objective: Objective
    seed: int
    holdout_share: float | None
    rule: DecisionRule
    state: dict[str, Tensor] | None
    recalibration: Recalibration | None
    result: Result
    retuned: Result
    validation: Comparison
    test: Comparison
    validation_rows: DecidedRows
    test_rows: DecidedRows
    confidence: ConfidenceLevel
    tradeoff_curve: tuple[TradeoffPoint, ...]
    warnings: tuple[str, ...]
    promises: tuple[Demand, ...] = ()
    goals: Goals | None = None
    subgroups: bool = True
    training_use: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of the method and of the recalibration, without a full stop."""
        recalibrated = () if self.recalibration is None else (self.recalibration.sentence,)
        return (*self.result.notes, *recalibrated)

    @property
    def standard_errors(self) -> float | None:
        """The factor on standard errors that the rule was chosen by; None without a probability."""
        objective = self.result.chosen_by(self.objective)
        return objective.standard_errors if objective.uses_probability else None

    def __repr__(self) -> str:
        after, metric = self.test.debiased, self.objective.metric.key
        figures = f"{metric} {after.gaps[metric]:.3f} on {after.rows:,} test rows"
        return f"<Outcome of {self.method}: {figures}>"

    @cached_property
    def evidence(self) -> Evidence:
        """Intervals, verdict, power and changes on the test rows; computed at first use."""
        return collect_evidence(
            self.case,
            self.objective,
            validation=self.validation_rows,
            test=self.test_rows,
            seed=self.seed,
            confidence=self.confidence,
            promises=self.promises,
            subgroups=self.subgroups,
        )

"""The public function that debiases a network on several labels at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fairfix.data.table_source import Data
from fairfix.errors import UsageError
from fairfix.methods._several_labels import joint_method
from fairfix.stats.confidence import ConfidenceLevel
from fairfix.workflows import several_labels
from fairfix.workflows.api import called_objective
from fairfix.workflows.api_outcome import Outcome
from fairfix.workflows.case import Case
from fairfix.workflows.documents import report_document
from fairfix.workflows.library_messages import in_library_terms
from fairfix.workflows.save_labels import LabelFiles, save_labels


@dataclass(frozen=True, repr=False)
class LabelOutcomes(Mapping[str, Outcome]):
    """What ``fairfix.debias_labels`` returns: the outcome of each label, by its name."""

    outcomes: Mapping[str, Outcome]

    def __getitem__(self, label: str) -> Outcome:
        return self.outcomes[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __repr__(self) -> str:
        method = next(iter(self.values())).method
        return f"<LabelOutcomes of {method}: {', '.join(self)}>"

    def to_dict(self) -> dict[str, Any]:
        """Return gap, performance and verdict of each label on test rows, mean and worst."""
        return several_labels.labels_document(self)

    @in_library_terms
    def save(
        self,
        output: str | Path | None = None,
        *,
        force: bool = False,
        allow_trivial: bool = False,
    ) -> LabelFiles:
        """Write one checkpoint, and a rule and reports for each label. See ``fairfix.save``."""
        reports = {label: report_document(outcome) for label, outcome in self.items()}
        return save_labels(self, output, force=force, allow_trivial=allow_trivial, reports=reports)


@in_library_terms
def debias_labels(
    case: Case,
    method: str,
    *,
    metric: str = "spd",
    budget: float = 0.05,
    margin: float | Literal["auto"] = "auto",
    performance: str = "balanced_accuracy",
    objective: Literal["constrained", "tradeoff"] = "constrained",
    lambda_: float | None = None,
    risk: float | Literal["low", "medium", "high"] | None = None,
    k: float | None = None,
    test: Case | Data | None = None,
    holdout: float = 0.3,
    seed: int = 0,
    confidence: float = 0.95,
    strict: bool = False,
    subgroups: bool = True,
    **options: Any,
) -> LabelOutcomes:
    """Run a method on all labels of a network: shared weights, a threshold for each label.

    The objective is the mean of the labels' utilities. Scores are not recalibrated.

    Args:
        case: network and validation rows, from ``load`` with the list of the label columns and any
            of them as ``target``; they are not changed.
        method: "finetune", "gda", "identity", "perturb", "prune" or "thresholds".
        others: as ``debias`` takes them.

    Raises:
        FairfixError: nothing is written.
    """
    joint_method(method)
    if not case.columns.targets:
        raise UsageError(
            f"{case.table.name} was read for one label; load it with label= as a list of the "
            "label columns, in the order of the outputs."
        )
    found = several_labels.debias_labels(
        case,
        method,
        called_objective(metric, budget, margin, performance, objective, lambda_, risk, k),
        test=case.companion(test) if test is not None and not isinstance(test, Case) else test,
        holdout_share=holdout,
        seed=seed,
        confidence=ConfidenceLevel(confidence, strict),
        subgroups=subgroups,
        options=options,
    )
    return LabelOutcomes({label: Outcome.of(each) for label, each in found.items()})

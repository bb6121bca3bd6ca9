"""Rates of one group, each defined by the confusion cells in its numerator and denominator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from fairfix.metrics.clusters import Cell
from fairfix.metrics.counts import Counts

T = TypeVar("T", Tensor, int)

_SELECTED = {"tp", "fp"}
_ROWS = {
    frozenset({"tp", "fp", "fn", "tn"}): "rows",
    frozenset({"tp", "fn"}): "rows with a favorable label",
    frozenset({"fp", "tn"}): "rows with an unfavorable label",
    frozenset({"tp", "fp"}): "rows with a positive decision",
    frozenset({"fn", "tn"}): "rows with a negative decision",
}


@dataclass(frozen=True)
class Share:
    """A share of rows by group: ``hits`` of ``trials``, each (..., G); no trials give NaN."""

    hits: Tensor
    trials: Tensor
    design_effect: Tensor | float = 1.0

    @property
    def value(self) -> Tensor:
        return self.hits / self.trials

    @property
    def variance(self) -> Tensor:
        """Sampling variance, with (hits + 1) / (trials + 2) for the share so that it is never 0."""
        share = (self.hits + 1) / (self.trials + 2)
        return self.design_effect * share * (1 - share) / self.trials

    @property
    def log_variance(self) -> Tensor:
        """Sampling variance of the logarithm of the share (delta method, smoothed alike)."""
        share = (self.hits + 1) / (self.trials + 2)
        return self.design_effect * (1 - share) / (share * self.trials)


@dataclass(frozen=True)
class Rate:
    """A rate of one group; called on counts (..., G), it gives the share (..., G).

    Attributes:
        key: identifier, as in reports.
        title: name in words.
        hits: confusion cells in the numerator, among ``trials``.
        trials: confusion cells in the denominator.

    Raises:
        ValueError: if a cell is unknown, or a hit is not among the trials.
    """

    key: str
    title: str
    hits: tuple[Cell, ...]
    trials: tuple[Cell, ...]

    def __post_init__(self) -> None:
        if not self.hits or not set(self.hits) < set(self.trials) <= {"tp", "fp", "fn", "tn"}:
            raise ValueError(
                f"The rate {self.key!r} needs hits among its trials, from tp, fp, fn and tn."
            )

    def __call__(self, counts: Counts) -> Share:
        hits, trials = (
            self.total({cell: getattr(counts, cell) for cell in cells}, cells)
            for cells in (self.hits, self.trials)
        )
        if self.needs_labels and not counts.labeled:
            return Share(hits * 0, trials * 0, counts.design_effect)
        return Share(hits, trials, counts.effect_on(self.hits, self.trials))

    @staticmethod
    def total(sides: dict[Cell, T], cells: Sequence[Cell]) -> T:
        """Sum the sides of these cells, in order."""
        total = sides[cells[0]]
        for cell in cells[1:]:
            total = total + sides[cell]
        return total

    @property
    def rows(self) -> str:
        """The rows behind the rate, in words."""
        return _ROWS.get(frozenset(self.trials), f"rows that are {' or '.join(self.trials)}")

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels whose rows are all among the trials, whatever is decided."""
        pairs = {1: {"tp", "fn"}, 0: {"fp", "tn"}}
        return tuple(label for label, pair in pairs.items() if pair <= set(self.trials))

    @property
    def needs_labels(self) -> bool:
        """Whether it depends on labels, and not only on decisions."""
        return len(self.trials) < 4 or set(self.hits) not in (_SELECTED, {"fn", "tn"})

    @property
    def fixed_trials(self) -> bool:
        """Whether the denominator does not depend on the decisions."""
        return len(self.trials) == 2 * len(self.labels)

    @property
    def direction(self) -> int:
        """1 if the rate can only grow with more positive decisions, -1 if only fall, else 0."""
        if not self.fixed_trials:
            return 0
        positive = [cell in _SELECTED for cell in self.hits]
        if len(self.hits) != len(self.labels):
            return 0
        return 1 if all(positive) else -1 if not any(positive) else 0


selection_rate = Rate("selection_rate", "selection rate", ("tp", "fp"), ("tp", "fp", "fn", "tn"))
true_positive_rate = Rate("tpr", "true positive rate", ("tp",), ("tp", "fn"))
false_positive_rate = Rate("fpr", "false positive rate", ("fp",), ("fp", "tn"))
accuracy_rate = Rate("accuracy", "accuracy", ("tp", "tn"), ("tp", "fp", "fn", "tn"))
false_negative_rate = Rate("fnr", "false negative rate", ("fn",), ("tp", "fn"))
positive_predictive_value = Rate("ppv", "positive predictive value", ("tp",), ("tp", "fp"))
false_discovery_rate = Rate("fdr", "false discovery rate", ("fp",), ("tp", "fp"))
false_omission_rate = Rate("for", "false omission rate", ("fn",), ("fn", "tn"))

jaccard_index = Rate("jaccard", "Jaccard index", ("tp",), ("tp", "fp", "fn"))

REPORTED = (selection_rate, true_positive_rate, false_positive_rate, accuracy_rate)
"""Rates that every evaluation reports by group, whatever metrics are registered."""

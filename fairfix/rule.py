"""The decision rule: plain data that any program can apply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fairfix.errors import TableError, UsageError

VERSION = 1


@dataclass(frozen=True)
class DecisionRule:
    """Positive where score > threshold.

    Attributes:
        threshold: one cut in [-1, 1] for everybody, or
        thresholds: one for each group by name; then the rule needs the group at prediction.
        group_column: where the groups of ``thresholds`` are read from.
        positive_label: the favourable label value, as written in the table.
        output_label: the label value whose probability the network gives.
        output: what the network gives: "prob", "logit", "two probabilities", "two logits".
        metric, budget: what the rule was chosen for, None when it was not.
        weights_sha256: of the network it belongs to, None when it belongs to scores.

    -1 makes every row positive, 1 none.
    """

    threshold: float | None = 0.5
    thresholds: Mapping[str, float] | None = None
    group_column: str | None = None
    positive_label: str = "1"
    output_label: str = "1"
    output: str = "prob"
    metric: str | None = None
    budget: float | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.thresholds is None):
            raise UsageError("A rule has either one threshold or one for each group.")
        for cut in self.cuts:
            if not (math.isfinite(cut) and -1 <= cut <= 1):
                raise UsageError(f"A threshold lies in [-1, 1], not {cut}.")

    @property
    def cuts(self) -> tuple[float, ...]:
        if self.thresholds is not None:
            return tuple(self.thresholds.values())
        assert self.threshold is not None
        return (self.threshold,)

    @property
    def needs_group(self) -> bool:
        return self.thresholds is not None

    def decide(
        self, scores: Tensor, groups: Tensor | None = None, group_names: Sequence[str] = ()
    ) -> Tensor:
        """Decisions (N,) bool for scores (N,) in [0, 1].

        Raises:
            TableError: when the rule needs groups and gets none, or one it has no threshold for.
        """
        if self.thresholds is None:
            return scores > self.cuts[0]
        if groups is None:
            raise TableError(
                f"This rule has one threshold for each group and needs the column "
                f"{self.group_column!r}."
            )
        unknown = [name for name in group_names if name not in self.thresholds]
        if unknown:
            raise TableError(
                f"The rule has no threshold for group {unknown[0]!r}; it knows "
                f"{', '.join(map(repr, self.thresholds))}."
            )
        cuts = torch.tensor([self.thresholds[name] for name in group_names])
        return scores > cuts.to(scores)[groups]

    def to_json(self) -> dict[str, Any]:
        """The rule as it is written to disk."""
        where: dict[str, Any] = (
            {"threshold": self.threshold}
            if self.thresholds is None
            else {"thresholds": dict(self.thresholds)}
        )
        complement = self.positive_label != self.output_label
        return {
            "version": VERSION,
            "operator": ">",
            "score": "1 - probability" if complement else "probability",
            **where,
            "needs_group": self.needs_group,
            "group_column": self.group_column,
            "positive_label": self.positive_label,
            "output_label": self.output_label,
            "output": self.output,
            "metric": self.metric,
            "budget": self.budget,
            "weights_sha256": self.weights_sha256,
        }

    @classmethod
    def from_json(cls, data: object, source: str = "rule") -> DecisionRule:
        """The rule that ``to_json`` wrote.

        Raises:
            UsageError: naming ``source`` and what is wrong with it.
        """
        if not isinstance(data, dict):
            raise UsageError(f"{source}: a decision rule is a JSON object.")
        if data.get("version") != VERSION or data.get("operator") != ">":
            raise UsageError(
                f"{source}: this fairfix reads rules of version {VERSION} with operator '>', not "
                f"version {data.get('version')!r} with {data.get('operator')!r}."
            )
        thresholds = data.get("thresholds")
        try:
            return cls(
                threshold=None if thresholds is not None else _number(data["threshold"]),
                thresholds=thresholds and {str(k): _number(v) for k, v in thresholds.items()},
                group_column=data.get("group_column"),
                positive_label=str(data.get("positive_label", "1")),
                output_label=str(data.get("output_label", "1")),
                output=str(data.get("output", "prob")),
                metric=data.get("metric"),
                budget=data.get("budget"),
                weights_sha256=data.get("weights_sha256"),
            )
        except KeyError as missing:
            raise UsageError(f"{source}: the rule has no {missing}.") from None
        except (AttributeError, TypeError, UsageError) as error:
            raise UsageError(f"{source}: not a decision rule: {error}") from None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"a threshold is a number, not {value!r}")
    return float(value)

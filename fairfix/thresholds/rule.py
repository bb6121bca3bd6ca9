"""The decision rule: plain data that any program can apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from fairfix.errors import TableError, UsageError
from fairfix.thresholds.policy import Policy, RandomizedThresholds, row_draws, row_ids

VERSION = 1


@dataclass(frozen=True)
class DecisionRule:
    """Positive where score > threshold.

    Attributes:
        threshold: one cut in [-1, 1] for everybody, or
        thresholds: one for each group by name, or
        randomized_thresholds: for each group by name (threshold, probability) pairs, thresholds
            falling: the first threshold below the score says with which probability the decision
            is positive. Which rows win is fixed by a hash of their id with ``salt``. The key in
            JSON is ``lottery``.
        group_column: where the groups are read from.
        id_column: where the ids of a lottery are read from; None = a row's features stand for it.
        positive_label: the favorable label value, as written in the table.
        output_label: the label value whose probability the network gives.
        output: what the network gives: "prob", "logit", "two probabilities", "two logits".
        metric, budget: what the rule was chosen for, None when it was not.
        weights_sha256: of the network it belongs to, None when it belongs to scores.

    -1 makes every row positive, 1 none.
    """

    threshold: float | None = None
    thresholds: Mapping[str, float] | None = None
    randomized_thresholds: Mapping[str, RandomizedThresholds] | None = None
    salt: str | None = None
    group_column: str | None = None
    id_column: str | None = None
    positive_label: str = "1"
    output_label: str = "1"
    output: str = "prob"
    metric: str | None = None
    budget: float | None = None
    weights_sha256: str | None = None

    def __post_init__(self) -> None:
        given = [
            part
            for part in (self.threshold, self.thresholds, self.randomized_thresholds)
            if part is not None
        ]
        if len(given) != 1 or given[0] == {}:
            raise UsageError(
                "A rule has one threshold, one for each group, or a lottery for each group."
            )
        self.policy(tuple(self.group_names))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups the rule knows; none when it does not need them."""
        return tuple(self.thresholds or self.randomized_thresholds or ())

    @property
    def needs_group(self) -> bool:
        return self.threshold is None

    @property
    def randomized(self) -> bool:
        return self.randomized_thresholds is not None

    def policy(self, group_names: Sequence[str] = ()) -> Policy:
        """The rule for groups in this order.

        Raises:
            TableError: for a group it does not know.
        """
        if self.threshold is not None:
            return Policy.shared(self.threshold)
        for name in group_names:
            if name not in self.group_names:
                raise TableError(
                    f"The rule knows no group {name!r}; it knows "
                    f"{', '.join(map(repr, self.group_names))}."
                )
        if self.thresholds is not None:
            return Policy.by_group(self.thresholds[name] for name in group_names)
        assert self.randomized_thresholds is not None
        return Policy(tuple(self.randomized_thresholds[name] for name in group_names))

    def decide(
        self,
        scores: Tensor,
        groups: Tensor | None = None,
        group_names: Sequence[str] = (),
        ids: np.ndarray | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Decisions (N,) bool for scores (N,) in [0, 1].

        A lottery tells rows apart by ``ids`` (N,), or by ``features`` (N, D) where it was made so.

        Raises:
            TableError: when the rule needs groups or ids and gets none, or a group it does not
                know.
        """
        if not self.needs_group:
            return self.policy().decide(scores, scores)
        if groups is None:
            raise TableError(
                f"This rule decides by group and needs the column {self.group_column!r}."
            )
        lots = None
        if self.randomized:
            if ids is None and self.id_column is not None:
                raise TableError(
                    f"This rule draws lots by the column {self.id_column!r}; name it with --id."
                )
            known = ids if self.id_column is not None else None
            lots = row_draws(row_ids(known, features), self.salt or "").to(scores.device)
        return self.policy(group_names).decide(scores, groups, lots)

    def to_json(self) -> dict[str, Any]:
        """The rule as it is written to disk."""
        where: dict[str, Any] = {"threshold": self.threshold}
        if self.thresholds is not None:
            where = {"thresholds": dict(self.thresholds)}
        if self.randomized_thresholds is not None:
            steps = {
                name: [list(pair) for pair in pairs]
                for name, pairs in self.randomized_thresholds.items()
            }
            where = {"lottery": steps, "salt": self.salt, "id_column": self.id_column}
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
        try:
            return cls(
                threshold=_present(data.get("threshold"), _number),
                thresholds=_present(data.get("thresholds"), _numbers),
                randomized_thresholds=_present(data.get("lottery"), _randomized),
                salt=_present(data.get("salt"), str),
                group_column=data.get("group_column"),
                id_column=data.get("id_column"),
                positive_label=str(data.get("positive_label", "1")),
                output_label=str(data.get("output_label", "1")),
                output=str(data.get("output", "prob")),
                metric=data.get("metric"),
                budget=data.get("budget"),
                weights_sha256=data.get("weights_sha256"),
            )
        except (AttributeError, TypeError, ValueError, UsageError) as error:
            said = str(error).removesuffix(".")
            raise UsageError(f"{source}: not a decision rule: {said}.") from None


T = TypeVar("T")


def _present(value: object, read: Callable[[Any], T]) -> T | None:
    return None if value is None else read(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"a threshold is a number, not {value!r}")
    return float(value)


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {str(name): _number(value) for name, value in values.items()}


def _randomized(groups: Mapping[str, Any]) -> dict[str, RandomizedThresholds]:
    return {
        str(name): tuple((_number(threshold), _number(chance)) for threshold, chance in steps)
        for name, steps in groups.items()
    }

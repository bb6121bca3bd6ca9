"""How the decisions of a rule use the protected attribute."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fairfix.data.protected_inputs import revealing_inputs
from fairfix.thresholds.rule import DecisionRule
from fairfix.workflows.case import Case


class Kind(StrEnum):
    """Whether decisions need the group column, or read the group from the inputs."""

    AWARE = "group-aware"
    IN_INPUTS = "group-in-inputs"
    BLIND = "group-blind"
    UNKNOWN = "not determined"


@dataclass(frozen=True)
class GroupUse:
    """How decisions use the protected attribute.

    Attributes:
        kind: group-aware if decisions need the group column; else group-in-inputs if inputs of the
            network determine the group on every row, and group-blind if none do. Not determined for
            scores alone and for inputs that are not columns of numbers.
        inputs: names of inputs that determine the group.
        revealing: names of further inputs that all but determine it (AUC of at least .99).
    """

    kind: Kind
    inputs: tuple[str, ...] = ()
    revealing: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The statement in words, without a full stop."""
        match self.kind:
            case Kind.AWARE:
                return "group-aware: needs the group"
            case Kind.IN_INPUTS:
                verb = "determines" if len(self.inputs) == 1 else "determine"
                read = _listed(self.inputs)
                return f"group-in-inputs: the network reads {read}, which {verb} the group"
            case Kind.BLIND:
                return "group-blind: no input holds the group"
        return "it is not determined whether the network reads the group"

    @property
    def warning(self) -> str:
        """A warning of inputs that all but determine the group; empty without any."""
        if not self.revealing:
            return ""
        verb = "separates" if len(self.revealing) == 1 else "separate"
        return f"{_listed(self.revealing)} {verb} the groups almost completely (AUC >= 0.99)"


_SHOWN = 3


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more inputs"


def group_use(case: Case, rule: DecisionRule) -> GroupUse:
    """Return how a rule uses the first group column of a case.

    Args:
        case: all rows of the tuned table.
        rule: the rule to deploy.
    """
    problem = case.problem
    inputs = _names(case, problem.protected_inputs)
    rows = problem.grouped
    found = revealing_inputs(rows.features, rows.groups, rows.n_groups)
    revealing = tuple(name for name in _names(case, found) if name not in inputs)
    if rule.needs_group:
        return GroupUse(Kind.AWARE, inputs)
    if problem.features is None:
        return GroupUse(Kind.UNKNOWN)
    return GroupUse(Kind.IN_INPUTS if inputs else Kind.BLIND, inputs, revealing)


def _names(case: Case, columns: tuple[int, ...]) -> tuple[str, ...]:
    names = case.table.feature_names if case.spec is None else case.spec.names
    return tuple(names[column] if names else f"input {column}" for column in columns)

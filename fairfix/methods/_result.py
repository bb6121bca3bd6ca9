"""What a method gives back. Plain data; it never judges itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from fairfix.thresholds.policy import Policy


@dataclass(frozen=True)
class Step:
    """One point of a method's path, as seen on its fitting rows."""

    index: int
    gap: float
    performance: float
    utility: float
    threshold: float


@dataclass(frozen=True)
class Result:
    """The outcome of a method on its fitting rows.

    Attributes:
        policy: how scores become decisions.
        state: the changed network's state, with the same keys and shapes; None = untouched.
        trajectory: every candidate in the order it was met; the first is the untouched network.
        chosen: index into ``trajectory``.
        notes: sentences the user must read.
    """

    policy: Policy
    state: dict[str, Tensor] | None = None
    trajectory: tuple[Step, ...] = ()
    chosen: int = 0
    notes: tuple[str, ...] = field(default=())

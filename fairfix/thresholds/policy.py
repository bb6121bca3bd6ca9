"""From scores to decisions: a cut for everybody, one for each group, or a lottery between cuts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import UsageError

RandomizedThresholds = tuple[tuple[float, float], ...]
"""(threshold, probability) pairs, thresholds falling: the first threshold below the score says with
which probability the decision is positive; below all of them it never is."""


@dataclass(frozen=True)
class Policy:
    """How scores become decisions.

    Attributes:
        steps: one ``RandomizedThresholds`` for everybody, or one for each of the G groups in
            their order. A plain threshold t is ((t, 1.0),).

    Raises:
        UsageError: for a threshold outside [-1, 1], a probability outside [0, 1], or thresholds
            that do not fall.
    """

    steps: tuple[RandomizedThresholds, ...]

    def __post_init__(self) -> None:
        for steps in self.steps:
            thresholds = [threshold for threshold, _ in steps]
            for threshold, probability in steps:
                if not (math.isfinite(threshold) and -1 <= threshold <= 1):
                    raise UsageError(f"A threshold lies in [-1, 1], not {threshold}.")
                if not 0 <= probability <= 1:
                    raise UsageError(f"A probability lies in [0, 1], not {probability}.")
            if not steps or any(a <= b for a, b in pairwise(thresholds)):
                raise UsageError("The thresholds of a lottery fall from one to the next.")

    @classmethod
    def shared(cls, threshold: float) -> Policy:
        """One threshold for everybody."""
        return cls((((threshold, 1.0),),))

    @classmethod
    def by_group(cls, thresholds: Iterable[float]) -> Policy:
        """One cut for each group."""
        return cls(tuple(((threshold, 1.0),) for threshold in thresholds))

    @property
    def needs_group(self) -> bool:
        return len(self.steps) > 1

    @property
    def randomized(self) -> bool:
        """Whether it is more than a cut: several, or one that is passed by chance."""
        return any(len(steps) > 1 or steps[0][1] != 1 for steps in self.steps)

    def thresholds(self, n_groups: int) -> tuple[float, ...]:
        """The cut of each group; NaN where a lottery has several."""
        cuts = tuple(s[0][0] if len(s) == 1 and s[0][1] == 1 else math.nan for s in self.steps)
        return cuts if self.needs_group else cuts * n_groups

    def probability(self, scores: Tensor, groups: Tensor) -> Tensor:
        """P(decision = 1) of each row, (N,) float64."""
        chance = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
        for group, steps in enumerate(self.steps):
            here = groups == group if self.needs_group else torch.ones_like(scores).bool()
            for threshold, probability in reversed(steps):
                chance[here & (scores > threshold)] = probability
        return chance

    def decide(self, scores: Tensor, groups: Tensor, draws: Tensor | None = None) -> Tensor:
        """Decisions (N,) bool; a lottery needs ``draws`` (N,) in [0, 1)."""
        chance = self.probability(scores, groups)
        if draws is None:
            assert not self.randomized
            return chance > 0.5
        return draws < chance


def row_ids(ids: np.ndarray | None, features: Tensor | None) -> Sequence[object] | np.ndarray:
    """What tells rows apart, (N,): their ids, else their features.

    Raises:
        UsageError: with neither; equal scores would win or lose together.
    """
    if ids is not None:
        return ids
    if features is None:
        raise UsageError(
            "This rule draws lots, and without an id equal scores would win or lose together; "
            "name the column that identifies a row with --id."
        )
    return [row.tobytes() for row in features.cpu().numpy()]


def row_draws(ids: Sequence[object] | np.ndarray, salt: str) -> Tensor:
    """A number in [0, 1) for every row, (N,) float64, by a salted hash of its id.

    The same id always draws the same number, whatever the table it stands in.
    """
    key = salt.encode()
    rows = (i if isinstance(i, bytes) else str(i).encode() for i in ids)
    raw = b"".join(hashlib.blake2b(row, digest_size=8, key=key).digest() for row in rows)
    whole = np.frombuffer(raw, dtype="<u8") >> np.uint64(11)
    return torch.from_numpy(whole.astype(np.float64) / 2**53)


def randomize_threshold(threshold: float, above: float, below: float) -> RandomizedThresholds:
    """Positive with chance ``above`` where score > threshold, with ``below`` elsewhere."""
    if above == below:
        return ((-1.0, above),) if above else ((1.0, 1.0),)
    if threshold <= -1 or below == 0:
        return ((threshold, above),)
    return ((threshold, above), (-1.0, below))

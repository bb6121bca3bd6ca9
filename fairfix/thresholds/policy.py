"""From scores to decisions: one shared threshold, one per group, or randomized thresholds."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.row_hash import bytes_of_rows, row_hashes
from fairfix.errors import TableError, UsageError
from fairfix.models.inputs import Inputs

RandomizedThresholds = tuple[tuple[float, float], ...]
"""(threshold, probability) pairs, thresholds descending. The first threshold below the score gives
the probability of a positive decision; a score above none of them is never positive."""


@dataclass(frozen=True)
class Policy:
    """A map from scores (and groups) to decisions.

    Attributes:
        steps: the probability of a positive decision as a step function of the score: one for all
            rows, or one for each of the G groups in their order. A plain threshold t is
            ((t, 1.0),).

    Raises:
        UsageError: if a threshold is not in [-1, 1], a probability is not in [0, 1], or thresholds
            are missing or not in descending order.
    """

    steps: tuple[RandomizedThresholds, ...]

    def __post_init__(self) -> None:
        for steps in self.steps:
            thresholds = [threshold for threshold, _ in steps]
            for threshold, probability in steps:
                if not (math.isfinite(threshold) and -1 <= threshold <= 1):
                    raise UsageError(f"A threshold must be in [-1, 1], not {threshold}.")
                if not 0 <= probability <= 1:
                    raise UsageError(f"A probability must be in [0, 1], not {probability}.")
            if not steps or any(a <= b for a, b in pairwise(thresholds)):
                raise UsageError(
                    "Randomized thresholds must be in descending order, at least one per group."
                )

    @classmethod
    def shared(cls, threshold: float) -> Policy:
        """Return the policy with one threshold for all rows."""
        return cls((((threshold, 1.0),),))

    @classmethod
    def by_group(cls, thresholds: Iterable[float]) -> Policy:
        """Return the policy with one threshold per group, in the order of the groups."""
        return cls(tuple(((threshold, 1.0),) for threshold in thresholds))

    @property
    def needs_group(self) -> bool:
        """Whether decisions depend on the group."""
        return len(self.steps) > 1

    @property
    def randomized(self) -> bool:
        """Whether decisions are random: anything but one threshold with probability 1."""
        return any([probability for _, probability in steps] != [1] for steps in self.steps)

    def thresholds(self, n_groups: int) -> tuple[float, ...]:
        """Return the threshold of each group, NaN where it is randomized."""
        each = tuple(s[0][0] if len(s) == 1 and s[0][1] == 1 else math.nan for s in self.steps)
        return each if self.needs_group else each * n_groups

    def probability(self, scores: Tensor, groups: Tensor) -> Tensor:
        """Return P(decision = 1) of each row, (N,) float64.

        Args:
            scores: (N,) in [0, 1].
            groups: (N,) group indices; ignored by a shared threshold.

        Raises:
            TableError: if thresholds depend on the group and some rows have none.
        """
        if self.needs_group and bool((groups < 0).any()):
            raise TableError(
                "A rule with thresholds by group cannot decide rows without a group; remove these "
                "rows, or use a rule with one threshold."
            )
        positive = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
        for group, steps in enumerate(self.steps):
            here = groups == group if self.needs_group else torch.ones_like(scores).bool()
            for threshold, probability in reversed(steps):
                positive[here & (scores > threshold)] = probability
        return positive

    def decide(self, scores: Tensor, groups: Tensor, draws: Tensor | None = None) -> Tensor:
        """Return the decisions, (N,) bool.

        Args:
            scores: (N,) in [0, 1].
            groups: (N,) group indices; ignored by a shared threshold.
            draws: (N,) in [0, 1), one random number per row (``row_draws``); required by
                randomized thresholds.
        """
        positive = self.probability(scores, groups)
        if draws is None:
            assert not self.randomized
            return positive > 0.5
        return draws < positive


def row_ids(ids: np.ndarray | None, inputs: Inputs | None) -> Iterable[object]:
    """Return what identifies each row, (N,): its id, or else the bytes of its inputs.

    Args:
        ids: (N,) or None.
        inputs: of the network for the N rows, or None.

    Raises:
        UsageError: if both are None.
    """
    if ids is not None:
        return ids
    if inputs is None:
        raise UsageError(
            "Randomized thresholds need a row id or features; without them, rows with equal "
            "scores would all get the same decision. Name the id column (--id)."
        )
    flat = inputs.flat
    return bytes_of_rows(inputs.digests() if flat is None else flat.cpu().numpy())


def row_draws(ids: Iterable[object], salt: str) -> Tensor:
    """Return a pseudo-random number in [0, 1) for every row, (N,) float64.

    It is a keyed hash of the row's id (BLAKE2b, 64 bits, of which 53 are used), so the same id
    gets the same number in every table.

    Args:
        ids: (N,) bytes, or values that are hashed as text.
        salt: key of the hash.
    """
    rows = (i if isinstance(i, bytes) else str(i).encode() for i in ids)
    whole = row_hashes(rows, salt.encode()) >> np.uint64(11)
    return torch.from_numpy(whole.astype(np.float64) / 2**53)


def randomize_threshold(threshold: float, above: float, below: float) -> RandomizedThresholds:
    """Return steps that are positive with probability ``above`` or ``below`` the threshold.

    Args:
        threshold: in [-1, 1].
        above: probability of a positive decision where score > threshold.
        below: the same elsewhere.
    """
    if above == below:
        return ((-1.0, above),) if above else ((1.0, 1.0),)
    if threshold <= -1 or below == 0:
        return ((threshold, above),)
    return ((threshold, above), (-1.0, below))

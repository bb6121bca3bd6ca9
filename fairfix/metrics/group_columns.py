"""Joint groups of several group columns: counted once, and summed to the groups of each column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fairfix.metrics.counts import Counts, JointCounts, design_effect, sum_groups


@dataclass(frozen=True)
class GroupColumns:
    """Several group columns of N rows.

    Attributes:
        joint: (N,) joint group of each row, in 0..J-1.
        groups: (J,) group of each joint group in the first column, in 0..G-1; -1 without one.
        n_groups: number of groups of the first column, G.
        effect: design effect of the first column, as ``Counts`` takes it.
        further: by name, the groups (J,) of each joint group, their number, and the design effect.
    """

    joint: Tensor
    groups: Tensor
    n_groups: int
    effect: Tensor | float
    further: Mapping[str, tuple[Tensor, int, Tensor | float]]

    @classmethod
    def of(
        cls,
        groups: Tensor,
        n_groups: int,
        effect: Tensor | float,
        further: Mapping[str, Tensor],
        weights: Tensor | None,
    ) -> GroupColumns:
        """Return the joint groups that occur.

        Args:
            groups: (N,) groups of the first column; -1 without one.
            further: groups (N,) in 0, 1, ... of further columns, by name; -1 without one.
            weights: (N,) row weights.
        """
        columns = [groups, *further.values()]
        kinds, joint = torch.stack(columns, 1).unique(dim=0, return_inverse=True)
        by_name = {}
        for place, (name, ids) in enumerate(further.items(), start=1):
            number = int(ids.max()) + 1
            by_name[name] = kinds[:, place], number, design_effect(ids, number, weights)
        return cls(joint, kinds[:, 0], n_groups, effect, by_name)

    @property
    def n_joint(self) -> int:
        """The number of joint groups, J."""
        return len(self.groups)

    def counts(self, tp: Tensor, fp: Tensor, fn: Tensor, tn: Tensor) -> Counts:
        """Return counts by the first column, with those by joint group, from sides (..., J)."""
        sides = tp, fp, fn, tn
        joint = JointCounts(sides, self.groups, self.n_groups, self.further)
        tp, fp, fn, tn = (sum_groups(side, self.groups, self.n_groups) for side in sides)
        return Counts(tp, fp, fn, tn, self.effect, joint=joint)

"""Clusters: rows that are not independent, such as several rows of one person.

The variance of a rate is then that of the sums by cluster (linearization, with the factor
C / (C - 1), CR1). Its quotient by the variance of as many independent rows is the design effect.

Source: Rao and Scott 1992; Cameron and Miller 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Cell = Literal["tp", "fp", "fn", "tn"]
_CELLS: tuple[Cell, ...] = ("tp", "fp", "fn", "tn")
_CHUNK = 16_384  # clusters at once in a covariance


def design_effect_of_mean(
    values: NDArray[np.float64], weights: NDArray[np.float64], clusters: NDArray[np.int64]
) -> float:
    """Return the design effect of clusters on a weighted mean, at least 1.

    If all values agree, or there is one cluster, the rows of a cluster are taken as one row.

    Args:
        values, weights, clusters: (N,) each; the weights are not all 0.
    """
    _, position = np.unique(clusters, return_inverse=True)
    residuals = values - weights @ values / weights.sum()
    sums, n = np.bincount(position, weights * residuals), int(position.max()) + 1
    squares = float(weights @ weights)
    separate = float(weights @ residuals**2 / weights.sum()) * squares
    if n < 2 or separate <= 0:
        return float((np.bincount(position, weights) ** 2).sum()) / squares
    return max(1.0, n / (n - 1) * float(sums @ sums) / separate)


@dataclass(frozen=True)
class ClusterCounts:
    """Confusion counts of every cluster within every group, M pairs in the order of clusters.

    Attributes:
        cluster: (M,) position of the cluster in 0..C-1, ascending.
        group: (M,) in 0..n_groups-1.
        cells: (M, 4) tp, fp, fn and tn in rows, weighted as in ``Counts``.
    """

    cluster: Tensor
    group: Tensor
    cells: Tensor
    n_groups: int

    def of_groups(self, groups: Sequence[int]) -> ClusterCounts:
        """Return the counts of some groups, in their order."""
        position = self.group.new_full((self.n_groups,), -1)
        position[list(groups)] = torch.arange(len(groups), device=self.group.device)
        group = position[self.group]
        kept = group >= 0
        return ClusterCounts(self.cluster[kept], group[kept], self.cells[kept], len(groups))

    def pooled(self) -> ClusterCounts:
        """Return the counts of all groups together."""
        merged = self.cells.new_zeros(int(self.cluster[-1]) + 1, len(_CELLS))
        merged.index_add_(0, self.cluster, self.cells)
        positions = torch.arange(len(merged), device=self.cluster.device)
        return ClusterCounts(positions, torch.zeros_like(positions), merged, 1)

    def sums(self, cells: Sequence[Cell]) -> Tensor:
        """Return the rows of each pair in some cells, (M,)."""
        return self.cells[:, [_CELLS.index(cell) for cell in cells]].sum(-1)

    def by_group(self, values: Tensor) -> Tensor:
        """Return the sum of values (M,) in each group, (G,)."""
        return values.new_zeros(self.n_groups).index_add(0, self.group, values)

    def number(self, trials: Sequence[Cell]) -> Tensor:
        """Return the number of clusters with rows behind a rate in each group, (G,)."""
        return self.by_group((self.sums(trials) > 0).double())

    def influence(self, hits: Sequence[Cell], trials: Sequence[Cell]) -> Tensor:
        """Return the influence of each pair on the rate of its group, (M,); CR1 included."""
        hit, among = self.sums(hits), self.sums(trials)
        total, number = self.by_group(among), self.number(trials)
        rate = self.by_group(hit) / total
        correction = (number / (number - 1)).sqrt()  # NaN or infinite for a single cluster
        return (hit - rate[self.group] * among) * (correction / total)[self.group]

    def design_effect(self, hits: Sequence[Cell], trials: Sequence[Cell]) -> Tensor:
        """Return the design effect of a rate in each group, (G,).

        If all rows of a group agree, or there is one cluster, the variance does not show how much
        alike the rows of a cluster are; they are then taken as one row.
        """
        among = self.sums(trials)
        total = self.by_group(among)
        rate = self.by_group(self.sums(hits)) / total
        variance = self.by_group(self.influence(hits, trials).square())
        effect = variance * total / (rate * (1 - rate))
        as_one = self.by_group(among.square()) / total
        return torch.where(effect.isfinite(), effect, as_one)

    def covariance(self, rates: Sequence[tuple[Sequence[Cell], Sequence[Cell]]]) -> Tensor:
        """Return the covariance of R rates of G groups, (R G, R G), rate by rate."""
        size = len(rates) * self.n_groups
        influences = [self.influence(*cells).nan_to_num(0.0, 0.0, 0.0) for cells in rates]
        found = self.cells.new_zeros(size, size)
        n_clusters = int(self.cluster[-1]) + 1
        for start in range(0, n_clusters, _CHUNK):
            ends = torch.tensor([start, start + _CHUNK], device=self.cluster.device)
            low, high = torch.searchsorted(self.cluster, ends).tolist()
            part = slice(low, high)
            rows = self.cluster[part] - start
            sums = self.cells.new_zeros(min(_CHUNK, n_clusters - start), size)
            for r, influence in enumerate(influences):
                columns = r * self.n_groups + self.group[part]
                sums.index_put_((rows, columns), influence[part], accumulate=True)
            found += sums.T @ sums
        return found


@dataclass(frozen=True)
class ClusterIndex:
    """The pairs of a cluster and a group that N rows form, from which counts are made.

    Attributes:
        pair: (N,) position of the row's pair.
        cluster, group: of each pair, (M,).
    """

    pair: Tensor
    cluster: Tensor
    group: Tensor
    n_groups: int

    @classmethod
    def of(cls, clusters: Tensor, groups: Tensor, n_groups: int) -> ClusterIndex:
        """Return the pairs of rows with clusters (N,) and groups (N,) in 0..n_groups-1."""
        _, position = clusters.unique(return_inverse=True)
        codes, pair = (position * n_groups + groups).unique(return_inverse=True)
        return cls(pair, codes // n_groups, codes % n_groups, n_groups)

    def counts(self, decisions: Tensor, labels: Tensor, weights: Tensor) -> ClusterCounts:
        """Return the counts of decisions (N,) in [0, 1]; weights (N,) have mean 1."""
        positive, favorable = decisions.double(), labels.double()
        sides = torch.stack(
            [
                positive * favorable,
                positive * (1 - favorable),
                (1 - positive) * favorable,
                (1 - positive) * (1 - favorable),
            ],
            -1,
        )
        cells = sides.new_zeros(len(self.cluster), len(_CELLS))
        cells.index_add_(0, self.pair, sides * weights.unsqueeze(1))
        return ClusterCounts(self.cluster, self.group, cells, self.n_groups)

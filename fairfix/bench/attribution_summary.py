"""Weight attributions of a task, summarized over its networks.

Savani, White and Govindarajulu (2020, appendix): how much of the gap a linear model of the weights
explains, how few weights carry it, and whether networks that were trained alike share them. For the
last question the coefficients of each network are scaled to a vector of length 1: if all singular
values of the stacked vectors are near 1, the vectors are orthogonal and the networks share nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairfix.bench.cell_table import Row, nan_if_none
from fairfix.bench.cells import ATTRIBUTION, LARGEST
from fairfix.bench.split_statistics import MeanSd, flatten, mean_sd


@dataclass(frozen=True)
class AttributionSummary:
    """The weight attributions of one task and metric, over its splits.

    Attributes:
        splits: number of splits. In a protocol each split has its own network; for a user's model
            splits are samples of rows.
        weights: number of weights of a network.
        spread, r2, r2_of_decisions, r2_of_fit: see ``weight_attribution.WeightAttribution``.
        share_of_largest: share of the predicted variance, by number of most influential weights.
        shares: mean share of each parameter, largest first.
        singular_values: of the splits' unit vectors, descending; () unless there are two vectors of
            equal size.
    """

    task: str
    metric: str
    splits: int
    draws: int
    sd: float
    weights: int
    spread: MeanSd
    r2: MeanSd
    r2_of_decisions: MeanSd
    r2_of_fit: MeanSd
    share_of_largest: dict[int, MeanSd]
    shares: dict[str, float]
    singular_values: tuple[float, ...]

    @property
    def singular_range(self) -> tuple[float, ...]:
        """The smallest and the largest singular value; () if there are none."""
        values = self.singular_values
        return (values[-1], values[0]) if values else ()

    def flat(self) -> dict[str, Any]:
        """Return one scalar per name, as in ``attribution.csv``."""
        nested = ("share_of_largest", "shares", "singular_values")
        plain = {name: value for name, value in vars(self).items() if name not in nested}
        shares = {f"share_of_{n}": share for n, share in self.share_of_largest.items()}
        smallest, largest = self.singular_range or (math.nan, math.nan)
        return flatten(plain | shares) | {
            "smallest_singular_value": smallest,
            "largest_singular_value": largest,
            "largest_parameter": next(iter(self.shares), ""),
        }


def summarize_attributions(rows: Iterable[Row]) -> list[AttributionSummary]:
    """Return the summary of every task, metric and set of options, in row order."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["status"] == "measured":
            key = row["task"], row["goal"]["metric"], repr(sorted(row["options"].items()))
            groups.setdefault(key, []).append(row[ATTRIBUTION])
    return [_summarize(task, metric, splits) for (task, metric, _), splits in groups.items()]


def _summarize(task: str, metric: str, splits: Sequence[Row]) -> AttributionSummary:
    def over_splits(name: str) -> MeanSd:
        return mean_sd(nan_if_none(each[name]) for each in splits)

    vectors = [_decode(each["coefficients"]) for each in splits]
    names = splits[0]["shares"]
    shares = {n: mean_sd(each["shares"].get(n, 0.0) for each in splits).mean for n in names}
    return AttributionSummary(
        task=task,
        metric=metric,
        splits=len(splits),
        draws=splits[0]["draws"],
        sd=splits[0]["sd"],
        weights=len(vectors[0]),
        spread=over_splits("spread"),
        r2=over_splits("r2"),
        r2_of_decisions=over_splits("r2_of_decisions"),
        r2_of_fit=over_splits("r2_of_fit"),
        share_of_largest={
            n: mean_sd(each["share_of_largest"][str(n)] for each in splits) for n in LARGEST
        },
        shares=dict(sorted(shares.items(), key=lambda pair: -pair[1])),
        singular_values=singular_values(vectors),
    )


def _decode(coefficients: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(coefficients), dtype="<f4").astype(float)


def singular_values(vectors: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Return the singular values of the vectors scaled to length 1, descending.

    Returns () for fewer than two vectors, vectors of different sizes, or a zero vector.
    """
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    if len(vectors) < 2 or len({len(vector) for vector in vectors}) > 1 or not all(lengths):
        return ()
    units = np.stack([vector / length for vector, length in zip(vectors, lengths, strict=True)])
    return tuple(np.linalg.svd(units, compute_uv=False).tolist())

"""What attributions to weights say over the networks of a task.

Savani, White and Govindarajulu (2020, appendix): how much of the gap a linear model of the weights
explains, how few weights carry it, and whether networks that were trained alike share them. For the
last the coefficients of each network are taken as a vector of length 1; if the singular values of
all of them together are near 1, the vectors stand at right angles and the networks share nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairfix.bench.cell_table import nan_if_none
from fairfix.bench.cells import ATTRIBUTION, LARGEST
from fairfix.bench.split_statistics import MeanSd, flatten, mean_sd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Attributions:
    """The splits of one task and a metric.

    Attributes:
        r2, r2_of_decisions, r2_of_fit, spread: as ``attribution.Attribution`` has them.
        share_of_largest: by number of weights, the share of the foreseen variance they carry.
        shares: of each parameter, mean over networks, largest first.
        splits: how many there are, each with its own network where a protocol trained one; of
            a user's model they are samples of rows.
        weights: how many weights there are.
        singular_values: of the splits' vectors of length 1, falling; () unless there are two of
            one size.
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
    def singular_ends(self) -> tuple[float, ...]:
        """The smallest and the largest singular value; () where there are none."""
        values = self.singular_values
        return (values[-1], values[0]) if values else ()

    def flat(self) -> dict[str, Any]:
        """One plain value a name: means by the bare name, standard deviations with ``_sd``."""
        several = ("share_of_largest", "shares", "singular_values")
        plain = {name: value for name, value in vars(self).items() if name not in several}
        shares = {f"share_of_{n}": share for n, share in self.share_of_largest.items()}
        smallest, largest = self.singular_ends or (math.nan, math.nan)
        return flatten(plain | shares) | {
            "smallest_singular_value": smallest,
            "largest_singular_value": largest,
            "largest_parameter": next(iter(self.shares), ""),
        }


def attributions(rows: Iterable[Row]) -> list[Attributions]:
    """Those of every task and metric, in the order of the rows."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["status"] == "measured":
            key = row["task"], row["goal"]["metric"], repr(sorted(row["options"].items()))
            found.setdefault(key, []).append(row[ATTRIBUTION])
    return [_summed(task, metric, listed) for (task, metric, _), listed in found.items()]


def _summed(task: str, metric: str, listed: Sequence[Row]) -> Attributions:
    def center(name: str) -> MeanSd:
        return mean_sd(nan_if_none(each[name]) for each in listed)

    vectors = [_vector(each["coefficients"]) for each in listed]
    names = listed[0]["shares"]
    shares = {n: mean_sd(each["shares"].get(n, 0.0) for each in listed).mean for n in names}
    return Attributions(
        task=task,
        metric=metric,
        splits=len(listed),
        draws=listed[0]["draws"],
        sd=listed[0]["sd"],
        weights=len(vectors[0]),
        spread=center("spread"),
        r2=center("r2"),
        r2_of_decisions=center("r2_of_decisions"),
        r2_of_fit=center("r2_of_fit"),
        share_of_largest={
            n: mean_sd(each["share_of_largest"][str(n)] for each in listed) for n in LARGEST
        },
        shares=dict(sorted(shares.items(), key=lambda pair: -pair[1])),
        singular_values=singular_values(vectors),
    )


def _vector(coefficients: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(coefficients), dtype="<f4").astype(float)


def singular_values(vectors: Sequence[np.ndarray]) -> tuple[float, ...]:
    """Of the vectors, each at length 1, falling; () for one vector, or of different sizes, or 0."""
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    if len(vectors) < 2 or len({len(vector) for vector in vectors}) > 1 or not all(lengths):
        return ()
    units = np.stack([vector / length for vector, length in zip(vectors, lengths, strict=True)])
    return tuple(np.linalg.svd(units, compute_uv=False).tolist())

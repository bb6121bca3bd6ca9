"""Gaps and performance of the unmodified base networks of a study.

Networks that were trained alike except for the seed differ in bias far more than in performance
(Savani, White, Govindarajulu 2020, table 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairfix.bench.cell_table import UNMODIFIED, Row, nan_if_none
from fairfix.bench.split_statistics import flatten, mean_sd


@dataclass(frozen=True)
class BaseNetworkSummary:
    """The unmodified networks of one task on its test rows, at the threshold in use today.

    Attributes:
        metrics: the metrics that methods were to reduce, in row order.
        gaps: (splits,) per metric, signed where the metric is; NaN if undefined.
        performances: (splits,) per performance measure.
    """

    task: str
    metrics: tuple[str, ...]
    gaps: dict[str, np.ndarray]
    performances: dict[str, np.ndarray]

    @property
    def splits(self) -> int:
        return len(next(iter(self.performances.values())))

    def flat(self) -> dict[str, Any]:
        """Return one scalar per name, as in ``networks.csv``: means, and deviations as ``_sd``."""
        figures = (self.gaps | self.performances).items()
        means = {name: mean_sd(values) for name, values in figures}
        return flatten({"task": self.task, "splits": self.splits, **means})


def summarize_base_networks(rows: Iterable[Row]) -> list[BaseNetworkSummary]:
    """Return the summary of every task, in row order; each split counts once."""
    by_split: dict[str, dict[str, Row]] = {}
    metrics: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["status"] == "done" and "gaps" in row["test"][UNMODIFIED]:
            by_split.setdefault(row["task"], {})[row["task_sha256"]] = row["test"][UNMODIFIED]
            metrics.setdefault(row["task"], {})[row["goal"]["metric"]] = None
    return [
        BaseNetworkSummary(
            task,
            tuple(metrics[task]),
            _columns(figures["gaps"] for figures in splits.values()),
            _columns(figures["performances"] for figures in splits.values()),
        )
        for task, splits in by_split.items()
    ]


def _columns(figures: Iterable[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    listed = [*figures]  # rows of other versions can lack one
    return {name: np.array([nan_if_none(each.get(name)) for each in listed]) for name in listed[0]}

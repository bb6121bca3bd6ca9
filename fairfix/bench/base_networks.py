"""The base networks of a study as they are deployed: how much bias and performance vary.

Networks that were trained alike but for the seed differ in bias far more than in performance
(Savani, White, Govindarajulu 2020, table 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairfix.bench.cell_table import nan_if_none
from fairfix.bench.split_statistics import flatten, mean_sd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Networks:
    """The networks of one task, at the cut deployed today, on rows that no method saw.

    Attributes:
        goals: the metrics that methods were to reduce, in the order of the rows.
        gaps: (splits,) of every metric by key, signed where it has a sign; NaN undefined.
        performances: (splits,) of every measure by key.
    """

    task: str
    goals: tuple[str, ...]
    gaps: dict[str, np.ndarray]
    performances: dict[str, np.ndarray]

    @property
    def splits(self) -> int:
        return len(next(iter(self.performances.values())))

    def flat(self) -> dict[str, Any]:
        """One plain value a name: means by the bare name, standard deviations with ``_sd``."""
        figures = (self.gaps | self.performances).items()
        centers = {name: mean_sd(values) for name, values in figures}
        return flatten({"task": self.task, "splits": self.splits, **centers})


def networks(rows: Iterable[Row]) -> list[Networks]:
    """The networks of every task, in the order of the rows; each split counts once."""
    seen: dict[str, dict[str, Row]] = {}
    goals: dict[str, dict[str, None]] = {}
    for row in rows:
        if row["status"] == "done" and "gaps" in row["judged"]["original"]:
            seen.setdefault(row["task"], {})[row["task_sha256"]] = row["judged"]["original"]
            goals.setdefault(row["task"], {})[row["goal"]["metric"]] = None
    return [
        Networks(
            task,
            tuple(goals[task]),
            _columns(each["gaps"] for each in found.values()),
            _columns(each["performances"] for each in found.values()),
        )
        for task, found in seen.items()
    ]


def _columns(figures: Iterable[Mapping[str, float | None]]) -> dict[str, np.ndarray]:
    listed = [*figures]
    return {name: np.array([nan_if_none(each[name]) for each in listed]) for name in listed[0]}

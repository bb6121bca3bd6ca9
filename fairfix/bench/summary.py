"""What the rows of a study say: one line a method, for every task and metric.

``original`` (the network at the cut deployed today) and ``identity`` (at its best cut) are taken
from the rows themselves, so that no table lacks them. Methods that decide by group are ranked apart
from those that do not: they use what the others may not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

BASELINE, DEPLOYED, FRONTIER = "identity", "original", "thresholds"
ALPHA = 0.05


@dataclass(frozen=True)
class Line:
    """One method on one task for one metric, over all splits.

    Attributes:
        objective: median and quartiles over splits of the performance where the budget held on
            judged rows, else 0; ``mean`` its mean with a 95 % t interval.
        held: share of splits on which the budget held; ``ceiling`` the mean chance that it would,
            given the noise of the judged rows, for a rule with a true gap of 0.
        gap: median absolute gap; ``performance``: median, whether the budget held or not.
        gain: mean objective over ``identity``'s on the same splits, with its 95 % t interval.
        p: of a Wilcoxon signed-rank test of that gain, by Holm over the methods of the table; NaN
            with under 6 splits.
        pareto: no other method of its kind has both a smaller mean gap and a better performance.
    """

    task: str
    metric: str
    performance_key: str
    method: str
    needs_group: bool
    splits: int
    refused: int
    objective: tuple[float, float, float]
    mean: tuple[float, float, float]
    held: float
    ceiling: float
    gap: float
    performance: float
    trivial: float
    gain: tuple[float, float, float]
    p: float
    pareto: bool
    seconds: float
    peak_memory_mib: float

    @property
    def beats_baseline(self) -> bool:
        """Whether the gain on the untouched network at its best cut is shown."""
        return self.gain[1] > 0


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows as a flat table, one line a cell; ``original`` rows are added from the baseline's.

    Undefined figures are NaN. What a method refused has no figures.
    """
    import pandas as pd

    return pd.DataFrame([line for row in rows for line in _flat(row)])


def _flat(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    goal = row["goal"]
    known = {
        "task": row["task"],
        "split": row["split"],
        "seed": row["seed"],
        "metric": goal["metric"],
        "budget": goal["budget"],
        "performance_key": goal["performance"],
        "kind": goal["kind"],
        "method": row["method"],
        "status": row["status"],
    }
    if row["status"] != "done":
        yield known | {"reason": row["reason"]}
        return
    cost = {
        "seconds": row["cost"]["seconds"],
        "peak_memory_mib": row["cost"]["peak_memory_mib"],
    }
    yield known | _figures(row, "debiased", row["needs_group"]) | cost
    if row["method"] == BASELINE:
        deployed = _figures(row, DEPLOYED, needs_group=False)
        yield known | {"method": DEPLOYED} | deployed | {"ceiling": math.nan}


def _figures(row: Mapping[str, Any], state: str, needs_group: bool) -> dict[str, Any]:
    judged, fitting = row["judged"][state], row["fitting"][state]
    return {
        "needs_group": needs_group,
        "gap": _number(judged["gap"]),
        "performance": _number(judged["performance"]),
        "objective": _number(judged["objective"]),
        "held": judged["met"],
        "trivial": judged["trivial"],
        "fitting_gap": _number(fitting["gap"]),
        "fitting_performance": _number(fitting["performance"]),
        "ceiling": _number(row["ceiling"]),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def summary(rows: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Every table's lines, best mean objective first, group-free methods before group-aware."""
    cells = frame(rows)
    if cells.empty:
        return []
    lines: list[Line] = []
    for _, table in cells.groupby(["task", "metric", "performance_key"], sort=False):
        lines += _table(table)
    return lines


def _table(cells: pd.DataFrame) -> list[Line]:
    done = cells[cells["status"] == "done"]
    if done.empty:
        return []
    objectives = done.pivot_table("objective", "split", "method", aggfunc="mean")
    methods = list(dict.fromkeys(done["method"]))
    against = [m for m in methods if m not in (BASELINE, DEPLOYED)]
    p = _holm({m: _wilcoxon(objectives, m) for m in against})
    means = done.assign(size=done["gap"].abs()).groupby("method")[["size", "performance"]].mean()
    aware = done.groupby("method")["needs_group"].any().to_dict()
    lines = [
        _line(
            cells[cells["method"] == m],
            bool(aware[m]),
            _gain(objectives, m),
            p.get(m, math.nan),
            _is_pareto(means, m, [n for n in methods if aware[n] == aware[m]]),
        )
        for m in methods
    ]
    return sorted(lines, key=lambda line: (line.needs_group, -line.mean[0]))


def _line(
    cells: pd.DataFrame,
    needs_group: bool,
    gain: tuple[float, float, float],
    p: float,
    pareto: bool,
) -> Line:
    done = cells[cells["status"] == "done"]
    first = done.iloc[0]
    low, middle, high = done["objective"].quantile([0.25, 0.5, 0.75])
    return Line(
        task=first["task"],
        metric=first["metric"],
        performance_key=first["performance_key"],
        method=first["method"],
        needs_group=needs_group,
        splits=len(done),
        refused=len(cells) - len(done),
        objective=(float(middle), float(low), float(high)),
        mean=mean_interval(done["objective"].to_numpy(dtype=float)),
        held=float(done["held"].mean()),
        ceiling=float(done["ceiling"].mean()),
        gap=float(done["gap"].abs().median()),
        performance=float(done["performance"].median()),
        trivial=float(done["trivial"].mean()),
        gain=gain,
        p=p,
        pareto=pareto,
        seconds=float(done["seconds"].median()),
        peak_memory_mib=float(done["peak_memory_mib"].max()),
    )


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and its 95 % t interval, NaN for under two values."""
    from scipy import stats

    n = len(values)
    middle = float(values.mean()) if n else math.nan
    if n < 2:
        return middle, math.nan, math.nan
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return middle, middle - half, middle + half


def _gain(objectives: pd.DataFrame, method: str) -> tuple[float, float, float]:
    if method == BASELINE or BASELINE not in objectives:
        return math.nan, math.nan, math.nan
    paired = (objectives[method] - objectives[BASELINE]).dropna()
    return mean_interval(paired.to_numpy(dtype=float))


FEWEST_PAIRS = 6  # below it no result of the test could reach 5 %


def _wilcoxon(objectives: pd.DataFrame, method: str) -> float:
    """Two-sided p of the paired differences to the baseline; 1 where all are 0."""
    from scipy import stats

    if BASELINE not in objectives:
        return math.nan
    paired = (objectives[method] - objectives[BASELINE]).dropna().to_numpy(dtype=float)
    if len(paired) < FEWEST_PAIRS:
        return math.nan
    if not paired.any():
        return 1.0
    return float(stats.wilcoxon(paired, zero_method="pratt").pvalue)


def _holm(p: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p values; NaN stays out."""
    known = sorted((value, name) for name, value in p.items() if not math.isnan(value))
    adjusted = dict(p)
    least = 0.0
    for i, (value, name) in enumerate(known):
        least = max(least, min(1.0, (len(known) - i) * value))
        adjusted[name] = least
    return adjusted


def _is_pareto(means: pd.DataFrame, method: str, rivals: Sequence[str]) -> bool:
    size, performance = float(means["size"][method]), float(means["performance"][method])
    others = means.loc[[r for r in rivals if r != method]]
    better = (others["size"] <= size) & (others["performance"] >= performance)
    strictly = (others["size"] < size) | (others["performance"] > performance)
    return not bool((better & strictly).any()) and not math.isnan(size)

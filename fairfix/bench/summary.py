"""What the rows of a study say: one line a method, for every task and goal.

``original`` (the network at the cut deployed today) and ``identity`` (at its best cut) are taken
from the rows themselves, so that no table lacks them. Methods that decide by group are ranked apart
from those that do not: they use what the others may not.

Splits of one data set share rows, and what shares rows varies less from one to the next than it
would on new ones. Intervals and p values allow for that (``mean_interval``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fairfix.report.figures import Figure, size
from fairfix.stats.verdicts import holm_adjusted

if TYPE_CHECKING:
    import pandas as pd

BASELINE, DEPLOYED, FRONTIER = "identity", "original", "thresholds"
ALPHA = 0.05
ROUND_OFF = 1e-12


class Spread(NamedTuple):
    """Median and quartiles over splits."""

    median: float
    lower_quartile: float
    upper_quartile: float


class Interval(NamedTuple):
    """A mean over splits with its 95 % interval; NaN ends where there is no telling."""

    value: float
    low: float
    high: float


def flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    """One plain value a name: the first field of a named tuple has the bare name, others more."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            first, *others = value._fields
            found[name] = getattr(value, first)
            found |= {f"{name}_{other}": getattr(value, other) for other in others}
        else:
            found[name] = value
    return found


@dataclass(frozen=True)
class Goal:
    """What the methods of a table were to reach, and the one figure they are ranked by.

    That is the performance where the budget held, else 0; for a trade-off it is lambda times the
    size of the gap plus (1 - lambda) times the lack of performance, and smaller is better.
    """

    metric: str
    performance_key: str
    kind: str
    budget: float
    margin: float | None
    weight: float
    k: float
    risk: float | None

    @classmethod
    def of(cls, goal: Mapping[str, Any]) -> Goal:
        """From a row."""
        return cls(
            metric=goal["metric"],
            performance_key=goal["performance"],
            kind=goal["kind"],
            budget=goal["budget"],
            margin=goal["margin"],
            weight=goal["lambda"],
            k=goal["k"],
            risk=goal.get("risk"),
        )

    @property
    def smaller_is_better(self) -> bool:
        return self.kind == "tradeoff"

    @property
    def name(self) -> str:
        """What the figure is called."""
        return "trade-off" if self.smaller_is_better else "objective"

    def figure(self, size: float, performance: float) -> float:
        """Of one split, from the size of the gap; what is undefined counts as the worst."""
        undefined = math.isnan(size) or math.isnan(performance)
        if self.smaller_is_better:
            if undefined:
                return 1.0
            return self.weight * size + (1 - self.weight) * (1 - performance)
        return performance if not undefined and size < self.budget else 0.0


@dataclass(frozen=True)
class Line:
    """One method on one task for one goal, over all splits.

    Attributes:
        splits, missing: on how many it has a result, and on how many it refused or failed.
        objective: the figure that ``objective_name`` names, over splits; ``mean_objective`` its
            mean.
        held: share of splits on which the budget held; ``ceiling`` the mean chance that it would,
            given the noise of the judged rows, for a rule with a true gap of 0.
        gap: size of the gap, whether the budget held or not; so is ``performance``.
        gain: mean objective against ``identity``'s on the same splits, positive where better.
        p: of that gain (two-sided), by Holm over the methods of the table.
        pareto: no other method of its kind has both a smaller mean gap and a better performance.
        seconds: wall time to fit and to judge; ``peak_memory_mib`` the most of the whole process.
    """

    task: str
    metric: str
    performance_key: str
    kind: str
    budget: float
    objective_name: str
    smaller_is_better: bool
    method: str
    needs_group: bool
    splits: int
    missing: int
    objective: Spread
    mean_objective: Interval
    held: float
    ceiling: float
    gap: Spread
    mean_gap: float
    performance: Spread
    mean_performance: float
    trivial: float
    gain: Interval
    p: float
    gain_shown: bool
    pareto: bool
    seconds: Spread
    peak_memory_mib: float

    def flat(self) -> dict[str, Any]:
        """One plain value a name: a median or mean has the bare name, what belongs to it more."""
        return flat(vars(self))


@dataclass(frozen=True)
class Table:
    """One task for one goal: its cells as ``frame`` has them, and a line a method, best first."""

    task: str
    goal: Goal
    cells: pd.DataFrame
    lines: tuple[Line, ...]


def latest(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The last row of every cell: it may have failed first, or been run by an older version.

    Where classifiers or ways to split share a task's name, all but the first get a number.
    """
    parts = ("task", "split", "task_sha256", "method", "seed", "goal", "options")
    last = {json.dumps([row[part] for part in parts], sort_keys=True): row for row in rows}
    sources: dict[str, list[str]] = {}
    return [_apart(row, sources.setdefault(row["task"], [])) for row in last.values()]


def _apart(row: Mapping[str, Any], sources: list[str]) -> Mapping[str, Any]:
    """The row under a name that no other source of its task's name has."""
    source = row.get("source", "")
    if source not in sources:
        sources.append(source)
    number = sources.index(source) + 1
    return row if number == 1 else {**row, "task": f"{row['task']} ({number})"}


def frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """The rows of methods as a flat table, one line a cell; ``original`` rows are added from the
    baseline's.

    Undefined figures are NaN. What a method refused has no figures.
    """
    import pandas as pd

    return pd.DataFrame(
        [line for row in rows if row["status"] != "measured" for line in _flat(row)]
    )


def _flat(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    goal = Goal.of(row["goal"])
    told = {
        "task": row["task"],
        "split": row["split"],
        "task_sha256": row["task_sha256"],
        "seed": row["seed"],
        **asdict(goal),
        "method": label(row),
        "status": row["status"],
    }
    if row["status"] != "done":
        yield told | {"reason": row["reason"]}
        return
    cost = {
        "seconds": row["cost"]["seconds"],
        "peak_memory_mib": row["cost"]["peak_memory_mib"],
    }
    yield told | _figures(row, goal, "debiased", row["needs_group"]) | cost
    if row["method"] == BASELINE:
        deployed = _figures(row, goal, DEPLOYED, needs_group=False)
        yield told | {"method": DEPLOYED} | deployed | {"ceiling": math.nan}


def label(row: Mapping[str, Any]) -> str:
    """The method of a row, with the options that were given to it."""
    return " ".join([row["method"], *(f"{k}={v}" for k, v in sorted(row["options"].items()))])


def _figures(row: Mapping[str, Any], goal: Goal, state: str, needs_group: bool) -> dict[str, Any]:
    judged, fitting = row["judged"][state], row["fitting"][state]
    gap = gap_size(goal.metric, judged["gap"])
    performance = known(judged["performance"])
    return {
        "needs_group": needs_group,
        "gap": known(judged["gap"]),
        "gap_size": gap,
        "performance": performance,
        "objective": goal.figure(gap, performance),
        "held": judged["met"],
        "trivial": judged["trivial"],
        "fitting_gap": known(fitting["gap"]),
        "fitting_performance": known(fitting["performance"]),
        "ceiling": known(row["ceiling"]),
        "rows": judged["rows"],
        "overlap": _overlap(row),
    }


def gap_size(metric: str, gap: float | None) -> float:
    """What a budget bounds, of a gap as it is reported; NaN undefined."""
    return known(size(metric, Figure(gap)).value)


def _overlap(row: Mapping[str, Any]) -> float:
    if "overlap" in row:
        return float(row["overlap"])
    rows = (float(row[part]["debiased"]["rows"]) for part in ("judged", "fitting"))
    return next(rows) / next(rows)


def known(value: float | None) -> float:
    """A figure of a row, NaN where it is undefined."""
    return math.nan if value is None else float(value)


def summary(rows: Iterable[Mapping[str, Any]]) -> list[Line]:
    """Every table's lines, best mean objective first, group-free methods before group-aware."""
    return [line for table in tables(rows) for line in table.lines]


def tables(rows: Iterable[Mapping[str, Any]]) -> list[Table]:
    """One table a task and goal, in the order of the rows; none where nothing has a result."""
    cells = frame(latest(rows))
    if cells.empty:
        return []
    goals = [each.name for each in fields(Goal)]
    found = []
    for (task, *goal), table in cells.groupby(["task", *goals], sort=False, dropna=False):
        if (table["status"] == "done").any():
            parts: list[Any] = [None if x != x else x for x in goal]  # NaN in a column of numbers
            found.append(_table(str(task), Goal(*parts), table))
    return found


def _table(task: str, goal: Goal, cells: pd.DataFrame) -> Table:
    done = cells[cells["status"] == "done"]
    objectives = done.pivot_table("objective", "task_sha256", "method", aggfunc="mean")
    overlap = float(done["overlap"].mean())
    sign = -1 if goal.smaller_is_better else 1
    lines = []
    for method in dict.fromkeys(done["method"]):
        gain, p = _gain(sign * objectives, str(method), overlap)
        mine = cells[cells["method"] == method]
        lines.append(_line(task, goal, mine, gain, p, overlap))
    lines = _on_the_front(_adjusted(lines))
    lines.sort(key=lambda line: (line.needs_group, -sign * line.mean_objective.value))
    return Table(task, goal, cells, tuple(lines))


def _line(
    task: str, goal: Goal, cells: pd.DataFrame, gain: Interval, p: float, overlap: float
) -> Line:
    done = cells[cells["status"] == "done"]
    return Line(
        task=task,
        metric=goal.metric,
        performance_key=goal.performance_key,
        kind=goal.kind,
        budget=goal.budget,
        objective_name=goal.name,
        smaller_is_better=goal.smaller_is_better,
        method=str(done.iloc[0]["method"]),
        needs_group=bool(done["needs_group"].any()),
        splits=len(done),
        missing=len(cells) - len(done),
        objective=spread(done["objective"]),
        mean_objective=mean_interval(done["objective"].to_numpy(dtype=float), overlap),
        held=float(done["held"].mean()),
        ceiling=float(done["ceiling"].mean()),
        gap=spread(done["gap_size"]),
        mean_gap=float(done["gap_size"].mean(skipna=False)),
        performance=spread(done["performance"]),
        mean_performance=float(done["performance"].mean(skipna=False)),
        trivial=float(done["trivial"].mean()),
        gain=gain,
        p=p,
        gain_shown=False,
        pareto=False,
        seconds=spread(done["seconds"]),
        peak_memory_mib=float(done["peak_memory_mib"].astype(float).max()),
    )


def spread(values: pd.Series[Any]) -> Spread:
    """Of the values that are defined."""
    low, middle, high = values.astype(float).quantile([0.25, 0.5, 0.75])
    return Spread(float(middle), float(low), float(high))


def mean_interval(values: np.ndarray, overlap: float = 0.0) -> Interval:
    """Mean and 95 % t interval of one value a split; no interval for fewer than two values.

    ``overlap`` is how many rows a split judges for each other row that splits draw from, 0 where
    every split has rows of its own. By it the variance of the mean is larger than that of as many
    independent splits (Nadeau and Bengio, 2003).
    """
    from scipy import stats

    middle, error = _mean_and_error(values, overlap)
    half = float(stats.t.ppf(1 - ALPHA / 2, max(1, len(values) - 1))) * error
    return Interval(middle, middle - half, middle + half)


def _mean_and_error(values: np.ndarray, overlap: float) -> tuple[float, float]:
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else math.nan), math.nan
    return float(values.mean()), float(values.std(ddof=1)) * math.sqrt(1 / n + overlap)


def _gain(merits: pd.DataFrame, method: str, overlap: float) -> tuple[Interval, float]:
    """Mean paired difference to the baseline, and its two-sided p; ``merits``: larger is better."""
    from scipy import stats

    nothing = Interval(math.nan, math.nan, math.nan)
    if method == BASELINE or BASELINE not in merits:
        return nothing, math.nan
    paired = (merits[method] - merits[BASELINE]).dropna().to_numpy(dtype=float)
    middle, error = _mean_and_error(paired, overlap)
    if error < ROUND_OFF:
        # Equal on every split is no gain; a difference that never varies is one split, repeated.
        if abs(middle) < ROUND_OFF:
            return Interval(0.0, 0.0, 0.0), 1.0
        return nothing._replace(value=middle), math.nan
    p = 2 * float(stats.t.sf(abs(middle) / error, max(1, len(paired) - 1)))
    return mean_interval(paired, overlap), p


def _adjusted(lines: Sequence[Line]) -> list[Line]:
    """With p by Holm over the methods; the network as deployed is none."""
    tested = [line for line in lines if line.method != DEPLOYED]
    adjusted = holm_adjusted([line.p for line in tested])
    p = {line.method: mine for line, mine in zip(tested, adjusted, strict=True)}
    found = []
    for line in lines:
        mine = p.get(line.method, math.nan)
        found.append(replace(line, p=mine, gain_shown=mine < ALPHA and line.gain.value > 0))
    return found


def _on_the_front(lines: Sequence[Line]) -> list[Line]:
    """With the Pareto front of each kind marked; an undefined gap is never on it."""
    return [
        replace(
            line,
            pareto=not math.isnan(line.mean_gap + line.mean_performance)
            and not any(
                _beats(rival, line) for rival in lines if rival.needs_group == line.needs_group
            ),
        )
        for line in lines
    ]


def _beats(one: Line, other: Line) -> bool:
    gap, performance = one.mean_gap - other.mean_gap, one.mean_performance - other.mean_performance
    return gap <= 0 <= performance and (gap < 0 or performance > 0)

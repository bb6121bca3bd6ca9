"""Report lines as Markdown: means by method, by data set, and paired gains over gda."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd
from scipy import stats

from benchmarks.choose.results import Line
from fairfix.bench.synthetic import SYNTHETIC

BASELINE = "gda"
LIMIT_CONFIDENCE = 0.9


class Mean(NamedTuple):
    """A mean over cells, its standard error, and its one-sided lower 90 % limit."""

    value: float
    error: float
    low: float

    def __str__(self) -> str:
        return f"{self.value:.3f}" + ("" if math.isnan(self.error) else f" ± {self.error:.3f}")


def clustered_mean(values: pd.Series[float], clusters: pd.Series[str] | pd.Series[int]) -> Mean:
    """Return the mean of all cells with an error that allows for dependence within clusters.

    The error is cluster-robust with the correction C / (C - 1); the limit is that of Student's t
    with C - 1 degrees of freedom. Both are NaN for one cluster.
    """
    residuals = (values - values.mean()).groupby(clusters).sum()
    n = len(residuals)
    if n < 2:
        return Mean(float(values.mean()), math.nan, math.nan)
    error = math.sqrt(n / (n - 1) * float((residuals**2).sum())) / len(values)
    half = float(stats.t.ppf(LIMIT_CONFIDENCE, n - 1)) * error
    return Mean(float(values.mean()), error, float(values.mean()) - half)


def report(lines: Iterable[Line], metric: str, methods: Sequence[str]) -> str:
    """Return the tables of one metric, over the cells that all of these methods have.

    Args:
        lines: results; those of other methods and metrics are left out.
        metric: key of the metric.
        methods: rows of the tables, in this order; gains need ``BASELINE`` among them.
    """
    frame = _common_cells(lines, metric, methods)
    if frame.empty:
        return f"No cell has a result of each of {', '.join(methods)} for {metric}."
    seeds = frame.groupby("data_set", sort=False)["seed"].nunique()
    counts = ", ".join(f"{name} {n}" for name, n in seeds.items())
    by_method = dict(iter(frame.groupby("method", sort=False)))
    tables = [_overall(by_method), _by_data_set(by_method, list(seeds.index))]
    if BASELINE in by_method:
        tables.append(_gains(by_method, list(seeds.index)))
    return "\n\n".join([f"{metric}: networks by data set: {counts}.", *tables])


def summary(parts: Mapping[str, Iterable[Line]], metric: str, methods: Sequence[str]) -> str:
    """Return one table of a metric: objective, held / ceiling, BA and gain for each part of seeds.

    Args:
        parts: lines by name of the seeds; of each part, the cells that all of these methods have.
        metric: key of the metric.
        methods: rows of the table, in this order, ``BASELINE`` among them.
    """
    header, rows = ["method"], [[method] for method in methods]
    for name, lines in parts.items():
        frame = _common_cells(lines, metric, methods)
        by_method = dict(iter(frame.groupby("method", sort=False)))
        networks = len(by_method[BASELINE])
        header += [f"{name}, {networks} networks", "held/ceiling", "BA", f"over {BASELINE}"]
        for row, method in zip(rows, methods, strict=True):
            part = by_method[method]
            gain = clustered_mean(_paired(part, by_method[BASELINE]), part["family"])
            row += [
                str(clustered_mean(part["objective"], part["family"])),
                f"{part['held'].mean():.3f}/{part['ceiling'].mean():.3f}",
                f"{part['balanced_accuracy'].mean():.3f}",
                "" if method == BASELINE else _gain(gain),
            ]
    return f"{metric}:\n\n{markdown_table(header, rows)}"


def compare_settings(lines: Sequence[Line], metric: str) -> str:
    """Return a table of all methods among the lines, best first, over the cells that all have.

    The last column is the paired difference in objective to the best one, with its error.
    """
    lines = [line for line in lines if line.metric == metric]
    methods = list(dict.fromkeys(line.method for line in lines))
    frame = _common_cells(lines, metric, methods)
    if frame.empty:
        return f"No cell has a result of every setting for {metric}."
    real = ~frame["family"].isin(SYNTHETIC)
    parts = dict(iter(frame.groupby("method", sort=False)))
    ranked = sorted(parts, key=lambda name: -parts[name]["objective"].mean())
    best = parts[ranked[0]]
    rows = []
    for name in ranked:
        part = parts[name]
        difference = clustered_mean(_paired(part, best), part["family"])
        rows.append(
            [
                name,
                str(clustered_mean(part["objective"], part["family"])),
                f"{part.loc[real, 'objective'].mean():.3f}",
                f"{part.loc[~real, 'objective'].mean():.3f}",
                *(f"{part[column].mean():.3f}" for column in ("above_chance", "held", "ceiling")),
                f"{part['balanced_accuracy'].mean():.3f}",
                f"{difference.value:+.3f} ({difference.error:.3f})",
            ]
        )
    header = [
        "setting",
        "objective",
        "real",
        "synthetic",
        "BA - 0.5 where held",
        "budget held",
        "ceiling",
        "balanced accuracy",
        "behind the best (error)",
    ]
    cells = frame[["data_set", "seed"]].drop_duplicates()
    return f"{metric}, {len(cells)} networks:\n\n{markdown_table(header, rows)}"


def _common_cells(lines: Iterable[Line], metric: str, methods: Sequence[str]) -> pd.DataFrame:
    """Return the figures of the cells that have a line of every method, by method."""
    wanted = [line for line in lines if line.metric == metric and line.method in methods]
    sets = [{line.cell for line in wanted if line.method == method} for method in methods]
    common = set.intersection(*sets) if sets else set()
    rows = [line.figures() for line in wanted if line.cell in common]
    if not rows:
        return pd.DataFrame()
    order = {method: n for n, method in enumerate(methods)}
    return pd.DataFrame(rows).sort_values(
        "method", key=lambda column: column.map(order), kind="stable"
    )


def _overall(by_method: dict[str, pd.DataFrame]) -> str:
    """Return means over all cells; errors are clustered by family of data sets."""
    rows = []
    for method, part in by_method.items():
        rows.append(
            [
                method,
                str(clustered_mean(part["objective"], part["family"])),
                f"{part['above_chance'].mean():.3f}",
                f"{part['held'].mean():.3f}",
                f"{part['ceiling'].mean():.3f}",
                f"{part['balanced_accuracy'].mean():.3f}",
            ]
        )
    header = [
        "method",
        "objective",
        "BA - 0.5 where held",
        "budget held",
        "ceiling",
        "balanced accuracy",
    ]
    return markdown_table(header, rows)


def _by_data_set(by_method: dict[str, pd.DataFrame], data_sets: Sequence[str]) -> str:
    """Return objective with its error over networks, share held / ceiling, balanced accuracy."""
    rows = []
    for method, part in by_method.items():
        row = [method]
        for name in data_sets:
            own = part[part["data_set"] == name]
            objective = clustered_mean(own["objective"], own["seed"])
            held = f"{own['held'].mean():.2f}/{own['ceiling'].mean():.2f}"
            row.append(f"{objective}; {held}; {own['balanced_accuracy'].mean():.3f}")
        rows.append(row)
    return markdown_table(["objective; held/ceiling; BA", *data_sets], rows)


def _gains(by_method: dict[str, pd.DataFrame], data_sets: Sequence[str]) -> str:
    """Return paired differences in objective to the baseline, each with its lower limit."""
    rows = []
    for method, part in by_method.items():
        if method == BASELINE:
            continue
        paired = part.assign(gain=_paired(part, by_method[BASELINE]))
        row = [method, _gain(clustered_mean(paired["gain"], paired["family"]))]
        for name in data_sets:
            own = paired[paired["data_set"] == name]
            row.append(_gain(clustered_mean(own["gain"], own["seed"])))
        rows.append(row)
    return markdown_table([f"gain over {BASELINE} (error; lower 90 %)", "all", *data_sets], rows)


def _paired(part: pd.DataFrame, other: pd.DataFrame) -> pd.Series[float]:
    """Return the difference in objective to the other method on the same cell, row by row."""
    keys = ["data_set", "seed"]
    there = other.set_index(keys)["objective"]
    difference = part.set_index(keys)["objective"].sub(there)
    return pd.Series(difference.to_numpy(), part.index)


def _gain(gain: Mean) -> str:
    if math.isnan(gain.error):
        return f"{gain.value:+.3f}"
    return f"{gain.value:+.3f} ({gain.error:.3f}; {gain.low:+.3f})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

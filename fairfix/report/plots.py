"""Plots of a document on matplotlib axes: gaps, rates, ROC, scores, calibration, trade-off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fairfix._utils.optional_packages import needed_for
from fairfix._utils.text import did_you_mean, unique_labels
from fairfix.errors import UsageError
from fairfix.metrics.fairness_metrics import title
from fairfix.metrics.rates import false_positive_rate, true_positive_rate
from fairfix.report.explorer import Explored, ExploredColumn
from fairfix.report.figures import Figure, budget_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Document = Mapping[str, Any]
SCORE_BINS = 25
RATES = ("selection_rate", "tpr", "fpr", "accuracy")


@dataclass(frozen=True)
class Plotted:
    """What the plots of a result show.

    Attributes:
        measured: evaluations in a document by title; the last is that of the result.
        claim: key of the metric and its budget.
        explored: scores by group; None if there are none.
        calibration: of all rows and of each group, in a document.
        tradeoff: points of the trade-off curve with ``x_title``, and those in use.
        checks: of a gate.
    """

    measured: Mapping[str, Document]
    claim: tuple[str, float] | None = None
    explored: Explored | None = None
    calibration: Sequence[Document] = ()
    tradeoff: Sequence[tuple[float, float, bool]] = ()
    x_title: str = ""
    y_title: str = ""
    checks: Sequence[Document] = ()


def plot(plotted: Plotted, kind: str, axes: Axes | None = None) -> Axes:
    """Draw one kind of plot and return its axes.

    Args:
        kind: "gaps", "rates", "roc", "scores", "calibration" or "tradeoff".
        axes: where to draw; by default new ones.

    Raises:
        UsageError: for another kind, one that this result has no data for, or without matplotlib.
    """
    if kind not in KINDS:
        raise UsageError(
            f"There is no plot {kind!r}{did_you_mean(kind, KINDS)} Plots are {', '.join(KINDS)}."
        )
    draw, has_data = KINDS[kind]
    if not has_data(plotted):
        others = [name for name, (_, has) in KINDS.items() if has(plotted)]
        raise UsageError(f"This result has no data for the plot {kind!r}; it has {others[0]!r}.")
    axes = _new_axes() if axes is None else axes
    draw(plotted, axes)
    return axes


def _new_axes() -> Axes:
    with needed_for("A plot", "matplotlib", "notebook"):
        from matplotlib.figure import Figure as Canvas
    return Canvas(figsize=(7, 4.5), layout="constrained").subplots()


def _gaps(plotted: Plotted, axes: Axes) -> None:
    if plotted.checks:
        _checks(plotted.checks, axes)
        return
    assert plotted.claim is not None
    claimed, budget = plotted.claim
    keys = [key for key in next(iter(plotted.measured.values()))["gaps"] if key != "di"]
    keys = sorted(keys, key=lambda key: key != claimed)
    for k, (name, measured) in enumerate(plotted.measured.items()):
        offset = 0.22 * (k - (len(plotted.measured) - 1) / 2)
        _whiskers(axes, [Figure.of(measured["gaps"][key]) for key in keys], offset, name)
    if claimed in keys:
        axes.axvspan(*budget_band(claimed, budget), alpha=0.15, color="tab:green", lw=0)
    axes.axvline(0, color="gray", lw=1)
    _rows(axes, [title(key) for key in keys])
    axes.set_xlabel("gap")


def _checks(checks: Sequence[Document], axes: Axes) -> None:
    _whiskers(axes, [Figure.of(each) for each in checks], 0, "measured")
    limits, places = [each["limit"] for each in checks], range(len(checks))
    axes.plot(limits, places, "|", ms=16, mew=2, color="tab:red", label="limit", ls="none")
    _rows(axes, [f"{each['demand']}: {each['verdict']}" for each in checks])
    axes.set_xlabel("value")


def _rates(plotted: Plotted, axes: Axes) -> None:
    measured = list(plotted.measured.values())[-1]
    names = unique_labels(group["name"] for group in measured["groups"])
    for i, group in enumerate(measured["groups"]):
        figures = [Figure.of(group["rates"][key]) for key in RATES]
        offset = 0.6 * (i - (len(names) - 1) / 2) / max(2, len(names))
        _whiskers(axes, figures, offset, names[group["name"]])
    _rows(axes, [title(key) for key in RATES])
    axes.set_xlim(0, 1)
    axes.set_xlabel("rate")


def _whiskers(axes: Axes, figures: Sequence[Figure], offset: float, label: str) -> None:
    """Draw one series of figures with their intervals, from top to bottom."""
    values = np.array([np.nan if f.value is None else f.value for f in figures])
    ends = np.array([f.bounds or (np.nan, np.nan) for f in figures])
    errors = np.nan_to_num(np.abs(ends.T - values))
    places = np.arange(len(values)) + offset
    axes.errorbar(values, places, xerr=errors, fmt="o", ms=5, capsize=2, label=label)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)


def _roc(plotted: Plotted, axes: Axes) -> None:
    column = _column(plotted)
    counts = column.bins.counts()
    x, y = false_positive_rate(counts).value, true_positive_rate(counts).value
    labels = unique_labels(column.bins.groups)
    axes.plot([0, 1], [0, 1], color="gray", lw=1, ls="--")
    for g, name in enumerate(column.bins.groups):
        (line,) = axes.plot(x[:, g], y[:, g], label=labels[name])
        if column.in_use is not None:
            at = column.bins.edges.index(column.in_use[g])
            axes.plot(x[at, g], y[at, g], "o", color=line.get_color())
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.legend()


def _scores(plotted: Plotted, axes: Axes) -> None:
    column = _column(plotted)
    edges = np.array(column.bins.edges)
    above = column.bins.above.numpy().reshape(len(edges), -1, 2).sum(-1)
    labels, grid = unique_labels(column.bins.groups), np.linspace(0, 1, SCORE_BINS + 1)
    for g, name in enumerate(column.bins.groups):
        at = np.interp(grid, edges[1:], above[1:, g])
        at[0], at[-1] = above[0, g], 0  # rows with a score of 0 or 1
        drawn = axes.stairs((at[:-1] - at[1:]) / above[0, g], grid, label=labels[name], lw=1.5)
        if column.in_use is not None:
            axes.axvline(column.in_use[g], color=drawn.get_edgecolor(), ls="--", lw=1)
    axes.set(xlabel="score", ylabel="share of the group's rows")
    axes.legend()


def _calibration(plotted: Plotted, axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="gray", lw=1, ls="--")
    for part in plotted.calibration[1:]:
        points = [(each["mean_score"], each["rate"]["value"]) for each in part["bins"]]
        known = [point for point in points if None not in point]
        axes.plot(*np.array(known).reshape(-1, 2).T, "o-", ms=4, label=part["name"])
    axes.set(xlabel="mean score", ylabel="share of favorable labels")
    axes.legend()


def _tradeoff(plotted: Plotted, axes: Axes) -> None:
    points = sorted(plotted.tradeoff)
    axes.plot(*np.array([(x, y) for x, y, _ in points]).T, ".-")
    for x, y, chosen in points:
        if chosen:
            axes.plot(x, y, "o", color="tab:red", label="in use")
            axes.legend()
    axes.set(xlabel=plotted.x_title, ylabel=plotted.y_title)


def _column(plotted: Plotted) -> ExploredColumn:
    assert plotted.explored is not None
    return plotted.explored.columns[0]


def _has_labels(plotted: Plotted) -> bool:
    return plotted.explored is not None and _column(plotted).bins.labeled


KINDS: dict[str, tuple[Callable[[Plotted, Axes], None], Callable[[Plotted], bool]]] = {
    "gaps": (_gaps, lambda plotted: bool(plotted.checks or plotted.measured)),
    "rates": (_rates, lambda plotted: bool(plotted.measured)),
    "roc": (_roc, _has_labels),
    "scores": (_scores, lambda plotted: plotted.explored is not None),
    "calibration": (_calibration, lambda plotted: bool(plotted.calibration)),
    "tradeoff": (_tradeoff, lambda plotted: bool(plotted.tradeoff)),
}

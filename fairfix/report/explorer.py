"""The threshold explorer of a page: embedded counts, one script, and the curves it moves along."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

import torch
from markupsafe import Markup

from fairfix._utils.text import shorten, unique_labels
from fairfix.metrics.fairness_metrics import METRICS, rates
from fairfix.metrics.performance import PERFORMANCES
from fairfix.metrics.rates import (
    REPORTED,
    Rate,
    false_positive_rate,
    positive_predictive_value,
    true_positive_rate,
)
from fairfix.report.audit_charts import GroupCurve, precision_recall_curves, roc_curves
from fairfix.report.figures import thin
from fairfix.report.svg import Point
from fairfix.stats.intervals import MIN_COUNT, normal_quantile
from fairfix.thresholds.score_bins import ScoreBins

SHOWN_CURVES = 6
CURVE_POINTS = 128


@dataclass(frozen=True)
class ExploredColumn:
    """The counts by the groups of one column, and the thresholds in use.

    Attributes:
        in_use: (G,) one for each group of ``bins``; None if the rule has none by this column.
    """

    name: str
    bins: ScoreBins
    in_use: tuple[float, ...] | None


@dataclass(frozen=True)
class Explored:
    """What the explorer of a page embeds.

    Attributes:
        columns: at least one, with equal thresholds.
        rule: the rule in use, as its JSON document.
        fallback: a threshold to start at where none is in use.
        alpha: error of each side of an interval; ``exact``: use exact limits for every rate.
        clustered: rows are not independent, so that the counts do not give an interval.
        sweep: results of shared thresholds, as in the document of an audit; None if there are none.
        gate: the command that tests a choice, up to the choice.
    """

    columns: tuple[ExploredColumn, ...]
    rule: Mapping[str, Any]
    fallback: float
    alpha: float
    exact: bool
    clustered: bool
    sweep: Mapping[str, Any] | None
    gate: str


def explorer_section(
    explored: Explored,
    claim: Mapping[str, Any],
    performance: str,
    drawn: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the values of the explorer for a template.

    Args:
        claim: the claim of the first column, in its document.
        performance: key of the performance measure on the trade-off curve.
        drawn: groups with a curve, in the order of their line styles; the first ones if it has
            none of this column.
    """
    first = explored.columns[0]
    names = unique_labels(first.bins.groups)
    known = not names.keys().isdisjoint(drawn)
    chosen = drawn if known else first.bins.groups[:SHOWN_CURVES]
    styles = {name: style for style, name in enumerate(chosen) if name in names}
    roc, precision_recall = (
        (false_positive_rate, true_positive_rate),
        (true_positive_rate, positive_predictive_value),
    )
    return {
        "data": _embedded(_data(explored, claim, performance)),
        "script": Markup(script()),
        "policy": Markup(_script_policy()),
        "command": _command(explored, claim),
        "columns": [shorten(column.name) for column in explored.columns],
        "left_out": [shorten(name) for name in first.bins.left_out],
        "steps": len(first.bins.edges),
        "clustered": explored.clustered,
        "labeled": first.bins.labeled,
        "in_use": first.in_use is not None,
        "fallback": explored.fallback,
        "score_model": "score_model" in explored.rule,
        "curves": first.bins.labeled
        and {
            "ROC by group": roc_curves(_curves(first, styles, *roc)),
            "Precision-recall by group": precision_recall_curves(
                _curves(first, styles, *precision_recall)
            ),
        },
        "curve_labels": [(style, names[name]) for name, style in styles.items()],
        "curves_left_out": len(names) - len(styles),
    }


def _command(explored: Explored, claim: Mapping[str, Any]) -> str:
    """Return the command that tests a choice, which the script replaces by that of the choice."""
    at = f"--threshold {explored.fallback!r}"
    return f"{explored.gate} {at} --budget {claim['metric']}={claim['budget']!r}"


def _script_policy() -> str:
    """Return the source that a Content-Security-Policy must allow for the script."""
    return f"'sha256-{b64encode(sha256(script().encode()).digest()).decode()}'"


@cache
def script() -> str:
    """Return the script; it is the same on every page."""
    return (resources.files("fairfix.report") / "explorer.js").read_text(encoding="utf-8")


def _embedded(data: Mapping[str, Any]) -> Markup:
    """Return data as JSON that no HTML parser can take for the end of its element."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _data(explored: Explored, claim: Mapping[str, Any], performance: str) -> dict[str, Any]:
    labeled = explored.columns[0].bins.labeled
    metrics = [metric for metric in METRICS.values() if labeled or not metric.needs_labels]
    return {
        "edges": list(explored.columns[0].bins.edges),
        "columns": [_column(column) for column in explored.columns],
        "labeled": labeled,
        "alpha": explored.alpha,
        "z": normal_quantile(explored.alpha),
        "exact": explored.exact,
        "few": MIN_COUNT,
        "intervals": not explored.clustered,
        "fallback": explored.fallback,
        "rates": {
            key: {
                "title": rate.title,
                "hits": list(rate.hits),
                "trials": list(rate.trials),
                "labels": rate.needs_labels,
            }
            for key, rate in rates().items()
        },
        "shown": [rate.key for rate in REPORTED if labeled or not rate.needs_labels],
        "metrics": [
            {
                "key": metric.key,
                "title": metric.title,
                "rates": [rate.key for rate in metric.rates],
                "contrast": str(metric.contrast),
            }
            for metric in sorted(metrics, key=lambda metric: metric.key != claim["metric"])
        ],
        "performances": [[key, each.title] for key, each in PERFORMANCES.items() if labeled],
        "performance": performance if performance in PERFORMANCES else "balanced_accuracy",
        "claim": {"metric": claim["metric"], "budget": claim["budget"]},
        "gate": explored.gate,
        "budget": f"{claim['metric']}={claim['budget']!r}",
        "rule": _unbound(explored.rule),
    }


def _unbound(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule without thresholds, and not tuned for a budget or part of a report."""
    dropped = {"threshold", "thresholds", "lottery", "salt", "id_column"}
    kept = {key: value for key, value in rule.items() if key not in dropped}
    return {**kept, "metric": None, "budget": None, "report_sha256": None}


def _column(column: ExploredColumn) -> dict[str, Any]:
    bins = column.bins
    above = bins.above.T.reshape(len(bins.groups), 2, -1).tolist()
    compare = METRICS["spd"].sign(list(unique_labels(bins.groups).values()))
    total = bins.counts().take(0).total()
    return {
        "name": column.name,
        "names": list(bins.groups),
        "groups": list(unique_labels(bins.groups).values()),
        "above": [[_integers(label) for label in group] for group in above],
        "effects": list(bins.effects),
        "effect": float(total.design_effect),
        "start": None if column.in_use is None else list(column.in_use),
        "sign": f"Gaps are {compare}.",
    }


def _integers(values: Sequence[float]) -> list[float]:
    return [int(value) if value == int(value) else value for value in values]


def _curves(
    column: ExploredColumn, styles: Mapping[str, int], across: Rate, up: Rate
) -> list[GroupCurve]:
    """Return a curve of two rates for each group in ``styles``, with the point in use."""
    bins = column.bins
    counts = bins.counts()
    points = torch.stack([across(counts).value, up(counts).value], -1)
    kept = thin(len(bins.edges), CURVE_POINTS)
    curves = []
    for name, style in styles.items():
        g = bins.groups.index(name)
        at = None if column.in_use is None else bins.edges.index(column.in_use[g])
        operating = None if at is None else _point(*points[at, g].tolist())
        drawn = [_point(*point) for point in points[kept, g].tolist() if not math.isnan(point[0])]
        curves.append(GroupCurve(style, g, drawn, operating))
    return curves


def _point(x: float, y: float) -> Point:
    return x, None if math.isnan(y) else y

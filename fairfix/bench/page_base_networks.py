"""Sections of the study page on the base networks: their gaps and weight attributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fairfix._utils.text import format_number
from fairfix.bench.attribution_summary import AttributionSummary
from fairfix.bench.base_network_summary import BaseNetworkSummary
from fairfix.bench.charts import BoxStrips
from fairfix.bench.split_statistics import MeanSd, mean_sd, quartiles
from fairfix.metrics.fairness_metrics import title as title_of
from fairfix.metrics.performance import PERFORMANCES
from fairfix.report.svg import Scale

View = dict[str, Any]

LISTED = 100
LISTED_PARAMETERS = 3  # the most influential ones


def base_networks_view(summaries: Sequence[BaseNetworkSummary]) -> View | None:
    """Return gaps and performance of the unmodified networks; None without several splits."""
    shown = [each for each in summaries if each.splits > 1][:LISTED]
    if not shown:
        return None
    gaps = [each.gaps[metric] for each in shown for metric in each.metrics]
    defined = [value for values in gaps for value in values if not math.isnan(value)]
    boxes = BoxStrips(Scale.over([0.0, *defined]))
    # Rows of other versions can lack a measure.
    keys = [k for k in (*PERFORMANCES, "auc") if all(k in each.performances for each in shown)]
    return {
        "axis": boxes.axis(),
        "rows": [
            {
                "task": each.task,
                "metric": title_of(metric),
                "strip": _strip(boxes, each, metric),
                "gap": _mean_view(mean_sd(each.gaps[metric])),
                "accuracy": _mean_view(mean_sd(each.performances["accuracy"])),
            }
            for each in shown
            for metric in each.metrics
        ],
        "performances": [title_of(key) for key in keys],
        "listed": [
            {
                "task": each.task,
                "splits": each.splits,
                "figures": [_mean_view(mean_sd(each.performances[key])) for key in keys],
            }
            for each in shown
        ],
    }


def _strip(boxes: BoxStrips, each: BaseNetworkSummary, metric: str) -> Any:
    gaps = each.gaps[metric]
    spread = quartiles(pd.Series(gaps))
    title = f"{each.task}, {metric}: median {format_number(spread.median)} over {len(gaps)} splits"
    return boxes.strip(gaps.tolist(), spread, title)


def _mean_view(figure: MeanSd) -> View:
    """Return a mean with its standard deviation as text."""
    sd = "" if math.isnan(figure.sd) else f"sd {format_number(figure.sd)}"
    return {"text": format_number(figure.mean), "interval": sd}


def attribution_view(summaries: Sequence[AttributionSummary]) -> View | None:
    """Return the weight attributions; None if the study has none."""
    if not summaries:
        return None
    first = summaries[0]
    return {
        "draws": first.draws,
        "sd": first.sd,
        "counts": list(first.share_of_largest),
        "rows": [
            {
                "task": each.task,
                "metric": title_of(each.metric),
                "splits": each.splits,
                "r2": _mean_view(each.r2),
                "r2_of_decisions": _mean_view(each.r2_of_decisions),
                "r2_of_fit": _mean_view(each.r2_of_fit),
                "shares": [
                    format_number(share.mean, 2) for share in each.share_of_largest.values()
                ],
                "parameters": [
                    (name, format_number(share, 2))
                    for name, share in [*each.shares.items()][:LISTED_PARAMETERS]
                ],
                "singular_values": " to ".join(
                    format_number(end, 2) for end in each.singular_range
                ),
            }
            for each in summaries[:LISTED]
        ],
    }

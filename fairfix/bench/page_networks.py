"""The parts of a study's page that speak of base networks: as deployed, and their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from fairfix.bench.attribution_summary import Attributions
from fairfix.bench.base_networks import Networks
from fairfix.bench.charts import Boxes, title
from fairfix.bench.split_statistics import MeanSd, mean_sd, quartiles
from fairfix.metrics.rates import PERFORMANCES
from fairfix.report.figures import number
from fairfix.report.svg import Scale

Shown = dict[str, Any]

LISTED = 100
PARAMETERS = 3  # of most influence


def deployed(found: Sequence[Networks]) -> Shown | None:
    """Gaps and performances of the networks as deployed; None of single ones."""
    several = [each for each in found if each.splits > 1][:LISTED]
    if not several:
        return None
    known = [each.gaps[metric] for each in several for metric in each.goals]
    boxes = Boxes(Scale.over([0.0, *(v for gaps in known for v in gaps if not math.isnan(v))]))
    keys = [*PERFORMANCES, "auc"]
    return {
        "axis": boxes.axis(),
        "rows": [
            {
                "task": each.task,
                "metric": title(metric),
                "strip": _strip(boxes, each, metric),
                "gap": center(mean_sd(each.gaps[metric])),
                "accuracy": center(mean_sd(each.performances["accuracy"])),
            }
            for each in several
            for metric in each.goals
        ],
        "performances": [title(key) for key in keys],
        "listed": [
            {
                "task": each.task,
                "splits": each.splits,
                "figures": [center(mean_sd(each.performances[key])) for key in keys],
            }
            for each in several
        ],
    }


def _strip(boxes: Boxes, each: Networks, metric: str) -> Any:
    gaps = each.gaps[metric]
    summary = quartiles(pd.Series(gaps))
    said = f"{each.task}, {metric}: median {number(summary.median)} over {len(gaps)} splits"
    return boxes.strip(gaps.tolist(), summary, said)


def center(figure: MeanSd) -> Shown:
    """A mean, and its standard deviation below it."""
    sd = "" if math.isnan(figure.sd) else f"sd {number(figure.sd)}"
    return {"text": number(figure.mean), "interval": sd}


def carried(found: Sequence[Attributions]) -> Shown | None:
    """Which weights carry the gaps; None where that was not asked for."""
    if not found:
        return None
    first = found[0]
    return {
        "draws": first.draws,
        "sd": first.sd,
        "numbers": list(first.share_of_largest),
        "rows": [
            {
                "task": each.task,
                "metric": title(each.metric),
                "splits": each.splits,
                "r2": center(each.r2),
                "of_decisions": center(each.r2_of_decisions),
                "of_fit": center(each.r2_of_fit),
                "shares": [number(share.mean, 2) for share in each.share_of_largest.values()],
                "parameters": [
                    (name, number(share, 2)) for name, share in [*each.shares.items()][:PARAMETERS]
                ],
                "singular": " to ".join(number(end, 2) for end in each.singular_ends),
            }
            for each in found[:LISTED]
        ],
    }

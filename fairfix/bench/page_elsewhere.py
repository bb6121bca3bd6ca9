"""Section of the study page on gaps that methods did not aim at: other rows and other groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fairfix._utils.text import format_number
from fairfix.metrics.fairness_metrics import title as title_of

if TYPE_CHECKING:
    import pandas as pd

FIGURES = ("training_gap", "validation_gap", "gap", "other_gap", "other_gap_retuned")
LISTED = 200


def elsewhere_view(cells: pd.DataFrame) -> list[dict[str, Any]]:
    """Return mean absolute gaps by task, metric and method, of cells that have training gaps.

    Args:
        cells: see ``cell_table``.
    """
    if "training_gap" not in cells:
        return []
    known = cells[cells["training_gap"].notna()]
    if "other_gap" not in known:
        known = known.assign(other_gap=float("nan"), other_gap_retuned=float("nan"))
    sizes = known.assign(**{name: known[name].abs() for name in FIGURES})
    keys = ["task", "metric", "method"]
    means = sizes.groupby(keys, sort=False, as_index=False)[list(FIGURES)].mean()
    return [
        {
            "task": row["task"],
            "metric": title_of(row["metric"]),
            "method": row["method"],
            "figures": [
                "" if math.isnan(row[name]) else format_number(row[name]) for name in FIGURES
            ],
        }
        for row in means.head(LISTED).to_dict("records")
    ]

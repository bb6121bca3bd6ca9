"""Time one fit of another tool in that tool's own environment; does not import fairfix.

``python peer_fits.py TOOL ROWS.npz BOUND`` prints the CPU seconds of the fit, and its balanced
accuracy and gap on those rows.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Decide = Callable[[], Array]
# Fits to scores, labels and groups (N,) within a bound; the result decides the same rows.
Fit = Callable[[Array, Array, Array, float], Decide]


def oxonfair(scores: Array, labels: Array, groups: Array, bound: float) -> Decide:
    from oxonfair import FairPredictor, group_metrics

    rows = {"data": np.stack([1 - scores, scores], 1), "target": labels, "groups": groups}
    predictor = FairPredictor(None, rows)
    predictor.fit(group_metrics.balanced_accuracy, group_metrics.demographic_parity, bound)
    return lambda: np.asarray(predictor.predict(rows)).ravel() == 1


def error_parity(scores: Array, labels: Array, groups: Array, bound: float) -> Decide:
    """Minimize the cost of errors; with costs by base rate that is balanced accuracy."""
    from error_parity import RelaxedThresholdOptimizer

    optimizer = RelaxedThresholdOptimizer(
        predictor=lambda column: column[:, 0],
        constraint="demographic_parity",
        tolerance=bound,
        false_pos_cost=1 / (1 - labels.mean()),
        false_neg_cost=1 / labels.mean(),
        seed=0,
    )
    optimizer.fit(X=scores[:, None], y=labels, group=groups)
    return lambda: np.asarray(optimizer(scores[:, None], group=groups)) == 1


FITS: dict[str, Fit] = {"oxonfair": oxonfair, "error-parity": error_parity}


def balanced_accuracy(decisions: Array, labels: Array) -> float:
    """Return the mean of the true positive and the true negative rate."""
    return float(decisions[labels == 1].mean() + 1 - decisions[labels == 0].mean()) / 2


def main(tool: str, rows: str, bound: str) -> None:
    """Fit once on a few rows, so that everything is loaded, then on all rows, timed."""
    with np.load(rows) as saved:
        scores, labels, groups = saved["scores"], saved["labels"], saved["groups"]
    fit = FITS[tool]
    fit(scores[:2_000], labels[:2_000], groups[:2_000], float(bound))
    start = time.process_time()
    decide = fit(scores, labels, groups, float(bound))
    seconds = time.process_time() - start
    decisions = decide()
    gap = float(decisions[groups == 0].mean() - decisions[groups == 1].mean())
    performance = balanced_accuracy(decisions, labels)
    print(json.dumps({"seconds": seconds, "performance": performance, "gap": gap}))


if __name__ == "__main__":
    main(*sys.argv[1:])

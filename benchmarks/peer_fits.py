"""Fit other tools in an environment of their own; does not import fairfix.

``python peer_fits.py time TOOL ROWS.npz BOUND`` prints the CPU seconds of a fit, and its balanced
accuracy and gap on those rows. ``python peer_fits.py decide TOOL METRIC BOUND SCORES.npz ...`` fits
the validation rows of each file of ``benchmarks.choose`` and prints counts of its test rows.
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
Decide = Callable[[Array, Array], Array]  # of scores and groups (N,), decisions (N,) bool
# Fits scores, labels and groups (N,) within a bound on the gap of a metric, "spd" or "eod".
Fit = Callable[[Array, Array, Array, float, str], Decide]


def oxonfair(scores: Array, labels: Array, groups: Array, bound: float, metric: str) -> Decide:
    from oxonfair import FairPredictor, group_metrics

    gaps = {"spd": group_metrics.demographic_parity, "eod": group_metrics.equal_opportunity}
    rows = {"data": np.stack([1 - scores, scores], 1), "target": labels, "groups": groups}
    predictor = FairPredictor(None, rows)
    predictor.fit(group_metrics.balanced_accuracy, gaps[metric], bound)

    def decide(scores: Array, groups: Array) -> Array:
        unlabeled = np.zeros(len(scores), dtype=labels.dtype)
        rows = {"data": np.stack([1 - scores, scores], 1), "target": unlabeled, "groups": groups}
        return np.asarray(predictor.predict(rows)).ravel() == 1

    return decide


def error_parity(scores: Array, labels: Array, groups: Array, bound: float, metric: str) -> Decide:
    """Minimize the cost of errors; with costs by base rate that is balanced accuracy."""
    from error_parity import RelaxedThresholdOptimizer

    constraints = {"spd": "demographic_parity", "eod": "true_positive_rate_parity"}
    optimizer = RelaxedThresholdOptimizer(
        predictor=lambda column: column[:, 0],
        constraint=constraints[metric],
        tolerance=bound,
        false_pos_cost=1 / (1 - labels.mean()),
        false_neg_cost=1 / labels.mean(),
        seed=0,
    )
    optimizer.fit(X=scores[:, None], y=labels, group=groups)
    return lambda scores, groups: np.asarray(optimizer(scores[:, None], group=groups)) == 1


FITS: dict[str, Fit] = {"oxonfair": oxonfair, "error-parity": error_parity}


def balanced_accuracy(decisions: Array, labels: Array) -> float:
    """Return the mean of the true positive and the true negative rate."""
    return float(decisions[labels == 1].mean() + 1 - decisions[labels == 0].mean()) / 2


def time_fit(tool: str, rows: str, bound: str) -> None:
    """Fit once on a few rows, so that everything is loaded, then on all rows, timed."""
    with np.load(rows) as saved:
        scores, labels, groups = saved["scores"], saved["labels"], saved["groups"]
    fit, few = FITS[tool], slice(2_000)
    fit(scores[few], labels[few], groups[few], float(bound), "spd")
    start = time.process_time()
    decide = fit(scores, labels, groups, float(bound), "spd")
    seconds = time.process_time() - start
    decisions = decide(scores, groups)
    gap = float(decisions[groups == 0].mean() - decisions[groups == 1].mean())
    performance = balanced_accuracy(decisions, labels)
    print(json.dumps({"seconds": seconds, "performance": performance, "gap": gap}))


def decide_test_rows(tool: str, metric: str, bound: str, *files: str) -> None:
    """Print, for each file, the counts by group on its test rows as one line of JSON."""
    for file in files:
        with np.load(file) as saved:
            names = [f"{part}_{n}" for part in ("validation", "test") for n in ROWS]
            scores, labels, groups, *test = (saved[name] for name in names)
        decide = FITS[tool](
            scores.astype(float), labels.astype(int), groups.astype(int), float(bound), metric
        )
        test_scores, test_labels, test_groups = test
        decisions = decide(test_scores.astype(float), test_groups.astype(int))
        counts = {
            side: [int((of & (test_groups == group)).sum()) for group in (0, 1)]
            for side, of in {
                "tp": decisions & (test_labels == 1),
                "fp": decisions & (test_labels == 0),
                "fn": ~decisions & (test_labels == 1),
                "tn": ~decisions & (test_labels == 0),
            }.items()
        }
        sys.stdout.write(json.dumps(counts) + "\n")
        sys.stdout.flush()


ROWS = ("scores", "labels", "groups")
COMMANDS: dict[str, Callable[..., None]] = {"time": time_fit, "decide": decide_test_rows}


if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])

"""The best rule of a synthetic problem when its probabilities are known.

What keeps a method from this bound is that it knows the probabilities from a few thousand rows, and
that it allows for the sampling error of the gap on them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from benchmarks.choose.report import markdown_table
from benchmarks.choose.results import METRIC_KEYS, objective_of
from fairfix.bench.synthetic import SYNTHETIC, Floats, SyntheticRows

N_ROWS = 1_000_000
_HALVINGS, _LARGEST = 50, 10.0


def bound(rows: SyntheticRows, metric: str) -> float:
    """Return the largest balanced accuracy of a rule that reads the features and meets the budget.

    It is positive where utility exceeds a multiple of unfairness (``fairfix.methods.blind``); the
    multiplier is the smallest that meets the budget, by bisection.
    """
    eta, budget = rows.label_probability, objective_of(metric).budget
    pi, in_inputs = eta.mean(), "A" in rows.feature_names
    gamma = rows.group.astype(float) if in_inputs else rows.group_probability
    utility = eta / (2 * pi) - (1 - eta) / (2 * (1 - pi))
    counted = np.ones_like(eta) if metric == "spd" else eta
    shares = (gamma * counted).mean(), ((1 - gamma) * counted).mean()
    unfairness = counted * (gamma / shares[0] - (1 - gamma) / shares[1])

    def gap(multiplier: float) -> float:
        return float(unfairness[utility > multiplier * unfairness].sum() / len(eta))

    sign = np.sign(gap(0))
    low, high = 0.0, sign * _LARGEST if abs(gap(0)) > budget else 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if sign * gap(middle) > budget else (low, middle)
    return float(0.5 + utility[utility > high * unfairness].sum() / len(eta))


def bounds(data_sets: Iterable[str]) -> str:
    """Return the bounds of the synthetic problems among the data sets as Markdown."""
    header = ["problem", "without a budget", *METRIC_KEYS]
    lines = []
    for name in data_sets:
        family, _, setting = name.partition("/")
        if family in SYNTHETIC:
            small = {"features": 1, "hidden": 1} if family == "zafar" else {}
            parameter, _, value = setting.partition("=")
            rows = SYNTHETIC[family].draw(N_ROWS, seed=0, **{parameter: float(value)}, **small)
            figures = [_unbounded(rows.label_probability), *(bound(rows, m) for m in METRIC_KEYS)]
            lines.append([name, *(f"{figure:.3f}" for figure in figures)])
    return markdown_table(header, lines)


def _unbounded(eta: Floats) -> float:
    pi = eta.mean()
    return float(0.5 + np.maximum(eta / (2 * pi) - (1 - eta) / (2 * (1 - pi)), 0).mean())

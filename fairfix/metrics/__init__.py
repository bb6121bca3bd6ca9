"""Fairness metrics, performance measures, and the objective built on them.

A metric is one entry of the registry. ``register`` adds one from outside; an installed package adds
one through the entry-point group ``fairfix.metrics``.
"""

from __future__ import annotations

from fairfix.metrics.contrasts import Contrast, Gap
from fairfix.metrics.counts import Counts, count
from fairfix.metrics.fairness_metrics import METRICS, Metric, get, goal, names, register
from fairfix.metrics.objective import Objective
from fairfix.metrics.performance import PERFORMANCES, Performance
from fairfix.metrics.rates import Rate

__all__ = [
    "METRICS",
    "PERFORMANCES",
    "Contrast",
    "Counts",
    "Gap",
    "Metric",
    "Objective",
    "Performance",
    "Rate",
    "count",
    "get",
    "goal",
    "names",
    "register",
]

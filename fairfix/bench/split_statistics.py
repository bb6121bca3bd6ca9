"""Statistics over the splits of a task: quartiles, means with intervals, paired gains.

Splits of one data set share rows, so their results vary less than results on new data would.
Confidence intervals and p-values allow for that (see ``mean_interval``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ALPHA = 0.05
MIN_SPLITS = 3
"""Fewest splits with an interval; that of two is wider than the range of any figure."""

ROUND_OFF = 1e-12


class Quartiles(NamedTuple):
    """Median and quartiles over splits."""

    median: float
    lower_quartile: float
    upper_quartile: float


class MeanInterval(NamedTuple):
    """Mean over splits with a 95 % confidence interval; the ends are NaN if it is undefined."""

    value: float
    low: float
    high: float


class MeanSd(NamedTuple):
    """Mean and standard deviation over splits; the latter is NaN for a single split."""

    mean: float
    sd: float


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return one scalar per name.

    The first field of a named tuple keeps the name, the others get the field name as a suffix:
    ``gain``, ``gain_low``, ``gain_high``.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            first, *others = getattr(value, "_fields")  # noqa: B009 (a named tuple)
            flat[name] = getattr(value, first)
            flat |= {f"{name}_{other}": getattr(value, other) for other in others}
        else:
            flat[name] = value
    return flat


def quartiles(values: pd.Series[Any]) -> Quartiles:
    """Return median and quartiles of the defined values."""
    low, middle, high = values.astype(float).quantile([0.25, 0.5, 0.75])
    return Quartiles(float(middle), float(low), float(high))


def mean_sd(values: Iterable[float]) -> MeanSd:
    """Return mean and sample standard deviation."""
    array = np.array([*values], dtype=float)
    sd = float(array.std(ddof=1)) if len(array) > 1 else math.nan
    return MeanSd(float(array.mean()), sd)


def mean_interval(
    values: np.ndarray,
    overlap: float = 0.0,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    fewest: int = 2,
) -> MeanInterval:
    """Return the mean and its 95 % t interval.

    Args:
        values: (splits,) one value per split.
        overlap: test rows per other row that splits are drawn from; 0 if every split has rows of
            its own. It widens the variance of the mean from s^2 / n to s^2 (1 / n + overlap).
        bounds: smallest and largest possible value, at which the interval ends.
        fewest: number of values below which there is no interval, at least 2.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 2003.
    """
    from scipy import stats

    mean, error = _mean_and_error(values, overlap)
    if len(values) < fewest:
        return MeanInterval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(1 - ALPHA / 2, max(1, len(values) - 1))) * error
    return MeanInterval(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]))


def paired_gain(
    values: pd.DataFrame, method: str, baseline: str, overlap: float
) -> tuple[MeanInterval, float]:
    """Return the mean paired difference to the baseline and its two-sided p-value.

    Args:
        values: (splits, methods) where larger is better; NaN if a method has no result.
        overlap: see ``mean_interval``.
    """
    from scipy import stats

    undefined = MeanInterval(math.nan, math.nan, math.nan)
    if method == baseline or baseline not in values:
        return undefined, math.nan
    differences = (values[method] - values[baseline]).dropna().to_numpy(dtype=float)
    mean, error = _mean_and_error(differences, overlap)
    if error < ROUND_OFF:
        # Equal on every split: no gain. A constant difference is the evidence of one split only.
        if abs(mean) < ROUND_OFF:
            return MeanInterval(0.0, 0.0, 0.0), 1.0
        return undefined._replace(value=mean), math.nan
    p = 2 * float(stats.t.sf(abs(mean) / error, max(1, len(differences) - 1)))
    return mean_interval(differences, overlap, (-1.0, 1.0), MIN_SPLITS), p


def _mean_and_error(values: np.ndarray, overlap: float) -> tuple[float, float]:
    """Return the mean and its standard error, NaN where undefined."""
    n = len(values)
    if n < 2:
        return (float(values[0]) if n else math.nan), math.nan
    return float(values.mean()), float(values.std(ddof=1)) * math.sqrt(1 / n + overlap)

"""Columns of measurements: many values with many digits, in which hardly any two rows agree."""

from __future__ import annotations

import numpy as np

MIN_VALUES = 50
"""Distinct values that a column of measurements exceeds."""

MIN_STEPS = 10_000
"""Steps between its smallest and largest value: 5 significant digits."""

_MAX_COLUMNS = 256  # that are searched
_ON_GRID = 0.02  # steps by which round-off moves a value off its grid


def measurements(values: np.ndarray) -> list[int]:
    """Return the columns of values (N, D) that hold measurements, that with most values first.

    Those are more than 50 values that are neither whole numbers nor, shifted and scaled, on a grid
    of fewer than 10,000 steps.
    """
    found = []
    for column in np.unique(np.linspace(0, values.shape[1] - 1, _MAX_COLUMNS).astype(int)):
        distinct = np.unique(values[:, column].astype(np.float64))
        whole = bool((distinct == np.rint(distinct)).all())
        if len(distinct) > MIN_VALUES and not whole and _grid_steps(distinct) >= MIN_STEPS:
            found.append((-len(distinct), int(column)))
    return [column for _, column in sorted(found)]


def _grid_steps(values: np.ndarray) -> float:
    """Return the steps from the first to the last of ascending values on their common grid.

    The step is found as by Euclid's algorithm; from 10,000 steps on the search ends.
    """
    span, step = values[-1] - values[0], float(np.diff(values).min())
    while span / step < MIN_STEPS:
        steps = (values - values[0]) / step
        off = np.abs(steps - np.rint(steps))
        if (off < _ON_GRID).all():
            break
        step *= float(off[off >= _ON_GRID].min())
    return float(span / step)

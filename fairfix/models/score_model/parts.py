"""Check the arrays and settings that a score model is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import UsageError

Setting = str | int | float | bool | None
"""A plain JSON scalar."""


def checked_array(name: str, value: Any, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array in a dtype that can hold its values.

    Args:
        name: for messages.
        value: array of finite numbers or bool.
        dtype: ``np.float64``, ``np.int64`` or ``np.bool_``.
        shape: expected; -1 is any length.

    Raises:
        UsageError: if kind or shape differ, or a value is not finite.
    """
    array = np.asarray(value)
    if not np.can_cast(array.dtype, dtype, "safe"):
        raise UsageError(f"The array {name!r} has {array.dtype} values, not {np.dtype(dtype)}.")
    wanted = tuple(
        have if want == -1 else want for want, have in zip(shape, array.shape, strict=False)
    )
    if array.ndim != len(shape) or array.shape != wanted:
        raise UsageError(f"The array {name!r} has shape {array.shape}, which does not fit.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(f"The array {name!r} has NaN or infinite values.")
    return array.astype(dtype)


def checked_indices(name: str, values: np.ndarray, end: int) -> None:
    """Raise ``UsageError`` unless all indices are in 0..end - 1."""
    if values.size and not (values.min() >= 0 and values.max() < end):
        raise UsageError(f"The array {name!r} has an index outside 0 to {end - 1}.")


def checked_number(
    settings: Mapping[str, Setting], name: str, low: float = -math.inf, high: float = math.inf
) -> float:
    """Return a finite number from the settings, strictly between ``low`` and ``high``.

    Raises:
        UsageError: if it is missing, not a number, or out of range.
    """
    value = settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"The setting {name!r} must be a number, not {value!r}.")
    if not (math.isfinite(value) and low < value < high):
        raise UsageError(f"The setting {name!r} is out of range: {value}.")
    return float(value)


def checked_count(settings: Mapping[str, Setting], name: str) -> int:
    """Return an integer of at least 1 from the settings.

    Raises:
        UsageError: if it is missing or not such an integer.
    """
    value = settings.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise UsageError(f"The setting {name!r} must be a positive integer, not {value!r}.")
    return value


def part(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray] | None:
    """Return the arrays named ``name.*`` without the prefix; None if there are none."""
    start = f"{name}."
    found = {
        key.removeprefix(start): value for key, value in arrays.items() if key.startswith(start)
    }
    return found or None


def prefixed(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays with the names ``name.*``."""
    return {f"{name}.{key}": value for key, value in arrays.items()}


def as_tensor(array: np.ndarray) -> Tensor:
    """Return a copy as a tensor."""
    return torch.from_numpy(array.copy())

"""Allowed values of parameters as data: ``Annotated[float, Range(0, 1)]`` in a signature."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fairfix.errors import UsageError


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers.

    >>> Range(0.5, 1, low_open=True, high_open=True).check("confidence", 2)
    Traceback (most recent call last):
        ...
    fairfix.errors.UsageError: confidence must be in (0.5, 1), not 2.

    Attributes:
        low, high: the ends; infinite if unbounded.
        low_open, high_open: whether the end itself is excluded.
    """

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        if isinstance(value, bool):  # True is no 1 here
            return False
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and _is_finite(value)

    def check(self, name: str, value: float) -> None:
        """Raise ``UsageError`` if the value is not in the range; ``name`` is the parameter's."""
        if value in self:
            return
        one_sided = math.isinf(self.low) != math.isinf(self.high)
        finite = "finite and " if one_sided and not _is_finite(value) else ""
        raise UsageError(f"{name} must be {finite}{self}, not {value}.")

    def __str__(self) -> str:
        """Return the range in words: "at least 1", "above 0", "in (0.5, 1)"."""
        ends = self.low, self.high
        low, high = (str(end) if isinstance(end, int) else f"{end:.12g}" for end in ends)
        if math.isinf(self.low) and math.isinf(self.high):
            return "finite"
        if math.isinf(self.high):
            return f"{'above' if self.low_open else 'at least'} {low}"
        if math.isinf(self.low):
            return f"{'below' if self.high_open else 'at most'} {high}"
        return f"in {'(' if self.low_open else '['}{low}, {high}{')' if self.high_open else ']'}"


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)

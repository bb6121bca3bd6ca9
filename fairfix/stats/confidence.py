"""The confidence level of verdicts and intervals, checked where it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fairfix._utils.constraints import Range

CONFIDENCE_RANGE = Range(0.5, 1, low_open=True, high_open=True)


@dataclass(frozen=True)
class ConfidenceLevel:
    """Confidence of each one-sided test, and whether its limits are exact.

    >>> ConfidenceLevel(2)
    Traceback (most recent call last):
        ...
    fairfix.errors.UsageError: confidence must be in (0.5, 1), not 2.

    Attributes:
        level: 1 - alpha of each one-sided test, in (0.5, 1).
        exact: use exact (Clopper-Pearson) limits for every rate; otherwise only where counts are
            too small for score limits.

    Raises:
        UsageError: if the level is out of range.
    """

    level: Annotated[float, CONFIDENCE_RANGE] = 0.95
    exact: bool = False

    def __post_init__(self) -> None:
        CONFIDENCE_RANGE.check("confidence", self.level)

    @property
    def alpha(self) -> float:
        """Error of each one-sided test, in (0, 0.5)."""
        return 1 - self.level

    @property
    def two_sided(self) -> float:
        """Confidence of the two-sided interval, 1 - 2 alpha."""
        return 2 * self.level - 1


DEFAULT_CONFIDENCE = ConfidenceLevel()

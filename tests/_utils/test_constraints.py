"""Ranges: which numbers they hold, and the messages and words for them."""

from __future__ import annotations

import math

import pytest

from fairfix._utils.constraints import Range
from fairfix.errors import UsageError

OPEN = Range(0.5, 1, low_open=True, high_open=True)


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Range(0, 1), [0, 0.5, 1], [-1e-9, 1.0000001, math.nan, math.inf]),
        (OPEN, [0.50001, 0.99999], [0.5, 1, 0, 2, math.nan]),
        (Range(0, 1, high_open=True), [0, 0.999], [1]),
        (Range(2), [2, 10**400, 2.5], [1, -(10**400), math.inf, math.nan]),
        (Range(0, low_open=True), [1e-300, 1e300], [0, -0.0, math.inf]),
        (Range(high=3), [3, -1e300], [3.1, -math.inf]),
        (Range(), [0, -1e300, 1e300], [math.inf, -math.inf, math.nan]),
    ],
)
def test_a_range_holds_finite_numbers_between_its_ends(
    allowed: Range, inside: list[float], outside: list[float]
) -> None:
    assert [value for value in inside if value not in allowed] == []
    assert [value for value in outside if value in allowed] == []
    for value in inside:
        allowed.check("x", value)
    for value in outside:
        with pytest.raises(UsageError):
            allowed.check("x", value)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Range(0, 1), "in [0, 1]"),
        (OPEN, "in (0.5, 1)"),
        (Range(0, 1, low_open=True), "in (0, 1]"),
        (Range(1), "at least 1"),
        (Range(0, low_open=True), "above 0"),
        (Range(high=10), "at most 10"),
        (Range(high=0.25, high_open=True), "below 0.25"),
        (Range(), "finite"),
        (Range(0, 2**63 - 1), "in [0, 9223372036854775807]"),
        (Range(1e-4, 0.3), "in [0.0001, 0.3]"),
    ],
)
def test_a_range_in_words(allowed: Range, words: str) -> None:
    assert str(allowed) == words


@pytest.mark.parametrize(
    ("allowed", "value", "message"),
    [
        (OPEN, 2, "confidence must be in (0.5, 1), not 2."),
        (Range(0, 1), math.nan, "confidence must be in [0, 1], not nan."),
        (Range(0, low_open=True), 0.0, "confidence must be above 0, not 0.0."),
        (Range(0, low_open=True), math.inf, "confidence must be finite and above 0, not inf."),
        (Range(), -math.inf, "confidence must be finite, not -inf."),
    ],
)
def test_the_message_names_parameter_range_and_value(
    allowed: Range, value: float, message: str
) -> None:
    with pytest.raises(UsageError) as raised:
        allowed.check("confidence", value)
    assert str(raised.value) == message

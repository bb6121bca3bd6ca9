"""Numbers as users write them."""

from __future__ import annotations

import pytest

from fairfix._utils.number_text import parse_float, parse_int


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.05", 0.05), (".5", 0.5), ("1.", 1.0), ("-2", -2.0), ("+1e-3", 1e-3), (" 1E2 ", 100.0)],
)
def test_plain_numbers_are_read(text: str, value: float) -> None:
    assert parse_float(text) == value


@pytest.mark.parametrize(
    "text", ["0.0_5", "\u0660.5", "1e-2_0", "nan", "inf", "-inf", "1e999", "0x1", "1,5", "", "."]
)
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number; write digits"):
        parse_float(text)


def test_whole_numbers_are_read() -> None:
    assert [parse_int(text) for text in ("0", "-3", "+12", " 7 ")] == [0, -3, 12, 7]


@pytest.mark.parametrize("text", ["1_0", "\u0665", "\u00b2", "1.0", "1e2", "", "9" * 5000])
def test_other_whole_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number; write digits"):
        parse_int(text)

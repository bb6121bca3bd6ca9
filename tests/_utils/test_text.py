"""Sanitized text, formatted numbers, short names and hints."""

from __future__ import annotations

import math

import pytest

from fairfix._utils.text import (
    did_you_mean,
    format_change,
    format_count,
    format_number,
    format_p_value,
    format_threshold,
    plain_number,
    plain_threshold,
    printable,
    shorten,
    single_line,
    terminal_line,
    unique_labels,
)


def test_unprintable_characters_are_replaced() -> None:
    assert printable("a\x00b\tc\nd\ud800\x85é") == "a\ufffdb\tc\nd\ufffd\ufffdé"
    assert single_line("a\x00b\tc\n d\u202ee\u200c") == "a\ufffdb c d\ufffde\u200c"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a\n::add-mask::x", "a \ufffd:add-mask::x"),
        (":: Warning file=a:b::x", "\ufffd: Warning file=a:b::x"),
        ("##[error]x", "\ufffd#[error]x"),
        ("\x1b]0;x\x07\x1b[2J", "\ufffd]0;x\ufffd\ufffd[2J"),
        ("aten::linear and torch::nn", "aten::linear and torch::nn"),
    ],
)
def test_a_line_for_the_terminal_holds_no_command(text: str, safe: str) -> None:
    assert terminal_line(text) == safe


def test_long_names_keep_both_ends_and_stay_distinct() -> None:
    assert shorten("") == "(empty)"
    assert shorten("abcdefghij", 7) == "abcd…ij"
    assert unique_labels(["abcdefghij", "abcdXXXXij", "a"], 7) == {
        "abcdefghij": "abcd…ij",
        "abcdXXXXij": "abcd…ij (2)",
        "a": "a",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.5, "-0.500"), (-0.0001, "0.000"), (None, "undefined")],
)
def test_numbers(value: float | None, text: str) -> None:
    assert plain_number(value) == text
    assert format_number(value) == text.replace("-", "−")


def test_undefined_numbers() -> None:
    assert plain_number(math.nan) == format_count(None) == format_change(None) == "undefined"
    assert plain_threshold(None) == plain_threshold(math.nan) == format_threshold(None) == "several"


def test_counts_changes_p_values_and_thresholds() -> None:
    assert format_count(12345) == "12,345"
    assert [format_change(n) for n in (1200, 0, -3)] == ["+1,200", "0", "−3"]
    assert [format_p_value(p) for p in (0.0005, 0.04, math.nan)] == [
        "< 0.001",
        "0.040",
        "undefined",
    ]
    assert (plain_threshold(-0.123456), format_threshold(-0.123456)) == ("-0.1235", "−0.1235")


def test_hints_name_the_nearest_known_name() -> None:
    known = ["Budget", "metric", "score"]
    assert did_you_mean("budgte", known) == "; did you mean 'Budget'?"
    assert did_you_mean("xyz", known) == "."
    assert did_you_mean("xyz", known, "; see --help.") == "; see --help."
    assert did_you_mean(("budget", "score"), known) == "."
    assert did_you_mean("scor", [("budget", "score"), 3, "score"]) == "; did you mean 'score'?"

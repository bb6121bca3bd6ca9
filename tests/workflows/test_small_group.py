"""The group whose few rows make a rule cautious is named with its remedy."""

from __future__ import annotations

from fairfix.workflows.small_group import small_group_sentence


def test_the_group_that_decides_the_standard_error_is_named() -> None:
    said = small_group_sentence("race", {"a": 5000, "b": 3900, "(missing)": 69})
    assert said is not None
    assert said.startswith("group '(missing)' of 'race' has 69 of 8,969 validation rows")
    assert "instead of --missing-group keep" in said
    said = small_group_sentence("race", {"a": 5000, "other": 69})
    assert said is not None
    assert "merge it with another group or give more of its rows" in said


def test_groups_of_similar_size_are_not() -> None:
    assert small_group_sentence("race", {"a": 300, "b": 100, "c": 90}) is None

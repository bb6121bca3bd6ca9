"""Lists of names in one option."""

from __future__ import annotations

import pytest

from fairfix._utils.name_list import split_names
from fairfix.errors import UsageError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        (" a , b,", ("a", "b")),
        ('a,"b, c"', ("a", "b, c")),
        ('"age_(18, 25]", "say ""hi"""', ("age_(18, 25]", 'say "hi"')),
        ('5" pipe,x', ('5" pipe', "x")),
        ("", ()),
        (" , ", ()),
    ],
)
def test_a_list_is_one_csv_record(text: str, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


@pytest.mark.parametrize("text", ['a,"b, c', '"a"b,c', "a\nb"])
def test_lists_that_are_not_one_record(text: str) -> None:
    with pytest.raises(UsageError, match="quote a name that contains a comma"):
        split_names(text)

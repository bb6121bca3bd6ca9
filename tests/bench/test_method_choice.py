"""Methods of a study with their options."""

from __future__ import annotations

from typing import Any

import pytest

from fairfix.bench.method_choice import MethodChoice, parse_method, parse_methods
from fairfix.errors import UsageError
from fairfix.methods import names


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("roc", "roc", {}),
        (
            "gda:optimizer=sgd,learning_rate=1e-5",
            "gda",
            {"optimizer": "sgd", "learning_rate": 1e-5},
        ),
        ("gda: learning-rate = 1", "gda", {"learning_rate": 1.0}),
        ("layerwise:greedy=true,calls=4", "layerwise", {"greedy": True, "calls": 4}),
        ('layerwise:"layers=4,2",calls=4', "layerwise", {"layers": "4,2", "calls": 4}),
    ],
)
def test_a_method_with_options(text: str, name: str, options: dict[str, Any]) -> None:
    found = parse_method(text)
    assert found == MethodChoice(name, options)
    assert [type(value) for value in found.options.values()] == list(map(type, options.values()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gad:epochs=2", "gda"),
        ("gda:epoch=2", "no option 'epoch'"),
        ("gda:epochs", "option without a value"),
        ("gda:epochs=two", "epochs must be of type int, not 'two'"),
        ("gda:epochs=2,epochs=3", "gives epochs twice"),
        ("layerwise:greedy=yes", "greedy must be of type bool"),
        ("gda:optimizer=lbfgs", "must be adam or sgd"),
    ],
)
def test_what_is_not_a_method_with_options_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_method(text)


def test_all_stands_for_every_method() -> None:
    assert [choice.name for choice in parse_methods(["all", "gda:epochs=1"])] == [*names(), "gda"]

"""The methods of a study, each with options: ``gda:optimizer=sgd,learning_rate=1e-5``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairfix import methods
from fairfix._utils.name_list import split_names
from fairfix._utils.text import did_you_mean
from fairfix.errors import UsageError
from fairfix.methods import Option

_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class MethodChoice:
    """A method and those of its options that are given."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


def parse_method(text: str) -> MethodChoice:
    """Parse ``NAME`` or ``NAME:OPTION=VALUE,...``; a value with a comma is quoted as in CSV.

    Raises:
        UsageError: if the method or an option is unknown, or a value is not allowed.
    """
    name, _, rest = text.partition(":")
    method = methods.get(name.strip())
    known = {option.name: option for option in method.options}
    options: dict[str, Any] = {}
    for part in split_names(rest):
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(
                f"{text!r} has an option without a value; write {method.name}:OPTION=VALUE,..."
            )
        if key not in known:
            raise UsageError(f"{method.name} has no option {key!r}{did_you_mean(key, known)}")
        if key in options:
            raise UsageError(f"{text!r} gives {key} twice; remove one.")
        options[key] = known[key].check(_value(known[key], value.strip()))
    return MethodChoice(method.name, options)


def parse_methods(texts: Sequence[str]) -> list[MethodChoice]:
    """Parse several; "all" stands for all methods with their defaults.

    Raises:
        UsageError: see ``parse_method``.
    """
    chosen: list[MethodChoice] = []
    for text in texts:
        if text == "all":
            chosen += [MethodChoice(name) for name in methods.names()]
        else:
            chosen.append(parse_method(text))
    return chosen


def _value(option: Option, text: str) -> Any:
    """Return the text as a value of the option's type; the text itself where it is none."""
    try:
        return _TRUTH.get(text.lower(), text) if option.type is bool else option.type(text)
    except ValueError:
        return text

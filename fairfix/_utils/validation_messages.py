"""Validation errors of pydantic as one sentence: the place in the document and the fault."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from fairfix._utils.text import did_you_mean, quoted_list

Location = tuple[str | int, ...]
"""Keys and list positions from the top level of a document to a value in it."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MAX_SHOWN = 40  # characters of a value in a message
_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "none_required": "null",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "enum": "{expected}",
}
"""What a value must be, by pydantic's error type."""


def sentence(where: str, location: Location, clause: str) -> str:
    """Return "FILE: PLACE CLAUSE." for an error message."""
    stop = "" if clause.endswith("?") else "."
    return f"{where}: {place_name(location) or 'the top level'} {clause}{stop}"


def place_name(location: Location) -> str:
    """Return a location as text: ``features[3].scale``, ``map['Never married']``."""
    text = ""
    for step in location:
        is_name = isinstance(step, str) and _IDENTIFIER.fullmatch(step)
        text += f".{step}" if is_name else f"[{step!r}]"
    return text.removeprefix(".")


def describe(
    error: ValidationError, model_type: type[BaseModel], data: object
) -> tuple[Location, str]:
    """Return the location of one error and the clause that describes it.

    That is the first unknown key, which often explains a missing one, else the first error. The
    alternatives of a union are described together.
    """
    errors = error.errors(include_url=False)
    for each in errors:
        if each["type"] == "extra_forbidden":
            *parent, key = each["loc"]
            location, types = _follow(parent, model_type, data)
            known = [name for kind in types for name in _fields(kind)]
            hint = did_you_mean(str(key), known, f"; known keys: {quoted_list(known)}")
            return location, f"has an unknown key {key!r}{hint}"
    located = [(_follow(each["loc"], model_type, data)[0], each) for each in errors]
    location, first = located[0]
    if len(location) == len(first["loc"]) or first["type"] == "missing":
        return location, _clause([first])
    # A part of the location names an alternative of a union: take those that got furthest.
    family = [(at, each) for at, each in located if at[: len(location)] == location]
    location = max((at for at, _ in family), key=len)
    return location, _clause([each for at, each in family if at == location])


def _clause(alternatives: Sequence[ErrorDetails]) -> str:
    """Describe the errors of one value; several are alternatives of a union."""
    first = alternatives[0]
    context, value = first.get("ctx", {}), first["input"]
    match first["type"]:
        case "missing":
            return f"has no key {first['loc'][-1]!r}; add it"
        case "value_error":
            return str(context["error"])
        case "json_invalid":
            return "has text that is not valid Unicode (an unpaired surrogate); remove it"
        case "too_short" | "string_too_short" if context["min_length"] == 1:
            return "must not be empty"
        case "too_short":
            return f"must have at least {context['min_length']} entries, not {len(value)}"
        case "too_long":
            return f"must have at most {context['max_length']} entries, not {len(value)}"
        case "string_pattern_mismatch":
            return f"must match the pattern {context['pattern']}, not {_shown(value)}"
    kinds = [_expected(each) for each in alternatives if each["type"] in _EXPECTED]
    if not kinds:
        return f"is invalid: {first['msg'][:1].lower()}{first['msg'][1:]}"
    expected = " or ".join(dict.fromkeys(kinds))
    choices = re.findall("'([^']*)'", expected)
    hint = did_you_mean(value, choices, "") if isinstance(value, str) else ""
    return f"must be {expected}, not {_shown(value)}{hint}"


def _expected(error: ErrorDetails) -> str:
    numbers = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in error.get("ctx", {}).items()
    }
    return _EXPECTED[error["type"]].format(**numbers)


def _shown(value: object) -> str:
    """Return a value as a message names it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def _follow(
    steps: Sequence[str | int], model_type: type[BaseModel], data: object
) -> tuple[Location, list[Any]]:
    """Follow pydantic's location of an error.

    Pydantic's locations also have a step for each alternative of a union, by its tag or type.

    Returns:
        The location in ``data`` and the types that the model has there.
    """
    location: list[str | int] = []
    types = _alternatives(model_type)
    at_union = len(types) > 1
    for step in steps:
        if at_union:
            types = [kind for kind in types if step in _union_labels(kind)] or types
            at_union = False
            continue
        types = [inner for kind in types for inner in _children(kind, step)]
        at_union = len(types) > 1
        is_key = isinstance(data, dict) and step in data
        if is_key or (isinstance(data, list | tuple) and step in range(len(data))):
            data = data[step]  # type: ignore[index]
            location.append(step)
    return tuple(location), types


def _alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union other than None, flattened; other types are alone."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        tagged = any(isinstance(each, Tag) for each in metadata)
        return [annotation] if tagged else _alternatives(inner)
    if get_origin(annotation) in (Union, UnionType):
        members = [kind for kind in get_args(annotation) if kind is not NoneType]
        return [kind for member in members for kind in _alternatives(member)]
    return [annotation]


def _children(annotation: Any, step: str | int) -> list[Any]:
    """Return the types that a value has one step inside a model, a mapping or a list."""
    kind = _without_metadata(annotation)
    arguments = get_args(kind)
    inner: Any = None
    if step in _fields(kind):
        inner = _fields(kind)[str(step)].annotation
    elif get_origin(kind) is dict and isinstance(step, str):
        inner = arguments[1]
    elif get_origin(kind) in (list, tuple) and isinstance(step, int):
        inner = arguments[min(step, len(arguments) - 1)]
        inner = arguments[0] if inner is Ellipsis else inner
    return [] if inner is None else _alternatives(inner)


def _fields(annotation: Any) -> dict[str, FieldInfo]:
    """Return the fields of a model by their keys in the document; none for other types."""
    kind = _without_metadata(annotation)
    if not (isclass(kind) and issubclass(kind, BaseModel)):
        return {}
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _union_labels(annotation: Any) -> list[str]:
    """Return the names that pydantic gives this type as the alternative of a union."""
    tags = [each.tag for each in get_args(annotation)[1:] if isinstance(each, Tag)]
    return [*tags, getattr(_without_metadata(annotation), "__name__", "")]


def _without_metadata(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation

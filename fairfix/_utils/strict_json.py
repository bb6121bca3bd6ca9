"""Strict JSON: no duplicate keys, NaN or unknown keys, checked against pydantic models.

Derive a model from ``StrictModel``, read a file with ``read_json`` and check the result with
``validate``. Every failure is one sentence with the file, the place in it, the fact and the remedy:
``model.data.json: features[3].scale must be above 0, not -1.``
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fairfix._utils.regular_file import read_regular
from fairfix._utils.validation_messages import Location, describe, sentence
from fairfix.errors import FairfixError, UsageError

Model = TypeVar("Model", bound=BaseModel)

_MAX_DEPTH = 100  # far below the recursion limits of Python and pydantic
_TOO_DEEP = f"lists and objects are nested more than {_MAX_DEPTH} levels deep; flatten them"
_TOO_LARGE = "must be a finite number in the range of float64"
_MAX_DIGITS = 400  # integers with more digits exceed float64


class StrictModel(BaseModel):
    """Base of the models of documents.

    Nothing is converted (1 is not a string, true is not a number), numbers are finite, unknown
    keys are refused with the nearest known one, and instances are immutable. Use tuples for lists,
    and a discriminator where a value may be one of several models.

    A validator that raises ``ValueError`` words it as the rest of a sentence that begins with the
    place: ``must have one number per input, not 2``.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, frozen=True, protected_namespaces=()
    )


def read_json(path: Path, *, error: type[FairfixError] = UsageError) -> Any:
    """Read a JSON file. See ``parse_json``.

    Raises:
        FairfixError: of type ``error``; the file cannot be read or is not strict JSON.
    """
    return parse_json(read_regular(path, error=error), path.name, error=error)


def parse_json(text: str | bytes, where: str, *, error: type[FairfixError] = UsageError) -> Any:
    """Parse a JSON document of finite numbers, without duplicate keys.

    Args:
        text: the document; bytes are UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
        where: the file name, for messages.
        error: what to raise.

    Raises:
        FairfixError: of type ``error``; the text is not JSON, repeats a key, or has NaN, infinity,
            a number beyond float64 or more than 100 levels.
    """
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_int=_integer)
    except RecursionError:
        raise error(f"{where}: {_TOO_DEEP}.") from None
    except UnicodeDecodeError:
        raise error(f"{where} is not UTF-8 text; save it as UTF-8.") from None
    except json.JSONDecodeError as fault:
        reason = fault.msg[:1].lower() + fault.msg[1:]
        raise error(
            f"{where} is not valid JSON at line {fault.lineno}, column {fault.colno} ({reason}); "
            "correct it or write the file again."
        ) from None
    _check_values(data, where, error)
    return data


def validate(
    model_type: type[Model], data: object, where: str, *, error: type[FairfixError] = UsageError
) -> Model:
    """Check parsed JSON or TOML against a model, and return it as an instance.

    Args:
        model_type: a ``StrictModel``.
        data: dicts, lists, strings, numbers, booleans and None. Lists fill fields of type tuple,
            and strings those of type Enum, as pydantic reads JSON in strict mode.
        where: the file name, for messages.
        error: what to raise.

    Raises:
        FairfixError: of type ``error``; names the first place that the model refuses.
    """
    _check_values(data, where, error)
    try:
        return model_type.model_validate_json(json.dumps(data))
    except ValidationError as fault:
        raise error(sentence(where, *describe(fault, model_type, data))) from None


class _DuplicateKey(dict[str, Any]):
    """An object of the document in which ``key`` appears twice."""

    key: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            repeated = _DuplicateKey(pairs)
            repeated.key = key
            return repeated
        values[key] = value
    return values


def _integer(digits: str) -> int | float:
    # Python itself refuses to convert more than 4,300 digits, without naming the place.
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def _check_values(data: object, where: str, error: type[FairfixError]) -> None:
    """Raise ``error`` at the first value that strict JSON cannot hold."""
    for location, value in _values(data):
        if len(location) > _MAX_DEPTH:
            raise error(f"{where}: {_TOO_DEEP}.")
        clause = _value_fault(value)
        if clause is not None:
            raise error(sentence(where, location, clause))


def _values(data: object) -> Iterator[tuple[Location, object]]:
    """Yield every value with its location, in document order, without recursion."""
    stack: list[tuple[Location, object]] = [((), data)]
    while stack:
        location, value = stack.pop()
        yield location, value
        children: Iterable[tuple[str | int, object]] = ()
        if isinstance(value, dict):
            children = value.items()
        elif isinstance(value, list | tuple):
            children = enumerate(value)
        stack += [((*location, step), child) for step, child in reversed([*children])]


def _value_fault(value: object) -> str | None:
    if isinstance(value, _DuplicateKey):
        return f"has the key {value.key!r} twice; remove one"
    if value is None or isinstance(value, bool | str | dict | list | tuple):
        return None
    if isinstance(value, int):
        return _TOO_LARGE if abs(value) >= 2**1024 else None
    if isinstance(value, float):
        if math.isnan(value):
            return "must be a finite number, not NaN"
        return _TOO_LARGE if math.isinf(value) else None
    return f"must be text, a number, true or false, not {type(value).__name__} {value}"

"""Error messages of the library in terms of its parameters instead of command-line options."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import ParamSpec, TypeVar

from fairfix._utils.text import did_you_mean
from fairfix.errors import FairfixError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

_OPTION = re.compile(r"(?<![\w-])--([a-z]+(?:-[a-z]+)*)")
_PARAMETERS = {
    "ceiling": "ceilings",
    "floor": "floors",
    "lambda": "lambda_",
    "max-drop": "max_drops",
    "trust-checkpoint": "trust",
}


def library_terms(message: str) -> str:
    """Name the parameters of the library where a message names command-line options.

    >>> library_terms("Allow it with --trust-checkpoint, or name --arch file.py:Net.")
    'Allow it with trust, or name arch file.py:Net.'
    """
    named = _OPTION.sub(lambda m: _PARAMETERS.get(m[1], m[1].replace("-", "_")), message)
    return re.sub(r"(?<![\w-])-o\b", "output", named)


def in_library_terms(function: Callable[P, T]) -> Callable[P, T]:
    """Let a public function raise its errors in terms of its parameters.

    An unknown argument is a ``UsageError`` with the nearest name.
    """

    known = signature(function).parameters
    open_ended = any(each.kind is Parameter.VAR_KEYWORD for each in known.values())

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in () if open_ended else kwargs:
            if name not in known:
                hint = did_you_mean(name, known)
                raise UsageError(f"{function.__name__} has no argument {name!r}{hint}")
        try:
            return function(*args, **kwargs)
        except FairfixError as error:
            error.args = (library_terms(str(error)),)
            raise

    return wrapper

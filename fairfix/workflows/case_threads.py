"""Run a function of a case on the CPU threads of the case."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from fairfix.models.threads import limited_threads
from fairfix.workflows.case import Case

P = ParamSpec("P")
R = TypeVar("R")


def on_its_threads(
    function: Callable[Concatenate[Case, P], R],
) -> Callable[Concatenate[Case, P], R]:
    """Let torch use the threads of the case, the first argument of the function."""

    @wraps(function)
    def call(case: Case, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with limited_threads(case.threads):
            return function(case, *args, **kwargs)

    return call

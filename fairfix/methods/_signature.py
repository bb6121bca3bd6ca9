"""Descriptions of methods from outside the package, from their signature and docstring."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from types import FunctionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from fairfix._utils.constraints import Range
from fairfix.errors import UsageError
from fairfix.methods._description import (
    Method,
    MethodFunction,
    Option,
    parse_argument_help,
    parse_docstring,
)

RESERVED_OPTIONS = frozenset(
    {
        # parameters of every method
        *("self", "problem", "objective", "seed"),
        # arguments of fairfix.debias
        *("case", "method", "metric", "budget", "margin", "performance", "lambda_", "risk", "k"),
        *("train", "test", "unlabeled", "holdout", "fold_threshold", "confidence", "strict"),
        *("options",),
        *("floors", "ceilings", "selection_rate_change", "subgroups"),
        # options of the command of a method
        *("name", "model", "data", "label", "favorable", "group", "privileged", "missing_group"),
        *("target", "unfavorable", "reference", "image_root", "cache", "on_bad_row"),
        *("codes", "image", "text"),
        *("array", "input_shape", "image_size", "image_scale", "image_mean", "image_std"),
        *("tokenizer", "max_length", "classes"),
        *("id", "ignore", "weight", "features", "score", "data_spec", "arch", "arch_args"),
        *("output_kind", "output_name", "output_label", "trust_checkpoint", "checkpoint_key"),
        *("device", "batch_size", "threshold", "threads", "cluster", "also", "floor", "ceiling"),
        *("no_subgroups", "recalibrate", "no_recalibrate", "allow_trivial"),
        *("output", "export", "force", "json", "quiet", "verbose", "debug", "help", "help_all"),
    }
)
"""Names that options of outside methods cannot have."""

_FORM = "f(problem, objective, *, seed, <options with defaults>)"
_KINDS = "int, float, str, bool, a Literal of strings, or Annotated with a Range"


def describe_function(function: MethodFunction, provider: str) -> Method:
    """Return the description of an outside method.

    Args:
        function: a function with a name, ``f(problem, objective, *, seed, **options) -> Result``.
        provider: where it comes from, for messages: "module debiasers".

    Raises:
        UsageError: if it is not a function, lacks ``seed``, or has an option without a default,
            without a supported annotation, or with a name that fairfix uses.
    """
    if not isinstance(function, FunctionType) or not function.__name__.isidentifier():
        raise UsageError(
            f"A method must be a function defined with def, not {_kind(function)} ({provider})."
        )
    where = f"Method {function.__name__!r} ({provider})"
    docstring = inspect.getdoc(function) or ""
    parameters = _option_parameters(function, where)
    annotations = _annotations(function, parameters, where)
    help_texts = parse_argument_help(docstring)
    paragraphs, facts = parse_docstring(docstring)
    summary = paragraphs[0] if paragraphs else f"Method of {provider}, without a description."
    return Method(
        name=function.__name__,
        summary=summary,
        description="\n\n".join(paragraphs) or summary,
        options=tuple(
            _option(parameter, annotations[name], help_texts.get(name, ""), where)
            for name, parameter in parameters.items()
        ),
        facts=facts,
        load=lambda: function,
        builtin=False,
    )


def _kind(value: object) -> str:
    """Return what kind of thing is given in the place of a function, in words."""
    if isinstance(value, FunctionType):
        return "a lambda"
    return f"a value of type {type(value).__name__}"


def _option_parameters(function: FunctionType, where: str) -> dict[str, inspect.Parameter]:
    """Return the parameters that are options, checked but for their annotations."""
    parameters = list(inspect.signature(function).parameters.values())
    named = {parameter.name: parameter for parameter in parameters}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) < 2 or any(each.kind not in positional for each in parameters[:2]):
        raise UsageError(f"{where} does not take a problem and an objective; define it as {_FORM}.")
    if "seed" not in named or named["seed"].kind is inspect.Parameter.POSITIONAL_ONLY:
        raise UsageError(
            f"{where} has no parameter seed; define it as {_FORM} and take every random number "
            "from the seed."
        )
    options = {each.name: each for each in parameters[2:] if each.name != "seed"}
    for name, option in options.items():
        if option.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            stars = "*" if option.kind is inspect.Parameter.VAR_POSITIONAL else "**"
            raise UsageError(f"{where} takes {stars}{name}; list every option by name.")
        if option.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise UsageError(f"Option {name!r} of {where} is positional-only; move it behind a *.")
        if option.default is inspect.Parameter.empty:
            raise UsageError(f"{where} has an option {name!r} without a default; add one.")
        if option.annotation is inspect.Parameter.empty:
            raise UsageError(
                f"{where} has an option {name!r} without an annotation; add one: {_KINDS}."
            )
        if name in RESERVED_OPTIONS or name != name.strip("_"):
            raise UsageError(
                f"{where} has an option {name!r}, a name that fairfix uses itself; rename it."
            )
        if option.default is True:
            raise UsageError(
                f"{where} has a flag {name!r} that is on by default; invert its meaning, so that "
                "it is off by default."
            )
    return options


def _annotations(
    function: FunctionType, parameters: Mapping[str, inspect.Parameter], where: str
) -> dict[str, Any]:
    """Return the annotations of the options; those that are strings are evaluated.

    Other annotations may name types that are imported for type checking alone.
    """

    def options() -> None: ...

    options.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    try:
        names = inspect.unwrap(function).__globals__
        return get_type_hints(options, globalns=names, include_extras=True)
    except Exception as error:
        raise UsageError(
            f"{where} has an option whose annotation cannot be resolved ({error}); import its "
            "names at the top of the module."
        ) from None


def _option(parameter: inspect.Parameter, annotation: Any, help_text: str, where: str) -> Option:
    kind = annotation
    ranges: list[Range] = []
    if get_origin(annotation) is Annotated:
        kind, *metadata = get_args(annotation)
        ranges = [each for each in metadata if isinstance(each, Range)]
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices and all(isinstance(choice, str) for choice in choices):
        kind = str
    numeric = kind in (int, float)
    if kind not in (int, float, str, bool) or (ranges and not numeric) or len(ranges) > 1:
        raise UsageError(
            f"{where} has an option {parameter.name!r} with the annotation {annotation}; use "
            f"{_KINDS}."
        )
    option = Option(
        parameter.name, kind, parameter.default, choices, help_text, next(iter(ranges), None)
    )
    try:
        return replace(option, default=option.check(option.default))
    except UsageError as error:
        raise UsageError(f"{where} has a default that is not allowed: {error}") from None

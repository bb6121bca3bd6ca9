"""How an option is declared: help panels, defaults, and signatures for Typer.

An option of a command is None unless it was given. ``fairfix.cli.option_values`` then takes the
value from the settings file, else from ``DEFAULTS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from typing import Annotated, Any, Literal, get_args

import typer
from rich.markup import escape

from fairfix._utils.number_text import parse_float, parse_int
from fairfix.methods import Method

_WIDEST_CHOICES = 18
COMMON, ADVANCED = "Common options", "Advanced options"
MOST_COMMON = 9
"""Options of a method, in its order, that are common; the others are advanced."""

DEFAULTS: dict[str, Any] = {
    "label": "label",
    "group": ["group"],
    "missing_group": "error",
    "output_kind": "auto",
    "device": "auto",
    "seed": 0,
    "metric": "spd",
    "budget": 0.05,
    "margin": "auto",
    "performance": "balanced_accuracy",
    "objective": "constrained",
    "lambda": 0.75,
    "holdout": 0.3,
    "threshold": 0.5,
    "confidence": 0.95,
    "on_inconclusive": "fail",
    "on_bad_row": "fail",
}


def common(text: str, *names: str, default: str = "") -> Any:
    """Return an option that ``--help`` shows; ``default`` is the default in words."""
    return _option(COMMON, text, names, default)


def advanced(text: str, *names: str, default: str = "", metavar: str | None = None) -> Any:
    """Return an option that only ``--help-all`` shows; ``default`` is the default in words.

    Args:
        metavar: the value in help, where the list of all choices is too wide for it.
    """
    return _option(ADVANCED, text, names, default, metavar)


def _option(
    panel: str, text: str, names: Sequence[str], default: str, metavar: str | None = None
) -> Any:
    help_text = f"{text} (default: {default})" if default else text
    return typer.Option(
        *names, help=help_text, rich_help_panel=panel, show_default=False, metavar=metavar
    )


def default_text(name: str) -> str:
    """Return the default of an option as its help shows it."""
    value = DEFAULTS[name]
    return ", ".join(value) if isinstance(value, list) else str(value)


def method_options(method: Method) -> list[inspect.Parameter]:
    """Return the options of a method as keyword parameters for Typer; the first are common."""
    parameters = []
    for place, own in enumerate(method.options):
        kind: Any = Literal[own.choices] if own.choices else own.type
        default = "" if own.type is bool or own.default == "" else str(own.default)
        many = len("|".join(own.choices)) > _WIDEST_CHOICES
        listed = f"{', '.join(own.choices)}: " if many else ""
        info = _option(
            COMMON if place < MOST_COMMON else ADVANCED,
            escape(f"{listed}{own.help}" if many else own.help[:1].upper() + own.help[1:]),
            [f"--{own.name.replace('_', '-')}"],
            f"{default}; {own.allowed}" if own.allowed else default,
            "<choice>" if many else None,
        )
        is_flag = own.type is bool
        parameters.append(
            inspect.Parameter(
                own.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if is_flag else None,
                annotation=Annotated[kind if is_flag else kind | None, info],
            )
        )
    return parameters


def signature(
    groups: Sequence[Callable[..., None]], own: Sequence[inspect.Parameter] = ()
) -> inspect.Signature:
    """Return the keyword parameters of several option groups as one signature.

    Args:
        groups: functions whose parameters are options.
        own: options of a method; they come first and replace shared options of the same name.
    """
    replaced = {parameter.name for parameter in own}
    shared = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for group in groups
        for parameter in inspect.signature(group, eval_str=True).parameters.values()
        if parameter.name not in replaced
    ]
    return inspect.Signature([_with_number_parser(each) for each in (*own, *shared)])


def _with_number_parser(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return an option whose numbers, if it takes any, are read as everywhere in fairfix."""
    kind, info = get_args(parameter.annotation)
    number = next((each for each in (int, float) if each in (kind, *get_args(kind))), None)
    if number is None:
        return parameter
    info = copy(info)
    info.parser, info.metavar = _PARSERS[number]
    return parameter.replace(annotation=Annotated[kind, info])


def _parser(parse: Callable[[str], float]) -> Callable[[str], float]:
    """Return a parser whose refusal names the option."""

    def parsed(value: str | float) -> float:
        try:
            return parse(str(value))  # a default is a number already
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None

    return parsed


_PARSERS = {int: (_parser(parse_int), "<int>"), float: (_parser(parse_float), "<float>")}

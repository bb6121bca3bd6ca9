"""Help of a command: --help shows the common options, --help-all shows every option."""

from __future__ import annotations

import re
from copy import copy
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from fairfix.cli.command_specs import CommandSpec, command_spec
from fairfix.cli.options.option import ADVANCED, COMMON

_ALL = "fairfix.help_all"


def _print_full_help(context: typer.Context, wanted: bool) -> None:
    if wanted:
        context.meta[_ALL] = True
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit


def help_options(
    help_all: Annotated[
        bool,
        typer.Option(
            "--help-all",
            help="Show all options and exit.",
            rich_help_panel=COMMON,
            callback=_print_full_help,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
) -> None: ...


class HelpCommand(TyperCommand):
    """A command that prints either help, and whose MODEL may be left out with --score."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; a single argument with --score is the table."""
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            missing = getattr(getattr(error, "param", None), "name", None)
            scored = any(word.partition("=")[0] == "--score" for word in words)
            if type(error).__name__ != "MissingParameter" or missing != "data" or not scored:
                raise
            return super().parse_args(ctx, ["-", *words])

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help that was asked for."""
        spec = command_spec(str(self.name))
        everything = bool(ctx.meta.get(_ALL))
        shown = copy(self)
        params: list[Any] = [copy(param) for param in self.get_params(ctx)]
        params[-1].rich_help_panel = COMMON  # that of --help
        panels = [getattr(param, "rich_help_panel", None) for param in params]
        order = {None: 0, COMMON: 1, ADVANCED: 2}
        if not everything:
            params = [p for p, panel in zip(params, panels, strict=True) if panel != ADVANCED]
            for param in params:
                if param.param_type_name == "option":
                    param.help = _shorten(param.help)
        params.sort(key=lambda param: order[getattr(param, "rich_help_panel", None)])
        shown.params = params
        shown.add_help_option = False
        shown.help = _text(spec, details=everything)
        hidden = panels.count(ADVANCED)
        shown.epilog = None if everything else f"--help-all shows {hidden} more options."
        super(HelpCommand, shown).format_help(ctx, formatter)


def _text(spec: CommandSpec, *, details: bool) -> str:
    """Return summary, details and examples as Typer's help markup."""
    paragraphs = [spec.summary, *([spec.details] if details and spec.details else [])]
    examples = "\n".join(["Examples:", *spec.examples])
    return escape("\n\n".join([*paragraphs, examples]))


def _shorten(text: str) -> str:
    """Return the first sentence of an option's help, and its default."""
    text, bracket, default = text.partition(" (default: ")
    first, *others = re.split(r"[.;] +", text)
    end = ", ..." if others and first.startswith('"') else "."  # the meaning of each choice
    return f"{first.removesuffix('.')}{end}{bracket}{default}"

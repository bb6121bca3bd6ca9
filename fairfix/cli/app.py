"""The command-line program: registers the commands, runs one, and returns its exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer

from fairfix._utils.version import __version__
from fairfix.cli.command_group import CommandGroup
from fairfix.cli.command_specs import CommandSpec, command_specs
from fairfix.cli.exits import INTERRUPTED, STDOUT_CLOSED, describe_failure
from fairfix.cli.help import HelpCommand, help_options
from fairfix.cli.options.option import signature

app = typer.Typer(
    name="fairfix",
    cls=CommandGroup,
    help="Debias an already trained PyTorch classifier and report what held-out rows show.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run ``fairfix``, the entry point of the package."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr, in every locale
    try:
        app()
    except Exception as error:  # raised outside a command; Python would exit with 1, a verdict
        failed = describe_failure(error)
        typer.echo(f"fairfix: {failed.message}", err=True)
        sys.exit(failed.exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairfix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Show the version."
    ),
) -> None: ...


def _exit_code(body: Callable[..., int | None], debug: bool, values: dict[str, Any]) -> int:
    """Run the body of a command and return its exit code; print one message if it failed."""
    try:
        code = body(**values) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        typer.echo("fairfix: interrupted; no partial files were left.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # Python would flush the closed pipe again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STDOUT_CLOSED
    except Exception as error:
        if debug:
            traceback.print_exc()
        failed = describe_failure(error)
        typer.echo(f"fairfix: {failed.message}", err=True)
        return failed.exit_code


def _register(spec: CommandSpec) -> None:
    """Add a command to ``app``."""

    def command(**values: Any) -> None:
        debug = values.pop("debug")

        def body(**given: Any) -> int | None:
            run = import_module(f"fairfix.cli.{spec.module}").run
            result: int | None = run(**spec.bound, **given)
            return result

        raise typer.Exit(_exit_code(body, debug, values))

    groups = (*spec.groups, help_options)
    command.__signature__ = signature(groups, spec.own)  # type: ignore[attr-defined]
    app.command(spec.name, cls=HelpCommand, help=spec.summary, rich_help_panel=spec.panel)(command)


for _spec in command_specs().values():
    _register(_spec)

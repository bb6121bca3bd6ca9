"""The command-line program: registers the commands, runs one, and returns its exit code."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand

from fairfix import methods
from fairfix._utils.text import printable, terminal_line, without_commands
from fairfix._utils.version import __version__
from fairfix.cli.command_group import CommandGroup
from fairfix.cli.command_specs import (
    CommandSpec,
    command_spec,
    command_specs,
    outside_names,
)
from fairfix.cli.failures import INTERRUPTED, STDOUT_CLOSED, describe_failure
from fairfix.cli.help import HelpCommand, help_options
from fairfix.cli.options.option import signature
from fairfix.cli.standard_input import table_file
from fairfix.cli.streams import drop_stdout, flush_stdout, prepare_streams
from fairfix.errors import CheckpointError, UsageError


class _Commands(Mapping[str, Any]):
    """The commands of fairfix by name, each built at first use: options are costly to build."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            self._built[name] = _build(command_specs()[name])
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in command_specs()

    def __iter__(self) -> Iterator[str]:
        return iter(command_specs())

    def __len__(self) -> int:
        return len(command_specs())


class _AllCommands(CommandGroup):
    """The commands of fairfix, and one for each method from outside the package."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands()  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *outside_names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in outside_names():
            return _OutsideMethod(cmd_name)
        return super().get_command(ctx, cmd_name)


class _OutsideMethod(TyperCommand):
    """The command of a method from outside the package, which is imported at first use."""

    def __init__(self, name: str) -> None:
        text = f"Method of {methods.provider(name)}."
        super().__init__(name, help=escape(text), rich_help_panel="Debias")

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Build the real command and return its context."""
        try:
            command = _build(command_spec(str(self.name)))
        except Exception as error:
            raise typer.Exit(_print_failure(error)) from None
        return command.make_context(info_name, args, parent=parent, **extra)


app = typer.Typer(
    name="fairfix",
    cls=_AllCommands,
    help="Debias an already trained PyTorch classifier and report what held-out rows show.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run ``fairfix``, the entry point of the package."""
    prepare_streams()
    _end_as_interrupted()
    try:
        app()
    except SystemExit as ended:
        sys.exit(flush_stdout(ended.code) if isinstance(ended.code, int) else ended.code)
    except Exception as error:  # raised outside a command; Python would exit with 1, a verdict
        sys.exit(flush_stdout(_print_failure(error)))


def _end_as_interrupted() -> None:
    """Let SIGTERM and SIGHUP end the program as Ctrl-C does, unless they are ignored (nohup)."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairfix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", "-V", callback=_print_version, is_eager=True, help="Show the version."
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
    except BrokenPipeError:
        drop_stdout()
        return STDOUT_CLOSED
    except SystemExit as ended:  # of code that the command ran; its code is not a verdict
        message = f"Code of the model ended the run with exit code {ended.code}; remove that call."
        return _print_failure(CheckpointError(message))
    except Exception as error:
        if debug:
            lines = traceback.format_exc().splitlines()
            typer.echo("\n".join(map(without_commands, map(printable, lines))), err=True)
        return _print_failure(error)


def _print_failure(error: Exception) -> int:
    """Print what went wrong and return the exit code."""
    failed = describe_failure(error)
    typer.echo(f"fairfix: {terminal_line(failed.message)}", err=True)
    return failed.exit_code


def _build(spec: CommandSpec) -> Any:
    """Return the command with its options."""

    def command(**values: Any) -> None:
        debug, verbose = values.pop("debug"), values.pop("verbose")
        values.pop("help_all", None)  # acted on when it was read

        def body(**given: Any) -> int | None:
            if verbose and given.get("quiet"):
                raise UsageError("--quiet and --verbose exclude each other; give one.")
            from fairfix.cli.console import verbosity

            run = import_module(f"fairfix.cli.{spec.module}").run
            with verbosity(verbose), table_file(given.get("data")) as data:
                table = {"data": data} if "data" in given else {}
                result: int | None = run(**spec.bound, **{**given, **table})
            return result

        raise typer.Exit(_exit_code(body, debug, values))

    groups = (*spec.groups, help_options)
    command.__signature__ = signature(groups, spec.own)  # type: ignore[attr-defined]
    single = typer.Typer(add_completion=False)
    add = single.command(
        spec.name, cls=HelpCommand, help=escape(spec.summary), rich_help_panel=spec.panel
    )
    add(command)
    return typer.main.get_command(single)

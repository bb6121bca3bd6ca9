"""The group of all commands: reports a wrong command line in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from fairfix.cli.failures import INTERRUPTED, STDOUT_CLOSED
from fairfix.cli.streams import drop_stdout


class CommandGroup(TyperGroup):
    """All commands, without the boxes that Typer draws around errors."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command line; exit the process unless ``standalone_mode`` is false."""
        run = partial(
            super().main, args, prog_name, complete_var, False, windows_expand_args, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code = run()
        except typer.Abort:
            code = INTERRUPTED
        except SystemExit:  # Typer's answer to a closed pipe
            drop_stdout()
            code = STDOUT_CLOSED
        except Exception as error:
            if not hasattr(error, "format_message"):  # not an error of Typer
                raise
            typer.echo(_message(error), err=True)
            code = error.exit_code  # type: ignore[attr-defined]
        sys.exit(code)


def _message(error: Any) -> str:
    """Return Typer's message and where to read on, or the help if no command was given."""
    text = str(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        return text
    line = " ".join(text.replace(": Value error, ", ": ").split())
    if line.endswith(("?", ".")):
        return f"fairfix: {line}"
    place = error.ctx.command_path if error.ctx else "fairfix"
    return f"fairfix: {line}. See {place} --help."

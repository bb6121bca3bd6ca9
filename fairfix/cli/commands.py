"""The commands as a whole: a wrong command line is refused in one sentence, like all else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from fairfix.cli.exits import INTERRUPTED


class Commands(TyperGroup):
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
        """Run the command line, and unless ``standalone_mode`` is off end the program."""
        run = partial(
            super().main, args, prog_name, complete_var, False, windows_expand_args, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code = run()
        except typer.Abort:
            code = INTERRUPTED
        except Exception as error:
            if not hasattr(error, "format_message"):  # then it is none of Typer's
                raise
            typer.echo(_said(error), err=True)
            code = error.exit_code  # type: ignore[attr-defined]
        sys.exit(code)


def _said(error: Any) -> str:
    """What Typer has to say, and where to read on; the help itself where nothing was asked for."""
    message = str(error.format_message())
    if type(error).__name__ == "NoArgsIsHelpError":
        return message
    said = " ".join(message.replace(": Value error, ", ": ").split())
    if said.endswith(("?", ".")):
        return f"fairfix: {said}"
    place = error.ctx.command_path if error.ctx else "fairfix"
    return f"fairfix: {said}. See {place} --help."

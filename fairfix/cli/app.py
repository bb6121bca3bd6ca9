"""The commands, and how each of them ends."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer

from fairfix import methods
from fairfix._utils.version import __version__
from fairfix.cli import bench_options as study_options
from fairfix.cli import options
from fairfix.cli.commands import Commands
from fairfix.cli.exits import INTERRUPTED, READER_GONE, failure

app = typer.Typer(
    name="fairfix",
    cls=Commands,
    help="Debias an already trained PyTorch classifier, and say honestly how far it worked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of ``fairfix``."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as on stderr, whatever the locale
    try:
        app()
    except Exception as error:  # outside of any command; Python's own exit code would be a gate's 1
        found = failure(error)
        typer.echo(f"fairfix: {found.said}", err=True)
        sys.exit(found.code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fairfix {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None: ...


def _ending(body: Callable[..., int | None], debug: bool, values: dict[str, Any]) -> int:
    """Run a command's body; the exit code, with one clear sentence where it failed."""
    try:
        code = body(**values) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        typer.echo("fairfix: interrupted; no partial file was left.", err=True)
        return INTERRUPTED
    except BrokenPipeError:  # as of "| head"; Python must not find the pipe again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except Exception as error:
        if debug:
            traceback.print_exc()
        found = failure(error)
        typer.echo(f"fairfix: {found.said}", err=True)
        return found.code


def _add(
    name: str,
    help_text: str,
    module: str,
    groups: Sequence[Callable[..., None]],
    *,
    panel: str,
    own: Sequence[inspect.Parameter] = (),
    bound: dict[str, Any] | None = None,
) -> None:
    """Add a command whose body, ``run`` of a module in this folder, is imported when it runs."""

    def command(**values: Any) -> None:
        debug = values.pop("debug")

        def body(**given: Any) -> int | None:
            run = import_module(f"fairfix.cli.{module}").run
            result: int | None = run(**(bound or {}), **given)
            return result

        raise typer.Exit(_ending(body, debug, values))

    command.__signature__ = options.signature(groups, own)  # type: ignore[attr-defined]
    app.command(name, help=help_text, rich_help_panel=panel)(command)


o = options
_add(
    "inspect",
    "Say what a checkpoint is: format, layers, parameters, prunable units, inputs, output.",
    "inspect",
    (o.model_argument, o.model_options, o.talk_options),
    panel="Look",
)
_add(
    "audit",
    "Measure every metric with its interval, by group, intersection and subgroup; change nothing.",
    "audit",
    (
        o.arguments,
        o.audit_options,
        o.evidence_options,
        o.table_options,
        o.model_options,
        o.rule_options,
        o.threshold_options,
        o.talk_options,
    ),
    panel="Look",
)
_add(
    "gate",
    "Hold a model against budgets and floors; exit 0 when all are certified, 1 when one is "
    "violated, 3 when the rows cannot tell.",
    "gate",
    (
        o.arguments,
        o.gate_options,
        o.evidence_options,
        o.threshold_options,
        o.table_options,
        o.model_options,
        o.rule_options,
        o.talk_options,
    ),
    panel="Look",
)
for _name in methods.names():
    _method = methods.get(_name)
    _add(
        _name,
        _method.description,
        "method",
        (
            o.arguments,
            o.goal_options,
            o.evidence_options,
            o.threshold_options,
            o.table_options,
            o.model_options,
            o.output_options,
            o.talk_options,
        ),
        panel="Debias",
        own=o.method_options(_method),
        bound={"name": _name},
    )
_add(
    "bench",
    "Compare methods on rows that no method saw: on your models, or by a paper's protocol.",
    "bench",
    (
        study_options.bench_options,
        o.goal_options,
        o.threshold_options,
        o.table_options,
        o.model_options,
        o.talk_options,
    ),
    panel="Compare",
)
_add(
    "data",
    "List, fetch and prepare the public benchmark data sets.",
    "data",
    (study_options.data_options, o.talk_options),
    panel="Compare",
)
_add(
    "predict",
    "Apply a checkpoint and its rule to a table; write scores and decisions.",
    "predict",
    (
        o.arguments,
        o.table_options,
        o.model_options,
        o.rule_options,
        o.predict_options,
        o.talk_options,
    ),
    panel="Use",
)

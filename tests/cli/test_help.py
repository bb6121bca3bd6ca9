"""Help: imports nothing heavy, fits a screen, and with --help-all is complete."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
import typer

from fairfix import methods
from fairfix._utils.version import __version__
from fairfix.cli.app import app
from fairfix.cli.command_specs import command_specs
from fairfix.cli.options.option import ADVANCED, COMMON
from tests.helpers.runs import Run

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
HEAVY = ["torch", "numpy", "pandas", "sklearn", "scipy", "aif360", "skopt", "pyarrow"]


@pytest.mark.parametrize(
    "words", [["--help"], ["prune", "--help"], ["prune", "--help-all"], ["--version"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys, json\n"
        "from fairfix.cli.app import app\n"
        f"app({words!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    imported = json.loads(ran.stdout.splitlines()[-1])
    assert "fairfix" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_every_method_is_a_command() -> None:
    assert {*methods.names(), "inspect", "audit", "predict"} <= COMMANDS.keys()


def flags(name: str, panel: str | None = None) -> list[str]:
    """Return the long names of a command's options, all or those of a panel."""
    return [
        flag
        for param in COMMANDS[name].params
        if panel in (None, getattr(param, "rich_help_panel", None))
        for flag in param.opts
        if flag.startswith("--")
    ]


def listed(text: str) -> set[str]:
    """Return the options that begin a row of a panel."""
    return set(re.findall(r"^│ (--[a-z0-9-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(
    fairfix: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = COMMANDS[name]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []
    ended = fairfix(name, "--help-all")
    assert (ended.code, ended.err) == (0, "")
    assert listed(ended.out) == {*flags(name), "--help"}
    panels = re.findall(r"^╭─ ([A-Za-z ]+) ─", ended.out, re.MULTILINE)
    assert panels == [*(["Arguments"] if name != "doctor" else []), COMMON, ADVANCED]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_the_common_options_on_one_screen(
    fairfix: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = fairfix(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    assert listed(ended.out) == {*flags(name, COMMON), "--help"}
    more = len(flags(name, ADVANCED))
    assert more > 0
    assert f" --help-all shows {more} more options." in [line.rstrip() for line in lines]
    assert ADVANCED not in ended.out
    for example in command_specs()[name].examples:
        assert f" {example}" in [line.rstrip() for line in lines]


COMMON_OF_METHODS = (
    *("--metric", "--budget", "--test", "--output", "--label", "--favorable", "--group"),
    *("--privileged", "--arch", "--seed", "--json", "--force", "--help-all"),
)


@pytest.mark.parametrize("name", methods.names())
def test_the_common_options_of_a_method(name: str) -> None:
    own = {f"--{option.name.replace('_', '-')}" for option in methods.get(name).options[:9]}
    assert {*flags(name, COMMON)} == {*COMMON_OF_METHODS, *own}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_examples_are_valid_command_lines(name: str) -> None:
    examples = command_specs()[name].examples
    assert len(examples) == 3
    for example in examples:
        program, command, *words = shlex.split(example)
        assert (program, command) == ("fairfix", name)
        COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("name", methods.names())
def test_an_example_shows_an_option_of_the_method(name: str) -> None:
    own = [f"--{option.name.replace('_', '-')}" for option in methods.get(name).options]
    last = command_specs()[name].examples[-1].split()
    assert not own or {*own} & {*last}


def test_commands_are_registered_in_the_order_of_their_list() -> None:
    assert list(COMMANDS) == list(command_specs())


@pytest.mark.parametrize("name", methods.names())
def test_the_options_of_a_method_are_on_its_command(name: str) -> None:
    params = {param.name: param for param in COMMANDS[name].params}
    for option in methods.get(name).options:
        assert f"--{option.name.replace('_', '-')}" in params[option.name].opts
        assert option.help[1:] in params[option.name].help


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_help_lists_the_commands(fairfix: Run, words: list[str]) -> None:
    ended = fairfix(*words)
    assert ended.code == (0 if words else 2)
    assert [name for name in COMMANDS if name not in ended.out + ended.err] == []


def test_the_version(fairfix: Run) -> None:
    assert fairfix("--version").out == f"fairfix {__version__}\n"


def test_an_unknown_command(fairfix: Run) -> None:
    ended = fairfix("pruen", "model.pt", "val.csv")
    assert ended.code == 2
    assert ended.sentence == "No such command 'pruen'. Did you mean 'prune'?"


def test_a_missing_argument(fairfix: Run) -> None:
    ended = fairfix("prune", "model.pt")
    assert ended.code == 2
    assert ended.sentence == "Missing argument 'DATA'."

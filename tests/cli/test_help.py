"""Help: quick, and complete."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer

from fairfix import methods
from fairfix._utils.version import __version__
from fairfix.cli.app import app
from tests.helpers.runs import Run

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
HEAVY = ["torch", "numpy", "pandas", "sklearn", "scipy", "aif360", "skopt", "pyarrow"]


@pytest.mark.parametrize("words", [["--help"], ["prune", "--help"], ["--version"]])
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


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_has_help(fairfix: Run, name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []
    ended = fairfix(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    shown = [option for p in command.params for option in p.opts if option.startswith("--")]
    assert [option for option in shown if option not in ended.out] == []


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

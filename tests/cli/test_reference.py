"""The command-line reference is current and complete."""

from __future__ import annotations

import re

import pytest
import typer

from fairfix.cli.app import app
from fairfix.cli.command_specs import command_specs
from fairfix.cli.reference import reference
from tests.helpers.paths import ROOT

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_the_page_is_current() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m fairfix.cli.reference > docs/cli.md"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_section_has_usage_examples_and_every_option(name: str) -> None:
    section = re.split(r"^## ", reference(), flags=re.MULTILINE)[2 + list(COMMANDS).index(name)]
    assert section.startswith(f"{name}\n")
    assert f"```sh\nfairfix {name} [OPTIONS]" in section
    assert all(f"\n{example}\n" in section for example in command_specs()[name].examples)
    options = [flag for param in COMMANDS[name].params for flag in param.opts if flag[0] == "-"]
    rows = [line for line in section.splitlines() if line.startswith("| `-")]
    listed = [flag for row in rows for flag in re.findall(r"`(-[^`]+)`", row.split(" | ")[0])]
    assert sorted(listed) == sorted(options)

"""The page of papers names methods, options and programs that exist."""

from __future__ import annotations

import re

import pytest

from fairfix import methods
from fairfix.cli.command_specs import command_specs
from fairfix.cli.options.option import signature
from tests.helpers.paths import ROOT

PAGE = (ROOT / "docs" / "papers.md").read_text(encoding="utf-8")
CODE = re.findall(r"`([^`]+)`", PAGE)
PROGRAMS = sorted({code for code in CODE if code.startswith("python ")})


def options() -> set[str]:
    """Every option of every command."""
    return {
        "--" + name.rstrip("_").replace("_", "-")
        for spec in command_specs().values()
        for name in signature(spec.groups, spec.own).parameters
    }


@pytest.mark.parametrize("name", methods.builtin_names())
def test_methods_of_a_paper_are_on_the_page(name: str) -> None:
    paper = methods.get(name).facts["Paper"]
    if re.search("Savani|Marcinkevics|Wang|Cherepanova", paper):
        assert any(code.split()[0] == name for code in CODE)


def options_in(code: str) -> list[str]:
    """The options that a command on the page has."""
    return [word for word in code.split() if word.startswith("--")]


def test_options_on_the_page_exist() -> None:
    named = {word for code in CODE if code not in PROGRAMS for word in options_in(code)}
    assert len(named) > 15
    assert named - options() == set()


@pytest.mark.parametrize("code", PROGRAMS)
def test_programs_on_the_page_exist_with_their_options(code: str) -> None:
    name = re.split(r"[./ ]", code.partition("benchmarks")[2])[1]
    source = (ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8")
    assert [option for option in options_in(code) if f'"{option}"' not in source] == []


def test_every_row_of_a_paper_has_a_place_or_says_not_done() -> None:
    _, tables = PAGE.split("## Algorithms")
    rows = [line.split("|") for line in tables.splitlines() if re.match(r"\| [SMWC]\d\d ", line)]
    assert len(rows) > 60
    assert [row for row in rows if not row[3].strip()] == []

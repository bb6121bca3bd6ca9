"""The tutorials, in an empty folder: blocks run in order and give the output that is shown."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pages import Block, blocks, commands, missing
from tests.helpers.paths import ROOT
from tests.helpers.runs import Run

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def test_output_is_compared_in_order_and_by_nearly_equal_numbers() -> None:
    output = "a 0.501 b, n\nskipped\ngap of spd < 0.1  sex  -0.157  violated\n"
    assert missing("a 0.51 b,\n\ngap of spd < 0.1 sex -0.16\n", output) == []
    assert missing("gap of spd < 0.1 sex -0.16\na 0.5 b,\n", output) == ["a 0.5 b,"]
    assert missing("a 0.6 b,", output) == ["a 0.6 b,"]
    assert missing("a 0.5 c,", output) == ["a 0.5 c,"]


def run_commands(block: Block, fairfix: Run) -> None:
    for (program, *words), code, shown in commands(block):
        if program == "python":
            (script,) = words
            runpy.run_path(script)
            continue
        ended = fairfix(*words)
        assert program == "fairfix"
        assert ended.code == code, f"line {block.line}: {words} {ended.err}"
        assert missing("\n".join(shown), ended.out) == [], ended.out


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_every_block_runs(
    page: Path, fairfix: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session: dict[str, Any] = {}
    printed = ""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.title:
            path = tmp_path / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(block.text, f"{page.name}:{block.line}", "exec"), session)
            printed = out.getvalue()
        elif block.language == "text":
            assert printed
            assert missing(block.text, printed) == [], f"line {block.line}:\n{printed}"
            printed = ""
        else:
            run_commands(block, fairfix)

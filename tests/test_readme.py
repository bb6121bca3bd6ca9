"""The README and docs/: every command and every piece of Python runs and ends as it says."""

from __future__ import annotations

import json
import os
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fairfix import methods
from fairfix.data.inputs.array_part import ArrayEntry
from fairfix.data.inputs.image_decoding import Resize
from fairfix.data.inputs.image_part import ImageEntry
from fairfix.data.inputs.text_part import TextEntry
from fairfix.data.spec import DataSpec, spec_from_json
from fairfix.data.spec.table_inputs import CodesColumn, CodesEntry, NumbersEntry
from fairfix.metrics import METRICS
from tests.helpers.pages import Block, Command, blocks, commands
from tests.helpers.paths import ROOT
from tests.helpers.runs import Run

ROOT = ROOT
README = ROOT / "README.md"
WITHOUT_BLOCKS = {
    *("api.md", "cli.md", "methods.md", "papers.md", "performance.md", "rule.md", "tables.md"),
}
DOCS = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in WITHOUT_BLOCKS)
OPTIONAL = {
    "import lightning": "lightning",
    "import Trainer": "accelerate",
    "import mlflow": "mlflow",
    "import ModelCard": "huggingface_hub",
}
"""Packages of extras, by what a block that needs them has; it is not run without them."""


def test_what_the_harness_finds() -> None:
    page = (
        "# t\n```bash\nfairfix a \\\n  b 'c d'  # exits 2\n\nmake demo\n# note\n```\n"
        "```python\nx = 1\n```\n```console\n$ fairfix e\nout\n```\n"
    )
    found = blocks(page)
    assert [(block.language, block.line) for block in found] == [
        ("bash", 2),
        ("python", 9),
        ("console", 12),
    ]
    assert commands(found[0]) == [Command(("fairfix", "a", "b", "c d"), 2)]
    assert commands(found[2]) == [Command(("fairfix", "e"), 0, ("out",))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader has who stands in a fresh copy of the project."""
    ignored = shutil.ignore_patterns("*.debiased.*", "__pycache__")
    shutil.copytree(ROOT / "sample_models", tmp_path / "sample_models", ignore=ignored)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_data_spec_shown_is_one_and_shows_every_field() -> None:
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
    _, _, section = page.partition("## Data spec\n")
    (shown,) = (block for block in blocks(section) if block.language == "json")
    spec = DataSpec.from_json(json.loads(shown.text))
    assert len(spec.names) == 8
    fields = {field for entry in spec.to_json()["features"] for field in entry}
    named = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    documented = {name for cell in named for name in re.findall(r"`(\w+)`", cell)}
    assert documented == fields | {"transformer", "columns", "text", "version"}


def test_the_page_on_inputs_shows_every_field() -> None:
    page = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    kinds: tuple[type[BaseModel], ...] = (NumbersEntry, CodesEntry, CodesColumn, ArrayEntry)
    for kind in (*kinds, ImageEntry, Resize, TextEntry):
        for name, field in kind.model_fields.items():
            assert re.search(rf'[`"]{field.alias or name}[`"]', page), name


def lacks_a_package(block: Block) -> bool:
    needed = [package for text, package in OPTIONAL.items() if text in block.text]
    return any(find_spec(package) is None for package in needed)


def has_digits() -> bool:
    return (Path(os.environ.get("FAIRFIX_DATA", "")) / "data" / "mnist").is_dir()


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_every_block_runs(
    folder: Path, fairfix: Run, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page: later blocks may use what earlier ones wrote."""
    monkeypatch.setattr(METRICS, "_known", dict(METRICS._known))  # forget what a page registers
    ran = 0
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.language == "python" and "load_digits" in block.text and not has_digits():
            continue  # would download them
        if block.language == "python" and lacks_a_package(block):
            continue
        if block.language == "python":
            exec(compile(block.text, f"{page.name}:{block.line}", "exec"), {})
            ran += 1
        elif block.language in ("bash", "console"):
            for (program, *words), code, *_ in commands(block):
                assert program == "fairfix", f"line {block.line}: {program} is not run here"
                ended = fairfix(*words)
                assert ended.code == code, f"line {block.line}: {words} {ended.err}"
                ran += 1
        elif block.language == "json" and '"inputs"' in block.text:
            spec_from_json(json.loads(block.text))
            ran += 1
    assert ran > 0


def test_the_methods_are_as_their_sources_say() -> None:
    page = README.read_text(encoding="utf-8")
    _, begin, rest = page.partition("<!-- methods:begin -->\n")
    table, end, _ = rest.partition("\n<!-- methods:end -->")
    assert begin
    assert end
    assert table == methods.table(methods.builtin_names())


def test_every_exit_code_of_the_page_is_one(fairfix: Run, folder: Path) -> None:
    from fairfix.cli import failures
    from fairfix.errors import FairfixError, VerificationError

    codes: set[Any] = {0, FairfixError.exit_code, VerificationError.exit_code}
    codes |= {failures.INTERNAL, failures.INTERRUPTED}
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    _, _, rest = page.partition("## Exit codes\n")
    section, _, _ = rest.partition("\n## ")
    assert {int(code) for code in re.findall(r"\b\d+\b", section)} >= codes

"""The examples in docstrings run, and public functions and types are documented."""

from __future__ import annotations

import doctest
import inspect
import pkgutil
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import fairfix
from fairfix.methods import _registry
from tests.helpers.paths import SAMPLES


def modules() -> list[str]:
    found = pkgutil.walk_packages(fairfix.__path__, "fairfix.")
    return ["fairfix", *(each.name for each in found if not each.name.endswith("__main__"))]


def examples() -> list[str]:
    """Modules whose source holds an example."""
    names = []
    for name in modules():
        spec = find_spec(name)  # not imported: some modules need a package of an extra
        if spec is not None and ">>> " in Path(str(spec.origin)).read_text(encoding="utf-8"):
            names.append(name)
    return names


@pytest.mark.parametrize("name", examples())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "_registered", {})  # forget what an example registers
    module = import_module(name)
    globs = {**vars(module), "samples": SAMPLES, "folder": tmp_path}
    result = doctest.testmod(module, extraglobs=globs, report=False)
    assert result.attempted
    assert result.failed == 0


@pytest.mark.parametrize("name", [n for n in fairfix.__all__ if not n.startswith("__")])
def test_public_names_are_documented(name: str) -> None:
    public = getattr(fairfix, name)
    text = inspect.getdoc(public) or ""
    assert text
    if inspect.isfunction(public) and inspect.signature(public).parameters:
        assert "Args:" in text

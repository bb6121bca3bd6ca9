"""The package layout as data: imports point one way, and dangerous calls have one home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fairfix

ROOT = Path(fairfix.__file__).parent
LAYERS = (
    "errors",
    "_utils",
    "metrics",
    "models",
    "data",
    "thresholds",
    "stats",
    "methods",
    "report",
    "workflows",
    "integrations",
    "bench",
    "cli",
)
"""The entries of the package; each imports only from itself and from those above it."""
OUTSIDE = {"__init__", "__main__"}
LONGEST = 400


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in files()}


def imported(path: Path) -> set[str]:
    """Modules of fairfix that a file imports anywhere: also in functions and for types alone."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found.add(inside if inside in MODULES else node.module or "")
    return found & MODULES


def layer(name: str) -> str:
    """The entry of the package that a module belongs to."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def calls(path: Path) -> Iterator[str]:
    """What is called or taken from a module, as it is written: ``torch.load``, ``print``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def test_the_package_has_the_listed_entries_alone() -> None:
    entries = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert entries - OUTSIDE - {"__pycache__"} <= set(LAYERS)
    assert len(LAYERS) <= 13


@pytest.mark.parametrize("path", files(), ids=module)
def test_imports_point_to_the_same_entry_or_one_above(path: Path) -> None:
    here = layer(module(path))
    if here in OUTSIDE:
        return
    allowed = set(LAYERS[: LAYERS.index(here) + 1])
    assert {layer(name) for name in imported(path)} <= allowed


def test_no_module_takes_part_in_an_import_circle() -> None:
    graph = {
        module(path): imported(path) - {module(path)}
        for path in files()
        if layer(module(path)) not in OUTSIDE
    }
    assert set(TopologicalSorter(graph).static_order()) >= graph.keys()


@pytest.mark.parametrize("path", files(), ids=module)
def test_no_module_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", files(), ids=module)
def test_every_module_begins_with_a_summary_line(path: Path) -> None:
    summary = (ast.get_docstring(tree(path)) or "").partition("\n")[0]
    assert summary.endswith((".", ":")), f"{path} has no summary"


@pytest.mark.parametrize(
    ("forbidden", "homes"),
    [
        (("torch.load", "torch.save", "torch.jit.load", "torch.export.load"), "models"),
        (("pickle.load", "pickle.loads", "pickle.Unpickler"), "models"),
        (
            ("pd.read_csv", "pd.read_parquet", "pandas.read_csv", "pandas.read_parquet"),
            "data bench",  # users' tables, and the data sets as their publishers distribute them
        ),
        (("print", "sys.stdout", "sys.stderr"), "cli"),
    ],
)
def test_some_things_are_done_in_one_place(forbidden: tuple[str, ...], homes: str) -> None:
    where = {layer(module(path)) for path in files() if set(forbidden) & set(calls(path))}
    assert where <= set(homes.split())


def test_nothing_is_evaluated() -> None:
    for path in files():
        assert not {"eval", "exec", "__import__"} & set(calls(path)), path


def test_global_random_state_is_set_nowhere() -> None:
    for path in files():
        assert not {"torch.manual_seed", "np.random.seed", "random.seed"} & set(calls(path)), path

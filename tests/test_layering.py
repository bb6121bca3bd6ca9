"""Imports point one way, and each dangerous or noisy thing is done in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import fairfix

ROOT = Path(fairfix.__file__).parent

# The core: each line may import from the lines above it.
ORDER = (
    "errors version progress",
    "rates policy scorer units",
    "objectives problem rule result",
    "cuts forward split",
    "search proxies",
)
RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
# Files, tables and people: methods and the judge know nothing of them, nor of each other.
OUTER = {"api", "audit", "bench", "case", "cautions", "checkpoint", "cli", "dataspec",
         "debias", "export", "findings", "gating", "predict", "report", "rulefile", "save",
         "settings", "subgroups", "table"}  # fmt: skip
JUDGE = {"calibration", "evaluate", "evidence", "fold", "frontier", "sensitivity"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(path) for path in files()}


def imported(path: Path, nodes: Iterator[ast.AST] | list[ast.stmt]) -> set[str]:
    """The modules of fairfix that these nodes of a file import."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES
            found |= inside or {node.module or ""}
    return found & MODULES


def room(name: str) -> str:
    """The file or package directly below fairfix that a module belongs to."""
    return [*name.split("."), ""][1]


def calls(path: Path) -> Iterator[str]:
    """What is called or taken from a module, as it is written: ``torch.load``, ``print``."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def needed(name: str) -> set[str]:
    """The rooms that a room imports from, and all that those import from, itself left aside."""
    found: set[str] = set()
    new = {name}
    while new:
        found |= new
        paths = [path for path in files() if room(module(path)) in new]
        new = {room(o) for path in paths for o in imported(path, ast.walk(tree(path)))} - found
    return found - {name, ""}


@pytest.mark.parametrize("name", RANKS)
def test_the_core_imports_only_from_what_stands_before_it(name: str) -> None:
    paths = [path for path in files() if room(module(path)) == name]
    assert paths
    rooms = {room(other) for path in paths for other in imported(path, ast.walk(tree(path)))}
    assert rooms - {name} <= {other for other, rank in RANKS.items() if rank < RANKS[name]}


def test_methods_see_no_files_and_no_judge() -> None:
    assert {"search", "cuts", "rates"} <= needed("methods")
    assert not needed("methods") & (OUTER | JUDGE)


@pytest.mark.parametrize("name", sorted(JUDGE))
def test_the_judge_sees_no_files_and_no_methods(name: str) -> None:
    assert "problem" in needed(name)
    assert not needed(name) & {*OUTER, "methods", "search", "proxies"}


def test_only_the_command_line_imports_the_command_line() -> None:
    for path in files():
        if room(module(path)) not in ("cli", "__main__"):
            rooms = {room(other) for other in imported(path, ast.walk(tree(path)))}
            assert "cli" not in rooms, path


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    """What is imported when a module is, leaving aside what a function imports when it runs."""
    graph = {
        module(path): imported(path, tree(path).body) - {module(path)}
        for path in files()
        if path.name != "__init__.py"
    }
    assert set(TopologicalSorter(graph).static_order()) >= graph.keys()


@pytest.mark.parametrize(
    ("forbidden", "homes"),
    [
        (("torch.load", "torch.save", "torch.jit.load", "torch.export.load"), "checkpoint"),
        (("pickle.load", "pickle.loads", "pickle.Unpickler"), "checkpoint"),
        (
            ("pd.read_csv", "pd.read_parquet", "pandas.read_csv", "pandas.read_parquet"),
            "table bench",  # users' tables, and the data sets as their publishers distribute them
        ),
        (("print", "sys.stdout", "sys.stderr"), "cli"),
    ],
)
def test_some_things_are_done_in_one_place(forbidden: tuple[str, ...], homes: str) -> None:
    where = {room(module(path)) for path in files() if set(forbidden) & set(calls(path))}
    assert where <= set(homes.split())


def test_nothing_is_evaluated() -> None:
    for path in files():
        assert not {"eval", "exec", "__import__"} & set(calls(path)), path


def test_global_random_state_is_set_nowhere() -> None:
    for path in files():
        assert not {"torch.manual_seed", "np.random.seed", "random.seed"} & set(calls(path)), path

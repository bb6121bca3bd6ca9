"""The recipes of CONTRIBUTING.md work as written."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from fairfix.models.checkpoint import safetensors, state_dict
from tests.helpers.paths import ROOT, SAMPLES

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    return re.split(r"^## ", PAGE.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def blocks(heading: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(heading), re.M | re.S)


def run(script: str, folder: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


LOAD = f"""
case = fairfix.load(
    {str(SAMPLES / "loh" / "model.pt")!r}, {str(SAMPLES / "loh" / "val.csv")!r},
    arch="mlp:relu-bn", privileged=1,
)
"""


def test_the_recipe_for_a_method(tmp_path: Path) -> None:
    method, register = blocks("Add a method", "python")
    (tmp_path / "jitter.py").write_text(method)
    script = f"from jitter import jitter\n{register}\n{LOAD}\n" + (
        'outcome = fairfix.debias(case, "jitter", trials=5)\n'
        "print(outcome.method, len(outcome.result.trajectory))\n"
    )
    assert run(script, tmp_path) == "jitter 6\n"
    (entry,) = blocks("Add a method", "toml")
    assert '[project.entry-points."fairfix.methods"]' in entry


def test_the_recipe_for_a_metric(tmp_path: Path) -> None:
    (metric,) = blocks("Add a metric", "python")
    script = f"{metric}\n{LOAD}\n" + (
        'audit = fairfix.audit(case, metric="drd", budget=0.5)\n'
        "print(audit.groups[0].claim.metric, audit.groups[0].claim.verdict)\n"
    )
    assert run(script, tmp_path) == "drd certified\n"
    (entry,) = blocks("Add a metric", "toml")
    assert '[project.entry-points."fairfix.metrics"]' in entry


def test_the_recipe_for_a_checkpoint_format() -> None:
    (module,) = blocks("Add a checkpoint format", "python")
    names = {
        node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node.targets[0])
        for node in ast.parse(module).body
        if isinstance(node, ast.FunctionDef | ast.Assign)
    }
    for form in (state_dict, safetensors):
        assert names <= set(vars(form))
    text = section("Add a checkpoint format")
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert list(ROOT.glob(name)) or list((ROOT / "fairfix" / "models").rglob(name)), name

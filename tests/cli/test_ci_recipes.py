"""The action, the hook and the templates, in the repository of a stranger."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import ROOT
from tests.helpers.runs import Place, Run

ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.fixture
def stranger(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a network, a table and settings, and ``fairfix`` on the path."""
    repository = place.folder
    (repository / ".git").mkdir()
    settings = ["[gate]", 'floor = ["accuracy=0.5"]', "budget = [", '  "eod=0.9",', '  "spd=0.01",']
    (repository / "fairfix.toml").write_text("\n".join([*settings, "]", ""]), encoding="utf-8")
    programs = repository / ".git" / "bin"
    programs.mkdir()
    program = programs / "fairfix"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairfix "$@" --trust-checkpoint\n')
    program.chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(repository)
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return repository


def run_action(repository: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Run the steps but the installation; return the exit code, the outputs and the summary."""
    given = {name: each.get("default", "") for name, each in ACTION["inputs"].items()} | inputs
    output, summary = repository / ".git" / "output", repository / ".git" / "summary"
    runner = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(repository)}
    runner |= {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    install, *steps = ACTION["runs"]["steps"]
    assert "pip install" in install["run"]
    code = 0
    for step in steps:
        assert "${{" not in step["run"]  # inputs reach the shell as variables, never as code
        values = {
            name: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: given[found[1]], value)
            for name, value in step["env"].items()
        }
        command = ["bash", "-e", "-o", "pipefail", "-c", step["run"]]
        environment = os.environ | runner | values
        code = subprocess.run(command, cwd=repository, env=environment, check=False).returncode
    lines = output.read_text(encoding="utf-8").splitlines()
    return code, dict(line.split("=", 1) for line in lines), summary.read_text(encoding="utf-8")


def test_the_action_passes(stranger: Path) -> None:
    budgets = {"budget": "spd=0.9\n\neod=0.9\n", "floor": "accuracy=0.5"}
    code, outputs, summary = run_action(stranger, model="model.pt", data="test.csv", **budgets)
    assert code == 0
    assert outputs["verdict"] == "passed"
    assert -1 < float(outputs["gap"]) < 1
    assert "## fairfix gate: " in summary
    assert len(json.loads((stranger / "fairfix-gate.json").read_text())["checks"]) >= 3
    assert (stranger / "fairfix-gate.xml").is_file()


def test_a_violated_budget_is_a_result_in_the_model(stranger: Path) -> None:
    code, outputs, _ = run_action(stranger, model="model.pt", data="test.csv", budget="spd=0.01")
    assert (code, outputs["verdict"]) == (1, "violated")
    (result,) = results(stranger / "fairfix-gate.sarif")
    assert place_of(result) == ("model.pt", 1)


def test_no_verdict_is_said(stranger: Path) -> None:
    code, outputs, summary = run_action(stranger, model="none.pt", data="test.csv")
    assert (code, outputs) == (2, {"verdict": "none"})
    assert "no verdict" in summary


def results(path: Path) -> list[dict[str, Any]]:
    """The results of a log that keeps the rules of code scanning."""
    log = json.loads(path.read_text(encoding="utf-8"))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for each in run["results"]:
        assert each["kind"] == "fail"
        assert rules[each["ruleIndex"]]["id"] == each["ruleId"]
        uri, line = place_of(each)
        assert not uri.startswith(("/", ".."))
        assert ":" not in uri
        assert line >= 1
    for invocation in run["invocations"]:
        for each in invocation["toolExecutionNotifications"]:
            assert each["level"] in ("none", "note", "warning", "error")
            assert each["message"]["text"]
    found: list[dict[str, Any]] = run["results"]
    return found


def place_of(result: dict[str, Any]) -> tuple[str, int]:
    (location,) = result["locations"]
    place = location["physicalLocation"]
    return place["artifactLocation"]["uri"], place["region"]["startLine"]


def test_a_model_outside_is_located_at_its_demand(
    stranger: Path, fairfix: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("registry") / "model.pt"
    (stranger / "model.pt").rename(outside)
    sarif = stranger / "gate.sarif"
    ended = fairfix("gate", outside, "test.csv", "--trust-checkpoint", "--sarif", sarif)
    assert ended.code == 1, ended.err
    (result,) = results(sarif)
    assert result["ruleId"] == "budget/spd"
    assert place_of(result) == ("fairfix.toml", 5)


def files_of_hooks() -> Iterator[tuple[str, bool]]:
    yield from (("fairfix.toml", True), ("a/m.data.json", True), ("m.rule.json", True))
    yield from (("pyproject.toml", True), ("package.json", False), ("my_fairfix.toml", False))


def test_the_hook_takes_settings_specs_and_rules() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert hook["entry"] == "fairfix validate"
    for name, taken in files_of_hooks():
        assert bool(re.search(hook["files"], name)) == taken, name


def test_the_templates_name_only_what_a_stranger_has() -> None:
    for path in (ROOT / "docs" / "ci" / "gitlab.yml", ROOT / "docs" / "ci.md", ROOT / "README.md"):
        text = path.read_text(encoding="utf-8")
        snippets = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL) or [text]
        for snippet in snippets:
            assert yaml.safe_load(snippet)
            assert "constraints.txt" not in snippet


def test_the_image_has_a_user_and_no_cuda() -> None:
    text = (ROOT / "docs" / "ci" / "Dockerfile").read_text(encoding="utf-8")
    assert "USER fairfix" in text
    assert "--torch-backend=cpu" in text
    assert "-slim" in text

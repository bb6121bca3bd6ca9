"""The fixture ``fairfix_gate`` in runs of pytest."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from xml.etree import ElementTree

import pytest

from tests.helpers.paths import ROOT

pytest_plugins = ["pytester"]

TESTS = """
import numpy as np
import fairfix

rng = np.random.default_rng(0)
group = rng.integers(0, 2, 2000)
score = rng.random(2000)
label = (score + 0.3 * rng.normal(size=2000) > 0.5).astype(int)


def case(shift=0.0):
    shifted = np.clip(score + shift * group, 0, 1)
    return fairfix.load(None, {"score": shifted, "label": label, "group": group}, score="score")


def test_certified(fairfix_gate):
    found = fairfix_gate(case(), {"spd": 0.2}, floors={"tpr.min": 0.6})
    assert len(found.checks) == 2


def test_violated(fairfix_gate):
    fairfix_gate(case(0.5), {"spd": 0.1})


def test_inconclusive(fairfix_gate):
    fairfix_gate(case(), {"spd": 0.01})


def test_inconclusive_may_pass(fairfix_gate):
    fairfix_gate(case(), {"spd": 0.01}, on_inconclusive="warn")


def test_wrong_input(fairfix_gate):
    fairfix_gate(case(), {"sdp": 0.01})
"""


def test_only_what_passes_the_gate_passes(pytester: pytest.Pytester) -> None:
    # Imported rather than named as a plugin, which it is already where fairfix is installed.
    pytester.makeconftest("from fairfix.integrations.pytest_plugin import fairfix_gate  # noqa")
    pytester.makepyfile(TESTS)
    ended = pytester.runpytest_subprocess("--junit-xml=out.xml", "-W", "error", "-p", "no:xdist")
    ended.assert_outcomes(passed=2, failed=3)
    ended.stdout.fnmatch_lines(["Failed: the demand is violated.", "gap of spd < 0.1*violated.*"])
    ended.stdout.fnmatch_lines(["Inconclusive: the demand is not certified*"])
    ended.stdout.fnmatch_lines(["*UsageError: *did you mean 'spd'*"])
    cases = ElementTree.parse(pytester.path / "out.xml").iter("testcase")
    properties = {
        case.attrib["name"]: [each.attrib["value"] for each in case.iter("property")]
        for case in cases
    }
    assert [values[:1] for values in properties.values()] == [
        ["passed"],
        ["violated"],
        ["inconclusive"],
        ["passed"],
        [],
    ]


def test_the_plugin_is_named_and_imports_nothing_large() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert import_module(module).fairfix_gate
    script = f"import sys, {module}; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"

"""Type checkers see the real signatures of the public API."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

SCRIPT = ROOT / "tests" / "typed_user_script.py"
CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-error-summary", "--config-file", "pyproject.toml"),
    "pyright": ("pyright", "--level", "error"),
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_a_user_script_is_checked_with_real_types(checker: str) -> None:
    if checker == "pyright":
        pytest.importorskip("pyright", reason="pyright is not installed")
    run = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker], str(SCRIPT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr

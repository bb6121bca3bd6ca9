"""Standard streams that are closed or full: never a verdict, and never another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers.paths import ROOT
from tests.helpers.runs import Place, Run

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

SCRIPT = """
import sys
from fairfix.cli.streams import flush_stdout, prepare_streams
prepare_streams()
print("a message", file=sys.stderr)
code = {code}
try:
    print("a result")
    sys.stdout.flush()
except BrokenPipeError:
    from fairfix.cli.streams import drop_stdout
    drop_stdout()
    code = 141
except OSError:
    code = 2
sys.exit(flush_stdout(code))
"""


def shell(command: str) -> int:
    """Run a command of a shell in which $PY is Python; return its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PY": sys.executable}
    return subprocess.run(["sh", "-c", command], env=environment, check=False).returncode


@pytest.mark.parametrize("code", [0, 1, 3])
@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (">/dev/null 2>/dev/null", None),
        (">/dev/null 2>/dev/full", None),
        (">/dev/null 2>&-", None),
        (">/dev/full 2>/dev/null", 2),
        (">&- 2>/dev/null", 141),
        (">&- 2>&-", 141),
    ],
)
def test_exit_codes_of_streams(
    tmp_path: Path, code: int, streams: str, expected: int | None
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(code=code))
    assert shell(f"$PY {script} {streams}") == (code if expected is None else expected)


@pytest.mark.parametrize(
    ("streams", "expected"),
    [(">/dev/null 2>/dev/full", 1), (">/dev/full 2>&-", 2), (">&- 2>/dev/null", 141)],
)
def test_only_a_violation_exits_with_1(tmp_path: Path, streams: str, expected: int) -> None:
    frame = pd.DataFrame(
        {"label": [0, 1] * 400, "sex": ["f"] * 400 + ["m"] * 400, "p": [0.1] * 400 + [0.9] * 400}
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    gate = f"$PY -m fairfix gate - {tmp_path / 'rows.csv'} --score p --group sex --budget spd=0.1"
    assert shell(f"{gate} {streams}") == expected


def test_code_of_a_model_that_exits_is_no_verdict(
    fairfix: Run, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.folder / "net.py").write_text("import sys\nsys.exit(1)\n")
    ended = fairfix(
        "gate",
        place.model,
        place.test,
        "--arch",
        f"{place.folder / 'net.py'}:Net",
        "--budget",
        "spd=0.9",
        "--trust-checkpoint",
    )
    assert ended.code == 2
    assert "ended the run with exit code 1" in ended.err

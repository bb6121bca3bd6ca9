"""The pictures of README and docs: real output of real commands on a sample network.

``python -m docs.scripts.pictures`` writes docs/pictures. The report is rendered by Chromium.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docs.scripts.terminal_recording import COLUMNS, Recorded, draw
from tests.helpers.browser import browser
from tests.helpers.paths import ROOT

PICTURES = ROOT / "docs" / "pictures"
COMMANDS = (
    "fairfix auto model.pt val.csv --metric spd 2> notes.txt",
    "fairfix gate model.debiased.pt test.csv --budget spd=0.05 2> notes.txt",
)
WIDTH, HEIGHT = 960, 840  # of the part of the report that is shown


def record(typed: str, folder: Path) -> Recorded:
    """Run a command as on a terminal with colors."""
    words = shlex.split(typed.partition(" 2> ")[0])
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=os.environ | terminal,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return Recorded(typed, ended.stdout)


def photograph(page: Path, folder: Path) -> bytes:
    """Return the top of a page as WebP."""
    with browser(folder / "profile") as tab:
        tab.show(WIDTH)
        tab.open(page)
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
        found = tab.call(
            "Page.captureScreenshot",
            format="webp", quality=80, clip=clip, captureBeyondViewport=True,
        )  # fmt: skip
    return base64.b64decode(found["data"])


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "loh"
        ignored = shutil.ignore_patterns("*.debiased.*")
        shutil.copytree(ROOT / "sample_models" / "loh", folder, ignore=ignored)
        recorded = [record(typed, folder) for typed in COMMANDS]
        title = "fairfix debiases a network and certifies the result"
        (PICTURES / "terminal.svg").write_text(draw(recorded, title), encoding="utf-8")
        report = photograph(folder / "model.debiased.report.html", Path(made))
        (PICTURES / "report.webp").write_bytes(report)


if __name__ == "__main__":
    main()

"""A command line that was run, and the folder it was run in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What a refusal says: nothing on stdout, and one or two sentences as the last line."""
        assert self.out == ""
        assert "Traceback" not in self.err
        said = self.err.splitlines()[-1]
        assert said.startswith("fairfix: ")
        assert 1 <= len(re.findall(r"[.?!](?= [A-Z]|$)", said)) <= 2, said
        return said.removeprefix("fairfix: ")


@dataclass(frozen=True)
class Place:
    """A folder with a network and the tables it is debiased and judged on."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.pt"

    @property
    def val(self) -> Path:
        return self.folder / "val.csv"

    @property
    def test(self) -> Path:
        return self.folder / "test.csv"

    def table(self, frame: pd.DataFrame, name: str = "other.csv") -> Path:
        """Write another table."""
        frame.to_csv(self.folder / name, index=False)
        return self.folder / name

    def files(self) -> dict[str, bytes]:
        """Every file below the folder, hidden ones too, by its path from there."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


Run = Callable[..., Ended]
Draw = Callable[[int, int], pd.DataFrame]

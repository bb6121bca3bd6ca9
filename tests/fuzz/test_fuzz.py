"""A small seeded part of the fuzzing, and the harness itself: it finds what it should find."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.runner import fuzz
from tests.fuzz.targets import TARGETS, Target

FEW = {"checkpoints": 250, "tables": 200, "rules": 100, "specs": 100, "settings": 100}


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_files_are_refused_or_read_right(name: str) -> None:
    found = fuzz(name, range(1_000_000, 1_000_000 + FEW.get(name, 60)))
    assert found.wrong == []
    assert found.counts["refused"] > 0


def _runs_code(path: Path, case: int) -> None:
    import os

    os.system("true")


def _hangs(path: Path, case: int) -> None:
    while True:
        pass


def _dies(path: Path, case: int) -> None:
    import os

    os.abort()


@pytest.mark.parametrize(
    ("read", "result"),
    [
        (_runs_code, "effects: os.system"),
        (_hangs, "took over 1 s"),
        (_dies, "killed its process"),
        (lambda path, case: [][case], "internal error: IndexError"),
    ],
)
def test_what_goes_wrong_is_found(
    read: targets.Reader, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.runner.MAX_SECONDS", 1)
    monkeypatch.setitem(TARGETS, "rules", Target(TARGETS["rules"].build, ".json", read))
    found = fuzz("rules", range(1_000_000, 1_000_001))
    assert result in found.wrong[0]

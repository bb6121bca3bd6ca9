"""Commands stopped at some of their writes leave the old or the new files, never a mixture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.interruptions import EFFECTS, changes_of, check, prepared


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("interruptions") / "start")


@pytest.mark.parametrize("effect", EFFECTS)
def test_old_or_new_files_after_an_interruption(effect: str, start: Path) -> None:
    changes = changes_of(start, "thresholds")
    assert changes > 10
    for at in range(EFFECTS.index(effect), changes, 6):
        assert check(start, "thresholds", effect, at) == "", f"before change {at} of {changes}"

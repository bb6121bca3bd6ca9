"""Freed memory goes back to the system after as many rows as need much of it."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

from fairfix.models import scorer as scorers
from fairfix.models.freed_memory import return_freed_memory
from fairfix.models.scorer import Output, Scorer
from tests.helpers import zoo

MIB = 2**20


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_between_blocks_in_use_is_returned() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    blocks = [np.ones(50_000, np.uint8) for _ in range(2_000)]
    kept = blocks[::40]
    del blocks
    before = resident()
    return_freed_memory()
    assert before - resident() > 50 * MIB
    assert len(kept) == 50


@pytest.mark.parametrize(("release_after", "times"), [(None, 0), (4, 2), (8, 1), (100, 0)])
def test_it_is_returned_whenever_enough_rows_were_run(
    monkeypatch: pytest.MonkeyPatch, release_after: int | None, times: int
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(scorers, "return_freed_memory", lambda: calls.append(None))
    scorer = Scorer(zoo.network("dropout"), Output.LOGIT, release_after=release_after)
    scorer.score(zoo.features(12), batch_size=4)
    assert len(calls) == times

"""The study of training rows and penalties: its runs, its file, and its tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

from fairfix.bench.training import Recipe
from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT))

from benchmarks import training_rows
from benchmarks.choose.bed import Bed
from benchmarks.training_rows import SETTINGS, Setting, gains, overfitting, results

SMALL = (
    Setting("unmodified"),
    Setting("identity"),
    Setting("prune", (("max_units", 1),)),
    Setting("prune", (("max_units", 1),), train=True),
)


def test_a_stopped_study_continues_and_training_rows_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_rows, "DATA_SETS", ("loh/alpha=1",))
    monkeypatch.setattr(training_rows, "OTHER_ATTRIBUTE", {"loh/alpha=1": "loh/alpha=1"})
    monkeypatch.setattr(training_rows, "SETTINGS", SMALL)
    bed = Bed(tmp_path, Recipe(depth=1, width=4, epochs=1), fresh_test_rows=0)
    path = tmp_path / "rows.jsonl"
    found = list(results(bed, path, iter([0])))
    assert [json.loads(line) for line in path.read_text().splitlines()] == found
    assert [each["setting"] for each in found[::2]] == [setting.name for setting in SMALL]
    assert all(abs(each["train"] - each["validation"]) < 0.1 for each in found)
    assert all(each["other"] == pytest.approx(each["test"]) for each in found)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:6]))
    with monkeypatch.context() as stopped:
        stopped.setattr(bed.__class__, "cases", lambda *_: pytest.fail("runs again"))
        monkeypatch.setattr(training_rows, "SETTINGS", SMALL[:3])
        assert list(results(bed, path, iter([0]))) == found[:6]


def test_the_tables_have_means_over_splits() -> None:
    lines = [
        {
            **{"data": data, "seed": seed, "goal": goal, "setting": "gda --train"},
            **{"objective": 0.8 * seed, "held": bool(seed), "performance": 0.8, "train": -0.02},
            **{"validation": 0.04, "test": -0.06, "other": 0.1},
        }
        for data in training_rows.DATA_SETS
        for goal in training_rows.GOALS
        for seed in (0, 1)
    ]
    table = pd.DataFrame(lines)
    assert "| `gda --train` | 0.400; 0.50 |" in gains(table)
    assert "| eod | `gda --train` | 0.020 | 0.040 | 0.060 | 0.100 |" in overfitting(table)


def test_every_penalty_is_studied_with_and_without_training_rows() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    for name in training_rows.PENALTIES:
        assert {f"finetune --penalty {name}", f"finetune --penalty {name} --train"} <= {*names}

"""Commands on combinations of inputs, networks, formats and methods: two of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

pytest.importorskip("PIL.Image", reason="Pillow is not installed")
sys.path.insert(0, str(ROOT / "benchmarks"))

import input_combinations as combinations


def test_a_combination_has_no_fault(tmp_path: Path) -> None:
    named = "png", "Cnn", "pt2", "blind"
    assert named in combinations.COMBINATIONS
    assert combinations.check(tmp_path, *named) == []


def test_a_fault_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combinations, "gap", lambda *_: 2.0)
    wrong = combinations.check(tmp_path, "codes", "EmbeddingNetwork", "state_dict", "gda")
    assert [each.partition(":")[0] for each in wrong] == ["audit"]

"""The measurement of costs: what a process took, and the parts that can be called."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import costs


def test_the_usage_of_a_process_is_its_own() -> None:
    small = costs.usage(["-c", "pass"])
    large = costs.usage(["-c", "x = bytearray(200 * 2**20); x[::4096] = bytes(len(x[::4096]))"])
    assert 190 * costs.MIB < large.memory - small.memory < 220 * costs.MIB
    busy = costs.usage(["-c", "import time\nwhile time.process_time() < 0.5: pass"])
    assert 0.5 <= busy.cpu < 2
    assert busy.wall >= 0.5 - 0.05


def test_a_process_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        costs.usage(["-c", "raise SystemExit('no such thing')"])


def test_parts_are_called_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def part(folder: object) -> None:
        costs.line("a figure", "2.00", "3")

    monkeypatch.setattr(costs, "PARTS", {"one": part, "two": None})
    costs.main(["one"])
    assert capsys.readouterr().out.split() == ["a", "figure", "2.00", "(at", "most", "3)"]
    with pytest.raises(SystemExit):
        costs.main(["three"])
    assert "there is no part 'three'; parts: one, two" in capsys.readouterr().err


def test_every_cost_has_a_part() -> None:
    assert list(costs.PARTS) == [
        *("start", "groups", "columns"),
        *("images-prune", "images-gda", "images-perturb", "images-layerwise"),
        *("wide", "layerwise", "scores", "checkpoint"),
    ]

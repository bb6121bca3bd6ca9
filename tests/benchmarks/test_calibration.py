"""The study of calibration, on a sample model."""

from __future__ import annotations

import sys

import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import calibration


@pytest.fixture(autouse=True)
def sample_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRFIX_DATA", raising=False)


def test_a_line_has_the_calibration_error_of_every_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--networks", "loh", "--metrics", "spd", "--methods", "identity", "finetune"]
    calibration.main(arguments)
    header, _, *lines = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    )
    kept, tuned = (dict(zip(header, line, strict=True)) for line in lines)
    assert (kept["method"], tuned["method"]) == ("identity", "finetune")
    assert kept["unmodified"] == kept["as trained"] == kept["recalibrated"]
    assert kept["AUC, unmodified"] == kept["AUC"]
    assert tuned["unmodified"] == kept["unmodified"]
    assert kept["isotonic"] == "-"
    for better in ("recalibrated", "isotonic"):
        assert float(tuned[better]) < float(tuned["as trained"])

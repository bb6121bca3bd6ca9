"""The comparison with tools that need an environment of their own, without that environment."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import peer_fits
import peers
from peer_fits import Array, Decide
from run import random_scores


def at_half(scores: Array, labels: Array, groups: Array, bound: float, metric: str) -> Decide:
    assert len(scores) == len(labels) == len(groups)
    assert bound == 0.04
    return lambda scores, groups: (scores > 0.5) if metric == "spd" else (groups == 0)


def test_a_fit_prints_the_figures_of_its_decisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = random_scores(3_000)
    scores, labels, groups = (
        part.numpy() for part in (problem.scores, problem.labels, problem.groups)
    )
    np.savez(tmp_path / "rows.npz", scores=scores, labels=labels, groups=groups)
    monkeypatch.setitem(peer_fits.FITS, "half", at_half)
    peer_fits.time_fit("half", str(tmp_path / "rows.npz"), "0.04")
    result = json.loads(capsys.readouterr().out)
    positive = scores > 0.5
    true_positive_rate, false_positive_rate = (
        positive[labels == 1].mean(),
        positive[labels == 0].mean(),
    )
    assert result["performance"] == pytest.approx(
        (true_positive_rate + 1 - false_positive_rate) / 2
    )
    gap = positive[groups == 0].mean() - positive[groups == 1].mean()
    assert result["gap"] == pytest.approx(gap)
    assert result["seconds"] >= 0


def test_a_fit_decides_the_test_rows_of_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {
        "validation_scores": np.array([0.1, 0.9], np.float32),
        "validation_labels": np.array([0, 1], np.int8),
        "validation_groups": np.array([0, 1], np.int8),
        "test_scores": np.array([0.7, 0.2, 0.6, 0.4], np.float32),
        "test_labels": np.array([1, 1, 0, 0], np.int8),
        "test_groups": np.array([0, 0, 1, 1], np.int8),
    }
    files = [str(tmp_path / f"{n}.npz") for n in range(2)]
    for file in files:
        np.savez(file, allow_pickle=False, **rows)
    monkeypatch.setitem(peer_fits.FITS, "half", at_half)
    peer_fits.decide_test_rows("half", "spd", "0.04", *files)
    peer_fits.decide_test_rows("half", "eod", "0.04", files[0])
    first, second, other = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second == {"tp": [1, 0], "fp": [0, 1], "fn": [1, 0], "tn": [0, 1]}
    assert other == {"tp": [2, 0], "fp": [0, 0], "fn": [0, 0], "tn": [0, 2]}


def test_all_tools_fit_the_same_rows_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def fit(python: Path, tool: str, rows: Path) -> tuple[float, str]:
        with np.load(rows) as saved:
            assert np.array_equal(saved["scores"], problem.scores.numpy())
        turns.append(tool)
        return float(len(turns)), "0.700 at spd +0.010"

    problem = random_scores(500)
    monkeypatch.setattr(peers, "their_fit", fit)
    fits = peers.time_fits(problem, Path(sys.executable), 3)
    assert turns == ["oxonfair", "error-parity"] * 3
    assert {name: len(found) for name, found in fits.items()} == dict.fromkeys(
        ("fixed margin", "margin auto", "oxonfair", "error-parity"), 3
    )


def test_medians_are_compared() -> None:
    fits = {
        "fixed margin": [(0.1, "A"), (0.2, "A"), (0.9, "A")],
        "margin auto": [(0.4, "B")] * 3,
        "oxonfair": [(0.5, "C"), (0.6, "C"), (0.1, "C")],
        "error-parity": [(1.0, "D")] * 3,
    }
    assert [" ".join(text.split()) for text in peers.report(fits)] == [
        "fixed margin, oxonfair 0.200 0.500 2.5x A against C",
        "fixed margin, error-parity 0.200 1.000 5.0x A against D",
        "margin auto, oxonfair 0.400 0.500 1.2x B against C",
        "margin auto, error-parity 0.400 1.000 2.5x B against D",
    ]

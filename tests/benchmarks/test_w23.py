"""The study of fairif and its control, on a few synthetic digits and rows."""

import json
import sys
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import w23
from choose.bed import Bed
from cimnist import Study

from fairfix import methods
from fairfix.bench.training import Recipe
from tests.benchmarks.test_cimnist import bars


def test_results_of_digits_are_kept_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = [Study("mlp", "group-size", 0.8, 2, 1e-3, 64)]
    w23.measure_digits(tmp_path, studies, [0], bars(150))
    kept = json.loads((tmp_path / "digits" / "group-size-0.json").read_text())
    assert list(kept) == ["unmodified", *w23.ARMS]
    assert all(0 <= kept[arm]["accuracy"] <= 1 for arm in kept)
    assert "gaps" not in kept["control"]
    assert list(kept["fairif"]["gaps"]) == ["eod", "fprd"]
    monkeypatch.delattr(w23, "run")
    w23.measure_digits(tmp_path, studies, [0], bars(150))
    w23.main(["report", "--folder", str(tmp_path)])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1] for row in rows] == [
        "unmodified",
        *w23.ARMS,
        "fairif - control",
        "fairif / plain in the paper",
        "fairif / unmodified here",
    ]
    assert rows[0][0] == "| group-size (1 seeds)"


def test_methods_see_a_share_of_the_validation_images_and_may_train_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study("mlp", "group-size", 0.8, 1, 1e-3, 64)
    seen = []

    def run(method, options, validation, objective, seed):  # type: ignore[no-untyped-def]
        seen.append((options.get("retrain", False), len(validation)))
        return methods.get("identity").run(validation, objective), {}

    monkeypatch.setattr(w23, "run", run)
    for share, arms in ((1, w23.RETRAINED), (0.5, w23.ARMS)):
        w23.measure_digits(tmp_path, [study], [0], bars(150), arms, f"digits-{share}", share)
    (_, whole), *_, (_, half) = seen
    assert [retrained for retrained, _ in seen] == [True, True, False, False, False]
    assert half == round(whole / 2)
    assert "| bias (digits-0.5) |" in w23.report(tmp_path)


def test_the_cost_of_stage_1_is_measured(tmp_path: Path) -> None:
    bed = Bed(tmp_path, Recipe(depth=1, width=4, epochs=1), fresh_test_rows=0)
    *_, row = w23.stage1(bed, ["loh/alpha=1"], 0).splitlines()
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells[:2] == ["loh/alpha=1", "6,000"]
    assert int(cells[3]) > 0
    assert float(cells[4]) < 60


def test_the_published_ratios_are_those_of_the_paper() -> None:
    plain, fair = w23.PUBLISHED["group-size"]
    assert (plain[1], fair[1]) == (1.13, 0.29)
    assert set(w23.PUBLISHED) == set(w23.BIASES)


def test_networks_trained_otherwise_have_a_folder_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(w23, "load_digits", lambda: bars(150))
    monkeypatch.setattr(w23, "measure_digits", lambda *given: calls.append(given))
    call = ["digits", "--biases", "class-size", "--folder", str(tmp_path), "--share", "0.5"]
    for more in ([], ["--epochs", "250", "--learning-rate", "2e-4"]):
        w23.main([*call, *more])
    (_, (usual,), *_, part, _), (_, (longer,), *_, other, _) = calls
    assert (usual.epochs, usual.learning_rate, part) == (100, 5e-4, "digits-0.5")
    assert (longer.epochs, longer.learning_rate, other) == (250, 2e-4, "digits-0.5-250x0.0002")

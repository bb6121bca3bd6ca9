"""The recipes for CelebA and FairFace, on a few drawn images in the layout of the data sets."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.paths import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

import faces
import w23

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
QUICK = ["--width", "2", "--side", "16", "--epochs", "1", "--learning-rate", "0.01"]


def draw(folder: Path, files: list[str], bright: np.ndarray) -> None:
    """Draw one image a file: noise, brighter where the label is 1."""
    noise = np.random.default_rng(0).integers(0, 120, (len(files), 20, 18, 3), dtype=np.uint8)
    for name, pixels, more in zip(files, noise, bright, strict=True):
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(pixels + np.uint8(90 * more)).save(path)


def as_celeba(folder: Path, n: int = 90) -> None:
    label, group = np.arange(n) % 2, np.arange(n) // 2 % 2
    names = [f"{place:06}.jpg" for place in range(n)]
    draw(folder, [f"img_align_celeba/{name}" for name in names], label)
    rows = [
        f"{name} {2 * a - 1:2} {2 * b - 1:2} -1"
        for name, a, b in zip(names, label, group, strict=True)
    ]
    head = f"{n}\nSmiling Male Young"
    (folder / "list_attr_celeba.txt").write_text("\n".join([head, *rows]) + "\n")
    parts = [f"{name} {place // 30}" for place, name in enumerate(names)]
    (folder / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")


def as_fairface(folder: Path, n: int = 60) -> None:
    for part in ("train", "val"):
        files = [f"{part}/{place}.jpg" for place in range(n)]
        gender = np.where(np.arange(n) % 2, "Female", "Male")
        race = np.array(["White", "Black", "Indian"])[np.arange(n) // 2 % 3]
        draw(folder, files, gender == "Female")
        table = {"file": files, "age": "20-29", "gender": gender, "race": race}
        pd.DataFrame(table).to_csv(folder / f"fairface_label_{part}.csv", index=False)


def test_the_parts_of_celeba_are_its_own(tmp_path: Path) -> None:
    as_celeba(tmp_path)
    tables = faces.celeba(tmp_path, faces.Columns("Smiling", "Male"), 0)
    assert [len(tables[part]) for part in faces.PARTS] == [30, 30, 30]
    first = tables["val"].iloc[0].to_dict()
    assert first == {"file": "img_align_celeba/000030.jpg", "label": 0, "group": "1"}


def test_a_fifth_of_the_training_images_of_fairface_is_for_validation(tmp_path: Path) -> None:
    as_fairface(tmp_path)
    tables = faces.fairface(tmp_path, faces.Columns("gender", "race", "Female"), 0)
    assert [len(tables[part]) for part in faces.PARTS] == [48, 12, 60]
    assert not set(tables["train"]["file"]) & set(tables["val"]["file"])
    assert tables["test"]["label"].tolist()[:4] == [0, 1, 0, 1]
    assert set(tables["test"]["group"]) == {"White", "Black", "Indian"}


@pytest.mark.parametrize(
    ("name", "write", "options"),
    [
        ("celeba", as_celeba, ["--label", "Smiling", "--group", "Male"]),
        (
            "fairface",
            as_fairface,
            ["--label", "gender", "--favorable", "Female", "--group", "race", "--share", "0.9"],
        ),
    ],
)
def test_a_recipe_measures_fairif_and_its_control(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write,  # type: ignore[no-untyped-def]
    options: list[str],
) -> None:
    write(tmp_path / "images")
    kept = tmp_path / "kept"
    call = [name, str(tmp_path / "images"), *options, *QUICK, "--folder", str(kept)]
    faces.main(call)
    printed = capsys.readouterr().out
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines()[2:]]
    assert [row[1] for row in rows] == ["unmodified", *w23.ARMS]
    assert all(0 <= float(row[2]) <= 1 for row in rows)
    monkeypatch.delattr(faces.Training, "run")
    faces.main(call)
    assert capsys.readouterr().out == printed

"""Options for networks that take images, texts, arrays and codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.helpers.runs import Run

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
N = 40
IMAGE = {"kind": "image", "column": "file"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A network on images of 3 x 4 x 4, a table, and its images in a folder of their own."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for row, pixels in enumerate(rng.integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{row}.png")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
    torch.save(network, tmp_path / "model.pt")
    table = {"nr": range(N), "file": [f"{row}.png" for row in range(N)]}
    frame = pd.DataFrame(table | {"label": np.arange(N) % 2, "group": np.arange(N) // 2 % 2})
    frame.to_csv(tmp_path / "val.csv", index=False)
    return tmp_path


def write_spec(folder: Path) -> None:
    """Write the data spec beside the model."""
    spec = {"version": 2, "call": "position", "inputs": {"image": IMAGE}}
    (folder / "model.data.json").write_text(json.dumps(spec))


def files(folder: Path) -> tuple[str, ...]:
    return ("--image-root", str(folder / "images"), "--cache", str(folder / "cache"))


def test_images_and_their_cache_lie_in_the_named_folders(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    ended = fairfix("audit", folder / "model.pt", folder / "val.csv", *files(folder))
    assert ended.code == 0, ended.err
    assert any((folder / "cache").rglob("*.npy"))


def test_the_settings_file_names_them_relative_to_itself(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "fairfix.toml").write_text('image-root = "images"\ncache = "cache"\n')
    ended = fairfix("audit", folder / "model.pt", folder / "val.csv")
    assert ended.code == 0, ended.err
    assert any((folder / "cache").rglob("*.npy"))


def test_a_bad_row_is_refused_or_left_out(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "images" / "3.png").write_bytes(b"no image")
    call = ("predict", folder / "model.pt", folder / "val.csv", *files(folder))
    assert "leave them out with --on-bad-row skip" in fairfix(*call).sentence
    skip = (*call, "--on-bad-row", "skip")
    assert "Name the id column with --id" in fairfix(*skip).sentence
    ended = fairfix(*skip, "--id", "nr", "-o", folder / "out.csv")
    assert ended.code == 0, ended.err
    assert "1 row of val.csv cannot be used and is left out" in ended.err
    assert pd.read_csv(folder / "out.csv")["nr"].tolist() == [i for i in range(N) if i != 3]


def test_a_table_of_test_rows_is_read_likewise(fairfix: Run, folder: Path) -> None:
    write_spec(folder)
    (folder / "images" / "bad.png").write_bytes(b"no image")
    shutil.copytree(folder / "images", folder / "images" / "test")
    frame = pd.read_csv(folder / "val.csv").assign(
        file="test/" + pd.Series(map(str, range(N))) + ".png"
    )
    frame.loc[0, "file"] = "bad.png"
    frame.to_csv(folder / "test.csv", index=False)
    ended = fairfix(
        *("thresholds", folder / "model.pt", folder / "val.csv", "--test", folder / "test.csv"),
        *(*files(folder), "--on-bad-row", "skip", "-o", folder / "out.pt", "--allow-trivial"),
    )
    assert "test.csv: 1 row of test.csv cannot be used and is left out" in ended.err

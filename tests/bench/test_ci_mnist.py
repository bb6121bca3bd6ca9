"""CI-MNIST: which digits get which background, and the forms in which the images are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fairfix.bench import ci_mnist
from fairfix.bench.ci_mnist import (
    PUBLISHED_COUNTS,
    Bias,
    ColoredDigits,
    Digits,
    cell_counts,
    color_digits,
    load_digits,
    write_arrays,
    write_columns,
    write_pngs,
)
from fairfix.bench.download import DownloadError
from fairfix.data.inputs.array_file import read_array
from fairfix.data.spec import spec_from_json
from fairfix.data.table import Columns, read_table
from fairfix.errors import OutputError, UsageError

BIASES: tuple[Bias, ...] = ("group-size", "group-distribution", "class-size")
N = 200


def synthetic(n: int = N) -> Digits:
    """Return random pixels, with more odd digits than even ones."""
    draws = np.random.default_rng(0)
    values = np.where(draws.random(n) < 0.6, 1, 4).astype(np.uint8)
    return Digits(draws.integers(0, 256, (n, 28, 28), dtype=np.uint8), values)


def cells(colored: ColoredDigits) -> np.ndarray:
    """Return the counts [odd, even] x [blue, red]."""
    return np.bincount(2 * colored.labels + colored.groups, minlength=4).reshape(2, 2)


@pytest.mark.parametrize("bias", BIASES)
def test_all_digits_give_the_published_counts(bias: Bias) -> None:
    values = np.repeat([1, 2], [35_582, 34_418]).astype(np.uint8)
    digits = Digits(np.zeros((70_000, 1, 1), np.uint8), values)
    colored = color_digits(digits, bias)
    assert cells(colored).tolist() == [list(row) for row in PUBLISHED_COUNTS[bias]]
    assert len(set(colored.ids.tolist())) == len(colored)


@pytest.mark.parametrize(
    ("bias", "share", "expected"),
    [
        ("group-size", 0.9, [[108, 12], [72, 8]]),
        ("group-distribution", 0.95, [[114, 6], [4, 76]]),
        ("class-size", 0.75, [[60, 60], [20, 20]]),
    ],
)
def test_the_share_is_the_strength_of_the_bias(bias: Bias, share: float, expected: Any) -> None:
    digits = Digits(np.zeros((N, 28, 28), np.uint8), np.repeat([3, 8], [120, 80]).astype(np.uint8))
    assert [list(row) for row in cell_counts(digits, bias, share)] == expected
    assert cells(color_digits(digits, bias, share=share)).tolist() == expected


def test_the_background_is_blue_or_red_and_the_digit_white() -> None:
    digits = synthetic()
    colored = color_digits(digits, "group-distribution", share=0.8)
    gray = digits.pixels[colored.ids.astype(int)]
    red, green, blue = colored.images.transpose(1, 0, 2, 3)
    assert np.array_equal(green, gray)
    is_red = colored.groups == 1
    assert np.all(red[is_red] == 255)
    assert np.array_equal(blue[is_red], gray[is_red])
    assert np.all(blue[~is_red] == 255)
    assert np.array_equal(red[~is_red], gray[~is_red])
    assert np.array_equal(colored.labels, digits.values[colored.ids.astype(int)] % 2 == 0)


def test_equal_seeds_give_equal_images() -> None:
    digits = synthetic()
    first, again, other = (
        color_digits(digits, "group-size", share=0.8, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.groups, other.groups)


@pytest.mark.parametrize(
    ("bias", "share", "message"),
    [
        ("color", 0.9, "The biases are group-size"),
        ("group-size", 1.0, "at least 0.5 and below 1"),
        ("group-size", None, "need all digits of MNIST, not 200"),
    ],
)
def test_wrong_settings_are_refused(bias: Any, share: float | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        color_digits(synthetic(), bias, share=share)


def test_every_form_holds_the_same_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    colored = color_digits(synthetic(), "group-distribution", share=0.8).take(np.arange(30, 40))
    arrays = write_arrays(colored, tmp_path / "arrays.csv")
    stored = read_array(arrays, "images")
    assert stored.ids is not None
    assert np.array_equal(np.asarray(stored.values), colored.images)
    assert stored.ids.tolist() == colored.ids.tolist()
    folder = write_pngs(colored, tmp_path / "pngs.csv")
    assert len(list(folder.iterdir())) == 10
    table = pd.read_csv(tmp_path / "pngs.csv", dtype=str)
    opened = [np.asarray(image.open(tmp_path / name)) for name in table["file"]]
    assert np.array_equal(np.stack(opened).transpose(0, 3, 1, 2), colored.images)
    for name in ("flat.csv", "flat.parquet"):
        write_columns(colored, tmp_path / name)
    flat = [
        pd.read_csv(tmp_path / "flat.csv", dtype={"id": str}),
        pd.read_parquet(tmp_path / "flat.parquet"),
    ]
    for each in flat:
        values = each.filter(regex=r"^p\d+$").to_numpy()
        assert np.array_equal(values.reshape(colored.images.shape), colored.images)
    for each in (table, *flat):
        roles = each[["id", "label", "group"]].astype(str)
        assert roles.equals(colored.table().astype(str))


def test_every_form_gives_a_network_the_same_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("PIL")
    monkeypatch.setenv("FAIRFIX_CACHE", str(tmp_path / "cache"))
    colored = color_digits(synthetic(), "group-distribution", share=0.8)
    write_arrays(colored, tmp_path / "arrays.csv")
    write_pngs(colored, tmp_path / "pngs.csv")
    write_columns(colored, tmp_path / "flat.parquet")
    array = {"kind": "array", "file": "arrays.npz", "key": "images", "dtype": "float32"}
    pixels = {
        "kind": "numbers",
        "entries": [{"column": f"p{place}"} for place in range(3 * 28 * 28)],
        "shape": [3, 28, 28],
    }
    forms = {
        "arrays.csv": array | {"align": "id"},
        "pngs.csv": {"kind": "image", "column": "file", "scale": 1.0},
        "flat.parquet": pixels,
    }
    columns = Columns(label="label", favorable="even", groups=("group",), privileged="red", id="id")
    for table, entry in forms.items():
        spec = spec_from_json(
            {"version": 2, "call": "position", "inputs": {"x": entry}}, folder=tmp_path
        )
        read = read_table(tmp_path / table, columns, spec=spec)
        assert read.inputs is not None
        (given,) = read.inputs.batch().args
        assert given.dtype == torch.float32
        assert np.array_equal(given.numpy(), colored.images), table
        assert read.labels is not None
        assert np.array_equal(read.labels, colored.labels)
        assert np.array_equal(read.groups[0].ids, colored.groups)


def test_existing_files_are_replaced_only_by_force(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    colored = color_digits(synthetic(), "group-size", share=0.8).take(np.arange(4))
    for write in (write_arrays, write_pngs, write_columns):
        table = tmp_path / f"{write.__name__}.csv"
        write(colored, table)
        with pytest.raises(OutputError, match="exists"):
            write(colored, table)
        write(colored, table, force=True)


def test_missing_or_other_digits_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRFIX_DATA", str(tmp_path))
    with pytest.raises(DownloadError, match="MNIST is not on this machine"):
        load_digits(download=False)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", _offline)
    with pytest.raises(DownloadError, match="cannot be downloaded from OpenML: no connection"):
        load_digits()
    digits = synthetic(2)
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name in ci_mnist._FILES:
        np.savez(tmp_path / "data" / "mnist" / name, X=digits.pixels, y=digits.values)
    with pytest.raises(DownloadError, match="is not the published MNIST"):
        load_digits()


def _offline(*args: Any, **options: Any) -> Any:
    raise OSError("no connection")


def test_the_local_digits_are_mnist() -> None:
    folder = Path(os.environ.get("FAIRFIX_DATA", "nowhere")) / "data" / "mnist"
    if not folder.is_dir():
        pytest.skip("FAIRFIX_DATA names no folder with MNIST")
    digits = load_digits(download=False)
    assert digits.pixels.shape == (70_000, 28, 28)
    assert np.bincount(digits.values % 2).tolist() == [34_418, 35_582]

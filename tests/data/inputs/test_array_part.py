"""Arrays from files: formats, alignment with the table, and files that are refused."""

from __future__ import annotations

import copy
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fairfix.data.inputs import array_part, mapped_array
from fairfix.data.inputs.array_file import read_array
from fairfix.data.inputs.mapped_array import MappedArray
from fairfix.errors import FairfixError, InputError
from fairfix.models.inputs import Inputs
from tests.data.inputs.conftest import Read

VALUES = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
IDS = {"id": [f"p{i}" for i in range(6)]}
SAVE = {
    "npy": lambda path, x: np.save(path, x),
    "npz": lambda path, x: np.savez(path, x=x),
    "packed.npz": lambda path, x: np.savez_compressed(path, x=x),
    "safetensors": lambda path, x: save_file({"x": torch.from_numpy(np.array(x))}, path),
}


def array(file: str, **more: Any) -> dict[str, Any]:
    return {"emb": {"kind": "array", "file": file, **more}}


def loaded(inputs: Inputs | None) -> torch.Tensor:
    assert inputs is not None
    return inputs.batch().kwargs["emb"]


@pytest.mark.parametrize("suffix", SAVE)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
def test_an_array_keeps_its_values_type_and_shape(
    read: Read, tmp_path: Path, suffix: str, dtype: str
) -> None:
    x = (VALUES * 100).astype(dtype)
    SAVE[suffix](tmp_path / f"emb.{suffix}", x)
    got = loaded(read(array(f"emb.{suffix}"), IDS).inputs)
    assert torch.equal(got, torch.from_numpy(x))
    assert got.dtype == torch.from_numpy(x).dtype


@pytest.mark.parametrize("order", ["F", ">f4"])
def test_other_layouts_in_memory_have_the_same_values(tmp_path: Path, order: str) -> None:
    x = np.asfortranarray(VALUES) if order == "F" else VALUES.astype(order)
    np.save(tmp_path / "x.npy", x)
    got = read_array(tmp_path / "x.npy", None).values
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, VALUES)
    assert got.dtype == np.float32


def test_a_row_may_be_one_number(read: Read, tmp_path: Path) -> None:
    np.save(tmp_path / "emb.npy", VALUES[:, 0, 0])
    assert loaded(read(array("emb.npy"), IDS).inputs).tolist() == VALUES[:, 0, 0].tolist()
    assert loaded(read(array("emb.npy", shape=[1]), IDS).inputs).shape == (6, 1)


def test_bfloat16_is_read(read: Read, tmp_path: Path) -> None:
    x = torch.from_numpy(VALUES).bfloat16()
    save_file({"x": x}, tmp_path / "emb.safetensors")
    assert torch.equal(loaded(read(array("emb.safetensors"), IDS).inputs), x)


def test_shape_and_type_can_be_changed(read: Read, tmp_path: Path) -> None:
    np.save(tmp_path / "emb.npy", VALUES.astype(np.float64))
    got = loaded(read(array("emb.npy", shape=[6], dtype="float32"), IDS).inputs)
    assert torch.equal(got, torch.from_numpy(VALUES.reshape(6, 6)))
    with pytest.raises(InputError, match=r"has the shape \[2, 3\], which cannot become \[5\]"):
        read(array("emb.npy", shape=[5]), IDS)


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_rows_are_found_by_id(read: Read, tmp_path: Path, suffix: str) -> None:
    order = np.array([4, 0, 5, 2, 1, 3])
    numbers = {"id": [f"{i}" for i in range(6)]}
    if suffix == "npz":
        np.savez(tmp_path / "val_emb.npz", x=VALUES[order], x_ids=order.astype(str))
    else:
        stored = {"x": torch.from_numpy(VALUES[order]), "x_ids": torch.from_numpy(order)}
        save_file(stored, tmp_path / "val_emb.safetensors")
    spec = array(f"{{table}}_emb.{suffix}", key="x", align="id")
    assert torch.equal(loaded(read(spec, numbers, id="id").inputs), torch.from_numpy(VALUES))


def test_a_row_without_an_entry_is_named_or_left_out(read: Read, tmp_path: Path) -> None:
    np.savez(tmp_path / "emb.npz", x=VALUES[:5], x_ids=IDS["id"][:5])
    spec = array("emb.npz", align="id")
    with pytest.raises(FairfixError) as raised:
        read(spec, IDS, id="id")
    assert str(raised.value) == (
        "1 row of val.csv cannot be used (first: line 7: emb.npz has no row of the id 'p5'). "
        "Correct them, or leave them out with --on-bad-row skip."
    )
    table = read(spec, IDS, id="id", on_bad_row="skip")
    assert torch.equal(loaded(table.inputs), torch.from_numpy(VALUES[:5]))
    assert table.rows == len(table.groups[0].ids) == 5
    assert table.labels is not None
    assert table.labels.tolist() == [0, 1, 0, 1, 0]
    assert table.file_rows is not None
    assert table.file_rows.tolist() == [0, 1, 2, 3, 4]
    assert any("1 row of val.csv cannot be used and is left out" in note for note in table.notes)


def test_a_value_that_is_not_finite_makes_a_bad_row(read: Read, tmp_path: Path) -> None:
    x = VALUES.copy()
    x[2, 1, 1] = np.nan
    np.save(tmp_path / "emb.npy", x)
    with pytest.raises(FairfixError, match=r"line 4: emb\.npy has a value that is not finite"):
        read(array("emb.npy"), IDS)


def test_a_large_array_stays_in_its_file(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(array_part, "_IN_MEMORY", 0)
    np.save(tmp_path / "emb.npy", VALUES)
    inputs = read(array("emb.npy", dtype="float64"), IDS).inputs
    assert inputs is not None
    part = inputs.parts[0]
    assert isinstance(part, array_part.ArrayPart)
    taken = inputs.take(torch.tensor([5, 1])).take(torch.tensor([1, 0, 1]))
    assert torch.equal(loaded(taken), torch.from_numpy(VALUES[[1, 5, 1]]).double())
    assert torch.equal(loaded(inputs)[2:4], inputs.batch(slice(2, 4)).kwargs["emb"])
    digests = part.digests()
    assert digests.shape == (6, 16)
    np.testing.assert_array_equal(taken.parts[0].digests(), digests[[1, 5, 1]])
    for again in (pickle.loads(pickle.dumps(part)), copy.deepcopy(part)):
        assert torch.equal(again.load(slice(None), torch.device("cpu"))[0], loaded(inputs))
    assert len(pickle.dumps(MappedArray(tmp_path / "emb.npy", VALUES.dtype, VALUES.shape))) < 500


def test_the_array_of_several_must_be_named(read: Read, tmp_path: Path) -> None:
    np.savez(tmp_path / "emb.npz", x=VALUES, y=VALUES)
    with pytest.raises(InputError, match=r"holds 2 arrays: 'x', 'y'; name one"):
        read(array("emb.npz"), IDS)
    with pytest.raises(InputError, match=r"has no array 'z'"):
        read(array("emb.npz", key="z"), IDS)
    assert torch.equal(
        loaded(read(array("emb.npz", key="y"), IDS).inputs), torch.from_numpy(VALUES)
    )


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (5, {}, "emb.npz has 5 rows, but val.csv has 6; write one row per row of the table"),
        (0, {}, "emb.npz has no rows"),
        (6, {"align": "id"}, "emb.npz has no ids; save them beside the array as KEY_ids"),
    ],
)
def test_an_array_must_fit_the_table(
    read: Read, tmp_path: Path, rows: int, more: dict[str, str], message: str
) -> None:
    np.savez(tmp_path / "emb.npz", x=VALUES[:rows])
    with pytest.raises(InputError) as raised:
        read(array("emb.npz", **more), IDS, id="id")
    assert message in str(raised.value)


def test_alignment_by_id_needs_ids(read: Read, tmp_path: Path) -> None:
    np.savez(tmp_path / "emb.npz", x=VALUES, x_ids=["p0"] * 6)
    with pytest.raises(InputError, match="no id column is named"):
        read(array("emb.npz", align="id"), IDS)
    with pytest.raises(InputError, match="has the id 'p0' twice for 6 rows"):
        read(array("emb.npz", align="id"), IDS, id="id")


@pytest.mark.parametrize("file", ["../emb.npy", "/etc/emb.npy", "sub/../../emb.npy"])
def test_a_spec_names_files_in_its_folder_only(read: Read, file: str) -> None:
    with pytest.raises(InputError, match="which is outside of its folder"):
        read(array(file), IDS)


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def pickled(path: Path) -> None:
    np.save(path, np.array([{}] * 6, object), allow_pickle=True)


def deep_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", header("(10000000000000, 3)") + b"\0" * 60)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("object.npy", pickled),
        ("short.npy", lambda path: path.write_bytes(header("(6, 3)") + b"\0" * 60)),
        ("huge.npy", lambda path: path.write_bytes(header("(6, 99999999999999999999)"))),
        ("negative.npy", lambda path: path.write_bytes(header("(-6, -3)") + b"\0" * 72)),
        ("code.npy", lambda path: path.write_bytes(header("exit(1)"))),
        ("text.npy", lambda path: path.write_text("not an array")),
        ("empty.npz", lambda path: path.write_bytes(b"")),
        ("header.npz", deep_zip),
        ("cropped.safetensors", lambda path: path.write_bytes(b"\xff" * 7)),
        ("folder.npy", lambda path: path.mkdir()),
        ("absent.npy", lambda path: None),
    ],
)
def test_a_damaged_or_hostile_file_is_one_sentence(tmp_path: Path, name: str, write: Any) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as raised:
        read_array(tmp_path / name, None)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


def test_rows_of_a_large_file_are_read_again_after_its_memory_was_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_array, "_LARGE", 0)
    np.save(tmp_path / "x.npy", VALUES)
    values = read_array(tmp_path / "x.npy", None).values
    assert isinstance(values, MappedArray)
    for _ in range(2):
        assert torch.equal(values.rows(torch.tensor([4, 1])), torch.from_numpy(VALUES[[4, 1]]))


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_array_of_pixels_is_scaled_as_the_entry_says(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr(array_part, "_IN_MEMORY", 0)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 2, 2), dtype=np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    table = read(array("x.npy", scale=1 / 255, mean=mean, std=std), IDS)
    m, s = (np.array(each, np.float32).reshape(3, 1, 1) for each in (mean, std))
    got = loaded(table.inputs)
    assert got.dtype is torch.float32
    np.testing.assert_array_equal(got, (pixels.astype(np.float32) / np.float32(255) - m) / s)
    with pytest.raises(InputError, match="2 means or standard deviations"):
        read(array("x.npy", mean=[0.1, 0.2]), IDS)
    with pytest.raises(FairfixError, match="a scaled array is float32"):
        read(array("x.npy", scale=0.5, dtype="float64"), IDS)

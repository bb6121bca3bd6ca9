"""What is said about a path that is no checkpoint."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fairfix.errors import CheckpointError
from fairfix.models import checkpoint as checkpoints
from tests.helpers.checkpoint_models import KINDS, Kind

BYTES = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "Git LFS pointer.*git lfs pull",
    ),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page.*download"),
    "web page without doctype": (b"<HTML><head>", "is a web page"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5 file"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(100), "GGUF file"),
    "numpy": (b"\x93NUMPY\x01\0" + bytes(100), "NumPy array"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(50), "ONNX model.*--score"),
    "csv": (b"age,sex,label\n39,1,0\n", "plain text, not a model. Are MODEL and DATA swapped"),
    "long csv": ("naïve,ä\n".encode() * 1000, "plain text, not a model"),
    "gzip": (gzip.compress(b"x" * 100, mtime=0), "compressed with gzip. Unpack it"),
    "bzip2": (b"BZh91AY&SY" + bytes(20), "compressed with bzip2"),
    "xz": (b"\xfd7zXZ\0" + bytes(20), "compressed with xz"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed with zstd"),
    "pickle": (pickle.dumps({"a": 1}), "plain Python pickle, not written by torch.save"),
    "old pickle": (pickle.dumps([1.5], protocol=2), "plain Python pickle"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not in a known format"),
    "zeros": (bytes(64), "not in a known format"),
    "safetensors cut in its header": (
        (1000).to_bytes(8, "little") + b'{"a":{"dtype"',
        "starts as a safetensors file, but is truncated",
    ),
    "json": (b'{"a": 1, "b": {"c": 2}}', "plain text"),
    "json with a brace ninth": (b'{"aaaa":{"b": 1}}', "plain text"),
    "zip that ends early": (b"PK\x03\x04" + bytes(40), "truncated or damaged"),
}


@pytest.mark.parametrize(("content", "sentence"), BYTES.values(), ids=BYTES.keys())
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "model"])
def test_bytes_of_other_kinds(content: bytes, sentence: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        checkpoints.read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numpy_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match="a zip file that PyTorch did not write"):
        checkpoints.detect(tmp_path / "model.npz")


def test_zip_of_a_folder(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("model/config.json", "{}")
    with pytest.raises(CheckpointError, match=r"zip file that torch\.save did not write"):
        checkpoints.detect(tmp_path / "model.zip")


def test_tar_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar", "w") as archive:
        archive.add(__file__, "x.py")
    with pytest.raises(CheckpointError, match=r"tar archive. Unpack it"):
        checkpoints.detect(tmp_path / "model.tar")


def test_missing_file_names_its_nearest(tmp_path: Path) -> None:
    (tmp_path / "model_best.pt").touch()
    with pytest.raises(CheckpointError, match=r"does not exist.*did you mean 'model_best\.pt'\?$"):
        checkpoints.read(tmp_path / "model_bset.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt does not exist\.$"):
        checkpoints.read(tmp_path / "nowhere" / "other.pt")


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ([], r"has no model \(config\.json with model\.safetensors\)"),
        (["config.json"], "has no model"),
        (["model.safetensors"], "without config.json. Use that file"),
        (["config.json", "pytorch_model.bin"], "model in pytorch_model.bin. Use that file"),
        (["config.json", "model.safetensors.index.json"], "several safetensors files"),
        (["MLmodel", "data"], "an MLflow model. Use the file in its data folder"),
        (["saved_model.pb", "variables"], "TensorFlow SavedModel"),
    ],
)
def test_folders(files: list[str], sentence: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=sentence):
        checkpoints.detect(tmp_path)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_the_formats_are_told_apart(kind: Kind, tmp_path: Path) -> None:
    assert checkpoints.detect(str(kind.make(tmp_path))) == kind.key


def test_big_endian_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(2)}, path)
    data = path.read_bytes()
    assert data.count(b"little") == 1
    path.write_bytes(data.replace(b"little", b"big\0\0\0"))
    with pytest.raises(CheckpointError, match="big-endian"):
        checkpoints.read(path)


def test_legacy_file_cut_short_within_its_numbers(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"a": torch.ones(1000)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match=r"truncated: \d+ of \d+ bytes"):
        checkpoints.read(path)


def test_folder_settings_that_are_none(tmp_path: Path) -> None:
    path = KINDS["hugging face folder"].make(tmp_path)
    for text, sentence in (
        ("{", "is not valid JSON"),
        (json.dumps([1]), "must be a JSON object, not a list"),
    ):
        (path / "config.json").write_text(text)
        with pytest.raises(CheckpointError, match=sentence):
            checkpoints.read(path)


@pytest.mark.parametrize("kind", ["named pipe", "symbolic link that leads nowhere", "device"])
def test_what_is_not_a_regular_file_is_refused_unread(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    if kind == "named pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(CheckpointError, match=f"model.pt is a {kind}"):
        checkpoints.detect(path)

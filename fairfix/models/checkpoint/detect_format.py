"""Detect the format of a checkpoint from its content, never from its file name."""

from os import PathLike
from pathlib import Path
from typing import Any

from fairfix._utils.regular_file import irregular_kind
from fairfix._utils.text import did_you_mean
from fairfix.errors import CheckpointError
from fairfix.models.checkpoint import (
    huggingface,
    lightning,
    pickled_module,
    safetensors,
    state_dict,
    torch_export,
    torchscript,
)
from fairfix.models.checkpoint.archive import ZIP_MAGIC, open_archive
from fairfix.models.checkpoint.configuration import CONFIG
from fairfix.models.checkpoint.find_tensors import is_pickled_module
from fairfix.models.checkpoint.safe_pickle import PickledObject
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import LEGACY_MAGIC, PICKLE, open_torch_file

_HEAD_BYTES = 4096
_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the model itself. Fetch it with git lfs pull",
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        "an HDF5 file, perhaps of Keras. Save the PyTorch model with torch.save",
    ),
    (b"GGUF", "a GGUF file, whose weights are packed for llama.cpp. Use the PyTorch model"),
    (b"\x93NUMPY", "a NumPy array. Save the PyTorch model with torch.save"),
    (b"\x1f\x8b", "compressed with gzip. Unpack it first"),
    (b"BZh", "compressed with bzip2. Unpack it first"),
    (b"\xfd7zXZ", "compressed with xz. Unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it first"),
)
_ONNX = (
    "an ONNX model, whose graph cannot be changed. Use the PyTorch model it was exported from, or "
    "name a column of its scores with --score"
)


def detect(path: str | PathLike[str]) -> str:
    """Return the key of the format of a file or folder.

    Raises:
        CheckpointError: if it is not a checkpoint of a known format; the message names its kind.
    """
    path = Path(path)
    kind = irregular_kind(path)
    if kind == "a directory":
        return _detect_folder(path)
    if kind is not None:
        raise CheckpointError(f"{path} is {kind}. Give a checkpoint file or a folder.")
    if not path.exists():
        raise _missing(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from error
    if head.startswith(ZIP_MAGIC):
        return _detect_zip(path)
    if head.startswith(LEGACY_MAGIC):
        return _detect_content(path, open_torch_file(path).content)
    if _is_safetensors(path, head):
        return safetensors.KEY
    description = _description(head)
    stop = "" if description.endswith("?") else "."
    raise CheckpointError(f"{path} is {description}{stop}")


def _detect_zip(path: Path) -> str:
    members = open_archive(path).members
    if "constants.pkl" in members and PICKLE in members:
        return torchscript.KEY
    if "archive_format" in members:
        return torch_export.KEY
    return _detect_content(path, open_torch_file(path).content)


def _detect_content(path: Path, content: Any) -> str:
    if is_pickled_module(content):
        return pickled_module.KEY
    if isinstance(content, dict):
        found = lightning.VERSION in content and "state_dict" in content
        return lightning.KEY if found else state_dict.KEY
    kind = content.class_name if isinstance(content, PickledObject) else type(content).__name__
    if isinstance(content, StoredTensor):
        kind = "tensor"
    raise CheckpointError(
        f"{path} was written by torch.save, but has neither a state_dict nor a network: it is a "
        f"{kind}. Save model.state_dict()."
    )


def _detect_folder(path: Path) -> str:
    names = {entry.name for entry in path.iterdir()}
    if {CONFIG, huggingface.WEIGHTS} <= names:
        return huggingface.KEY
    if f"{huggingface.WEIGHTS}.index.json" in names:
        found = "a model in several safetensors files. Save it in one (max_shard_size)"
    elif "MLmodel" in names:
        found = "an MLflow model. Use the file in its data folder"
    elif "pytorch_model.bin" in names:
        found = "a model in pytorch_model.bin. Use that file, with --arch"
    elif huggingface.WEIGHTS in names:
        found = f"{huggingface.WEIGHTS} without {CONFIG}. Use that file, with --arch"
    elif "saved_model.pb" in names:
        found = "a TensorFlow SavedModel. Only PyTorch models can be changed"
    else:
        found = f"no model ({CONFIG} with {huggingface.WEIGHTS}). Use a file"
    raise CheckpointError(f"The folder {path} has {found}.")


def _missing(path: Path) -> CheckpointError:
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    return CheckpointError(f"{path} does not exist{did_you_mean(path.name, names)}")


def _is_safetensors(path: Path, head: bytes) -> bool:
    if len(head) <= 8 or head[8:9] != b"{":
        return False
    length = int.from_bytes(head[:8], "little")
    if 8 + length > path.stat().st_size:
        if length > 2**32:  # text with a brace there
            return False
        raise CheckpointError(
            f"{path} starts as a safetensors file, but is truncated. Copy or download it again."
        )
    return True


def _description(head: bytes) -> str:
    if not head:
        return "empty (0 bytes). Copy or download it again"
    for magic, text in _UNSUPPORTED:
        if head.startswith(magic):
            return text
    if head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b"\x3a", b"\x42"):
        return _ONNX
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a plain Python pickle, not written by torch.save. Save it with torch.save"
    if head[257:262] == b"ustar":
        return "a tar archive. Unpack it first"
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a model: the download failed. Download it again"
    if _is_text(head):
        return "plain text, not a model. Are MODEL and DATA swapped?"
    return "not in a known format. Save the model with torch.save(model.state_dict(), ...)"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-4].decode() if len(head) == _HEAD_BYTES else head.decode()
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t" for character in text)

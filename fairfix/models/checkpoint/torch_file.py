"""Open files of ``torch.save`` (zip or legacy) and ``torch.jit.save`` without running anything."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.archive import Member, open_archive
from fairfix.models.checkpoint.safe_pickle import read_pickle
from fairfix.models.checkpoint.tensor_storage import StorageFile

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8"
PICKLE = "data.pkl"
_MAX_NAMES = 6  # in a note
_LEGACY_COUNT = 8  # bytes of a storage's number of elements, before the elements


@dataclass(frozen=True)
class TorchFile(StorageFile):
    """A file of torch, and the contents of its pickle.

    Attributes:
        content: what the pickle describes; see ``safe_pickle``.
        foreign: names of classes and functions in the pickle other than torch's.
    """

    content: Any = None
    foreign: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Name the objects in the file that are not run, and are copied unread."""
        if not self.foreign:
            return ()
        more = len(self.foreign) - _MAX_NAMES
        names = ", ".join(self.foreign[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        return (f"The file also has objects of {names}: not run, and kept unchanged.",)


def open_torch_file(path: Path) -> TorchFile:
    """Open a file of torch.

    Raises:
        CheckpointError: if it is damaged or a zip bomb.
    """
    with path.open("rb") as file:
        legacy = file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC
    return _open_legacy(path) if legacy else _open_zip(path)


def _open_zip(path: Path) -> TorchFile:
    archive = open_archive(path)
    if PICKLE not in archive.members:
        raise CheckpointError(
            f"{path} is a zip file that torch.save did not write. Save the model with torch.save."
        )
    if "byteorder" in archive.members:
        _refuse_big_endian(path, little=archive.read("byteorder") == b"little")
    contents = read_pickle(io.BytesIO(archive.read(PICKLE)), path)
    storages = {
        name.removeprefix("data/"): member
        for name, member in archive.members.items()
        if name.startswith("data/")
    }
    if missing := contents.storages.keys() - storages.keys():
        raise CheckpointError(
            f"{path} is damaged: the values of {len(missing)} tensors are missing. Copy or "
            "download it again."
        )
    return TorchFile(path, storages, archive, content=contents.content, foreign=contents.foreign)


def _open_legacy(path: Path) -> TorchFile:
    data = path.read_bytes()
    stream = io.BytesIO(data)
    _, _, system = (read_pickle(stream, path).content for _ in range(3))
    if isinstance(system, dict):
        _refuse_big_endian(path, little=system.get("little_endian", True))
    contents = read_pickle(stream, path)
    keys = read_pickle(stream, path).content
    if not isinstance(keys, list):
        raise CheckpointError(f"{path} is damaged: it has no list of storages. Copy it again.")
    storages = {}
    position = stream.tell()
    for key in map(str, keys):
        count = int.from_bytes(data[position : position + _LEGACY_COUNT], "little")
        dtype = contents.storages.get(key)
        storages[key] = Member(position + _LEGACY_COUNT, count * (dtype.itemsize if dtype else 1))
        position = storages[key].offset + storages[key].size
    if position > len(data):
        raise CheckpointError(
            f"{path} is truncated: {len(data)} of {position} bytes. Copy or download it again."
        )
    return TorchFile(path, storages, None, content=contents.content, foreign=contents.foreign)


def _refuse_big_endian(path: Path, *, little: bool) -> None:
    if not little:
        raise CheckpointError(
            f"{path} was written on a big-endian machine. Load it and save it again on this one."
        )

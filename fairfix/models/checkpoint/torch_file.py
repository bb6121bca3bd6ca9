"""A file of ``torch.save`` (zip or legacy) or ``torch.jit.save``: its structure and its tensors."""

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
_SHOWN = 6  # names shown of a longer list
_LEGACY_COUNT = 8  # bytes that give a storage's number of elements, before the elements


@dataclass(frozen=True)
class TorchFile(StorageFile):
    """``content`` is the file's pickle as inert structure (see ``inert``); nothing in it ran.

    ``foreign`` are the classes and functions it names that are not torch's own.
    """

    content: Any = None
    foreign: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What stays in a copy of the file unseen, as it must be said where none of it is run."""
        if not self.foreign:
            return ()
        more = len(self.foreign) - _SHOWN
        names = ", ".join(self.foreign[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        return (f"The file also holds objects of {names}: not run here, kept as they are.",)


def open_torch_file(path: Path) -> TorchFile:
    """Open a file of torch. Raises CheckpointError where it is damaged or a zip bomb."""
    with path.open("rb") as file:
        legacy = file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC
    return _open_legacy(path) if legacy else _open_zip(path)


def _open_zip(path: Path) -> TorchFile:
    archive = open_archive(path)
    if PICKLE not in archive.members:
        raise CheckpointError(f"{path} is a zip file, but not one that torch.save wrote.")
    if "byteorder" in archive.members:
        _refuse_big_endian(path, little=archive.read("byteorder") == b"little")
    found = read_pickle(io.BytesIO(archive.read(PICKLE)), path)
    storages = {
        name.removeprefix("data/"): member
        for name, member in archive.members.items()
        if name.startswith("data/")
    }
    return TorchFile(path, storages, archive, content=found.content, foreign=found.foreign)


def _open_legacy(path: Path) -> TorchFile:
    data = path.read_bytes()
    stream = io.BytesIO(data)
    _, _, system = (read_pickle(stream, path).content for _ in range(3))
    if isinstance(system, dict):
        _refuse_big_endian(path, little=system.get("little_endian", True))
    found = read_pickle(stream, path)
    keys = read_pickle(stream, path).content
    storages = {}
    position = stream.tell()
    for key in map(str, keys):
        count = int.from_bytes(data[position : position + _LEGACY_COUNT], "little")
        dtype = found.storages.get(key)
        storages[key] = Member(position + _LEGACY_COUNT, count * (dtype.itemsize if dtype else 1))
        position = storages[key].offset + storages[key].size
    if position > len(data):
        raise CheckpointError(
            f"{path} is cut short: {len(data)} bytes of {position}. Copy or download it again."
        )
    return TorchFile(path, storages, None, content=found.content, foreign=found.foreign)


def _refuse_big_endian(path: Path, *, little: bool) -> None:
    if not little:
        raise CheckpointError(
            f"{path} was written on a big-endian machine. Load it and save it again on this one."
        )

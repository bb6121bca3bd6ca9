"""Read and rewrite the zip archives of PyTorch: members in one root folder, uncompressed."""

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch

from fairfix.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes before a member's name
_CODE = "code/"  # TorchScript source, the only members that PyTorch compresses
_MAX_CODE = 64 * 2**20  # bytes, uncompressed
_ARCHIVE_ID = ".data/serialization_id"  # hash of the whole archive; the writer adds its own


@dataclass(frozen=True)
class Member:
    """Position of a member's bytes in the file.

    ``offset`` and ``size`` are meaningful only if the member is not compressed.
    """

    offset: int
    size: int
    compressed: bool = False


@dataclass(frozen=True)
class Archive:
    """An archive and its members.

    Attributes:
        path: the file.
        root: name of the root folder.
        members: by path below ``root``, in file order.
    """

    path: Path
    root: str
    members: dict[str, Member]

    def read(self, name: str) -> bytes:
        """Return the bytes of one member."""
        member = self.members[name]
        if member.compressed:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(f"{self.root}/{name}")
        with self.path.open("rb") as file:
            file.seek(member.offset)
            return file.read(member.size)

    def rewrite(self, destination: Path, changed: Mapping[str, bytes | None]) -> None:
        """Write the archive to ``destination`` with some members changed.

        Args:
            destination: does not exist.
            changed: new contents of members, existing or new; None removes a member. All others
                are copied; checksums are computed again.
        """
        alignment = self.read(".storage_alignment") if ".storage_alignment" in self.members else 64
        kept = dict.fromkeys(name for name in self.members if name != _ARCHIVE_ID)
        with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".fairfix-") as folder:
            named_after_root = Path(folder, f"{self.root}.pt")
            writer = torch._C.PyTorchFileWriter(str(named_after_root), True, int(alignment))
            for name in kept | dict.fromkeys(changed):
                data = changed[name] if name in changed else self.read(name)
                if data is not None:
                    writer.write_record(name, data, len(data))
            writer.write_end_of_file()
            named_after_root.replace(destination)


def open_archive(path: Path) -> Archive:
    """Open an archive of ``torch.save``, ``torch.jit.save`` or ``torch.export.save``.

    Raises:
        CheckpointError: if the file is truncated, was not written by PyTorch, or has members that
            are compressed or overlap, with which a small file could claim any size.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            members = [_member(file, info) for info in infos]
            if min((info.header_offset for info in infos), default=0) > 0:
                raise zipfile.BadZipFile("an archive inside a truncated file")
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or damaged: it starts but does not end as a PyTorch file. Copy "
            "or download it again."
        ) from error
    parts = [info.filename.partition("/") for info in infos]
    if len({root for root, _, _ in parts}) != 1 or not all(name for _, _, name in parts):
        raise CheckpointError(
            f"{path} is a zip file that PyTorch did not write. Save the model with torch.save."
        )
    names = {name: member for (_, _, name), member in zip(parts, members, strict=True)}
    _refuse_bombs(path, names)
    return Archive(path, parts[0][0], names)


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> Member:
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if not header.startswith(ZIP_MAGIC):
        raise zipfile.BadZipFile("no local header")
    name_length = int.from_bytes(header[26:28], "little")
    extra_length = int.from_bytes(header[28:30], "little")
    offset = info.header_offset + _LOCAL_HEADER + name_length + extra_length
    return Member(offset, info.file_size, info.compress_type != zipfile.ZIP_STORED)


def _refuse_bombs(path: Path, members: Mapping[str, Member]) -> None:
    code = 0
    for name, member in members.items():
        if member.compressed:
            code += member.size
            if not name.startswith(_CODE) or code > _MAX_CODE:
                raise CheckpointError(
                    f"{path} has a compressed member ({name}), which PyTorch does not write and "
                    "which could unpack to any size. Save the model again with torch.save."
                )
    claimed = sum(member.size for member in members.values() if not member.compressed)
    if claimed > path.stat().st_size:
        raise CheckpointError(
            f"{path} claims {claimed} bytes of content but has {path.stat().st_size} bytes: it is "
            "damaged, or made to exhaust memory."
        )

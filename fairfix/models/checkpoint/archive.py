"""Read and rewrite the zip archives of PyTorch: members in one root folder, uncompressed."""

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import torch

from fairfix.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = 30  # bytes before a member's name
_OF_TORCH = {"data.pkl", "version", ".data/version"}  # one is in every file of torch
_CODE = "code/"  # TorchScript source, the only members that PyTorch compresses
_MAX_CODE = 64 * 2**20  # bytes, uncompressed
_ID_DIGITS = 40
_ALIGNMENT, _DEFAULT_ALIGNMENT, _MAX_ALIGNMENT = ".storage_alignment", 64, 4096  # bytes
_EXTRA_HEADER = 4  # bytes of the header of an extra field
_PIECE = 2**20  # bytes read at once
_ZIP64 = struct.pack("<2H", 1, 16)  # header of the extra field with the sizes
_IN_EXTRA = 2**32 - 1  # a size of 4 GiB or more is in an extra field
_UTF8, _SIZES_FOLLOW = 0x800, 0x8  # flags: names are UTF-8; checksum and sizes follow the content
_ARCHIVE_ID = ".data/serialization_id"  # hash of the names and contents before it


Content = bytes | Iterable[bytes | memoryview]


@dataclass(frozen=True)
class Member:
    """Position of a member's bytes in the file.

    ``size`` and ``checksum`` (CRC-32) are those of the content. ``offset`` is meaningful only if
    the member is not compressed.
    """

    offset: int
    size: int
    compressed: bool = False
    checksum: int = 0


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

    def check_content(self) -> None:
        """Check size and checksum of every member, reading in pieces.

        Raises:
            CheckpointError: if one differs from the archive's directory.
        """
        self._alignment()
        with self.path.open("rb") as file, zipfile.ZipFile(self.path) as archive:
            for name, member in self.members.items():
                if member.compressed:
                    with archive.open(f"{self.root}/{name}") as content:
                        same = _same_content(content, member)
                else:
                    file.seek(member.offset)
                    same = _same_content(file, member)
                if not same:
                    raise CheckpointError(
                        f"{self.path} is damaged: the content of its member {name!r} does not "
                        "match its checksum. Copy or download it again, or save it again with "
                        "torch.save."
                    )

    def rewrite(self, destination: Path, changed: Mapping[str, Content | None]) -> None:
        """Write the archive to ``destination`` with some members changed.

        Other members are copied in pieces. torch's own writer ends the process on a full disk.

        Args:
            destination: does not exist.
            changed: new contents of members, existing or new; None removes a member.
        """
        alignment = self._alignment()
        digest = hashlib.sha256()
        with zipfile.ZipFile(destination, "x") as archive:
            for name in dict.fromkeys((*self.members, *changed)):
                content = changed.get(name, self._pieces(name))
                if name == _ARCHIVE_ID:
                    content = (
                        str(int(digest.hexdigest(), 16))[-_ID_DIGITS:].zfill(_ID_DIGITS).encode()
                    )
                if content is not None:
                    info = self._write(archive, name, content, alignment)
                    digest.update(f"{name}\0{info.CRC}\0{info.file_size}\0".encode())

    def _alignment(self) -> int:
        """Return the alignment of contents that the archive names, or torch's default.

        Raises:
            CheckpointError: if it is not a number, with which torch.load fails.
        """
        if _ALIGNMENT not in self.members:
            return _DEFAULT_ALIGNMENT
        named = self.read(_ALIGNMENT)
        if not (named.isdigit() and len(named) < _MAX_ALIGNMENT):
            raise CheckpointError(
                f"{self.path} is damaged: its member {_ALIGNMENT!r} is not a number. Copy or "
                "download it again."
            )
        return int(named) if 0 < int(named) <= _MAX_ALIGNMENT else _DEFAULT_ALIGNMENT

    def _write(
        self, archive: zipfile.ZipFile, name: str, content: Content, alignment: int
    ) -> zipfile.ZipInfo:
        """Append a member whose content starts at a multiple of ``alignment`` bytes."""
        info = zipfile.ZipInfo(f"{self.root}/{name}")
        pieces = (content,) if isinstance(content, bytes) else content
        size = len(content) if isinstance(content, bytes) else self.members[name].size
        info.file_size = size
        assert archive.fp is not None
        large = size * 1.05 > zipfile.ZIP64_LIMIT
        start = archive.fp.tell() + _LOCAL_HEADER + len(info.filename.encode())
        start += _EXTRA_HEADER + (_EXTRA_HEADER + 16 if large else 0)
        padding = -start % alignment
        info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding  # as torch pads
        with archive.open(info, "w", force_zip64=large) as member:
            for piece in pieces:
                member.write(piece)
        return info

    def _pieces(self, name: str) -> Iterator[bytes]:
        """Yield the content of a member piece by piece."""
        if name not in self.members:
            return
        member = self.members[name]
        if member.compressed:
            yield self.read(name)
            return
        with self.path.open("rb") as file:
            file.seek(member.offset)
            left = member.size
            while left and (piece := file.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece


def open_archive(path: Path) -> Archive:
    """Open an archive of ``torch.save``, ``torch.jit.save`` or ``torch.export.save``.

    Raises:
        CheckpointError: if the file is truncated, was not written by PyTorch, has members that
            are compressed or overlap, with which a small file could claim any size, or can be read
            in two ways.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            doubt = _second_reading(file, archive)
            infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
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
    if doubt is not None:
        raise CheckpointError(
            f"{path} can be read in two ways: {doubt}. Save the model again with torch.save."
        )
    if _OF_TORCH & names.keys():
        _refuse_what_torch_refuses(path)
    return Archive(path, parts[0][0], names)


def _refuse_what_torch_refuses(path: Path) -> None:
    """Let torch's own reader parse the directory: an archive that it refuses is damaged."""
    try:
        torch._C.PyTorchFileReader(str(path))
    except (RuntimeError, UnicodeDecodeError) as error:  # torch names members in errors
        reason = str(error).partition(". ")[0].partition(": ")[2] or "unreadable directory"
        raise CheckpointError(
            f"{path} is damaged: torch cannot open it ({reason}). Copy or download it again."
        ) from error


def check_archive(path: Path) -> None:
    """Check sizes and checksums of a file if it is an archive.

    Raises:
        CheckpointError: if one is wrong; see ``open_archive``.
    """
    if path.is_dir():
        return
    with path.open("rb") as file:
        is_archive = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if is_archive:
        open_archive(path).check_content()


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> Member:
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if not header.startswith(ZIP_MAGIC):
        raise zipfile.BadZipFile("no local header")
    name_length = int.from_bytes(header[26:28], "little")
    extra_length = int.from_bytes(header[28:30], "little")
    offset = info.header_offset + _LOCAL_HEADER + name_length + extra_length
    compressed = info.compress_type != zipfile.ZIP_STORED
    return Member(offset, info.file_size, compressed, info.CRC)


def _same_content(content: IO[bytes], member: Member) -> bool:
    left, checksum = member.size, 0
    try:
        while left and (piece := content.read(min(left, _PIECE))):
            left, checksum = left - len(piece), zlib.crc32(piece, checksum)
    except (zipfile.BadZipFile, zlib.error):
        return False
    return left == 0 and checksum == member.checksum


def _second_reading(file: BinaryIO, archive: zipfile.ZipFile) -> str | None:
    """Return why another reader, such as torch.load, could read an archive differently.

    torch.load ignores the case of names and takes any of several members of one name.
    """
    infos = archive.infolist()
    if archive.comment:
        return "it has a comment, which could hide another directory"
    if repeated := _repeated(info.filename for info in infos):
        return f"its member {repeated!r} is there twice"
    different = next((info for info in infos if not _as_in_directory(file, info)), None)
    if different is not None:
        return f"the header of its member {different.filename!r} differs from its directory"
    return None


def _repeated(names: Iterable[str]) -> str | None:
    """Return the first name that is equal to an earlier one, whatever its case."""
    seen = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return None


def _as_in_directory(file: BinaryIO, info: zipfile.ZipInfo) -> bool:
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if not header.startswith(ZIP_MAGIC):
        raise zipfile.BadZipFile("no local header")
    _, _, flags, method, _, _, *numbers, name_length, extra_length = struct.unpack(
        "<4s5H3I2H", header
    )
    name, extra = file.read(name_length), file.read(extra_length)
    if numbers[1:] == [_IN_EXTRA] * 2 and (place := extra.find(_ZIP64)) >= 0:
        packed, size = struct.unpack_from("<2Q", extra, place + len(_ZIP64))
        numbers[1:] = [size, packed]
    expected = [info.CRC, info.compress_size, info.file_size]
    return (
        flags == info.flag_bits
        and method == info.compress_type
        and name == info.orig_filename.encode("utf-8" if flags & _UTF8 else "cp437")
        and info.orig_filename == info.filename
        and (numbers == expected or (flags & _SIZES_FOLLOW != 0 and not any(numbers)))
    )


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

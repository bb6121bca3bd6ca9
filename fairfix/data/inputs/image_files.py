"""The files that a path column names: in a folder, a zip or a tar file, and nowhere else."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from fairfix._utils.regular_file import irregular_kind
from fairfix._utils.text import error_summary
from fairfix.errors import InputError

MAX_BYTES = 64 << 20
"""Largest size of one file, unpacked."""


Member = TypeVar("Member")


class RowError(Exception):
    """Why a row cannot be used, as a clause without a full stop."""


class ImageFiles(Protocol):
    """Files by the paths in a table; can be read by several threads at once."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            RowError: it is missing, outside of the root, not a regular file, or too large.
        """
        ...


def open_images(root: Path) -> ImageFiles:
    """Return the files of a folder, a zip or a tar file.

    Raises:
        InputError: the root is none of these, or is damaged.
    """
    if root.is_dir():
        return Folder(root)
    if irregular_kind(root) is not None or not root.exists():
        raise InputError(f"{root}, the root of the images, is not a folder, zip or tar file.")
    try:
        if zipfile.is_zipfile(root):
            return Zip(root)
        return Tar(root)
    except Exception as error:  # a damaged archive can raise anything
        raise InputError(
            f"{root.name}, the root of the images, cannot be read as a folder, zip or uncompressed "
            f"tar file ({error_summary(error)}); unpack it and name the folder."
        ) from None


class Folder:
    """Files of a folder; links may lead to other places inside it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._resolved = root.resolve()

    def read(self, name: str) -> bytes:
        """See ``ImageFiles``."""
        try:
            path = (self._root / name).resolve()
        except (OSError, ValueError, RuntimeError):
            raise RowError(f"{name!r} is not a path") from None
        if not path.is_relative_to(self._resolved):
            raise RowError(
                f"{name!r} leads out of the folder of the images, which --image-root names"
            )
        if not path.exists():
            raise RowError(f"{name!r} does not exist")
        kind = irregular_kind(path)
        if kind is not None:
            raise RowError(f"{name!r} is {kind}")
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise RowError(f"{name!r} cannot be read ({error.strerror})") from None
        return _checked(content, name)


class Zip:
    """Members of a zip file."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        names = [_normalized(member.filename) for member in self._archive.infolist()]
        self._members = dict(zip(names, self._archive.infolist(), strict=True))
        self._repeated = {name for name, count in Counter(names).items() if count > 1}

    def read(self, name: str) -> bytes:
        """See ``ImageFiles``."""
        member = _find(self._members, self._repeated, name)
        try:
            with self._archive.open(member) as file:
                return _checked(file.read(MAX_BYTES + 1), name)
        except RowError:
            raise
        except Exception as error:  # damaged, encrypted, of an unknown compression
            raise RowError(f"{name!r} cannot be unpacked ({error_summary(error)})") from None


class Tar:
    """Members of a tar file without compression; links are not followed."""

    def __init__(self, path: Path) -> None:
        with tarfile.open(path, "r:") as archive:
            files = [each for each in archive if each.isreg() and not each.issparse()]
        names = [_normalized(member.name) for member in files]
        self._members = dict(zip(names, files, strict=True))
        self._repeated = {name for name, count in Counter(names).items() if count > 1}
        self._path = path

    def read(self, name: str) -> bytes:
        """See ``ImageFiles``."""
        member = _find(self._members, self._repeated, name)
        if member.size > MAX_BYTES:
            raise _too_large(name)
        with self._path.open("rb") as file:
            file.seek(member.offset_data)
            content = file.read(member.size)
        if len(content) < member.size:
            raise RowError(f"{name!r} ends early")
        return content


def _find(members: dict[str, Member], repeated: set[str], name: str) -> Member:
    key = _normalized(name)
    if key in repeated:
        raise RowError(f"{name!r} is in the archive more than once")
    if key not in members:
        raise RowError(f"{name!r} is not in the archive")
    return members[key]


def _normalized(name: str) -> str:
    return str(PurePosixPath(os.path.normpath(name.replace("\\", "/"))))


def _checked(content: bytes, name: str) -> bytes:
    if len(content) > MAX_BYTES:
        raise _too_large(name)
    return content


def _too_large(name: str) -> RowError:
    return RowError(f"{name!r} has more than {MAX_BYTES >> 20} MiB")

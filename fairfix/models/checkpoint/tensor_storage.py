"""Read tensors at their position in a file, and copy a file with other values of tensors.

A copy replaces the bytes of tensors and nothing else: optimizer state, epochs, code and objects of
any class are copied without being read.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.archive import Archive, Content, Member


@dataclass(frozen=True)
class StoredTensor:
    """Position of a tensor; ``offset`` and ``stride`` count elements of the storage."""

    storage: str
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class StorageFile:
    """A file with tensor storages.

    Attributes:
        path: the file.
        storages: position of each storage, by key.
        archive: the archive that the file is; None for a legacy file.
        folder: folder of the storages in the archive.
    """

    path: Path
    storages: Mapping[str, Member]
    archive: Archive | None
    folder: str = "data/"

    def tensor(self, name: str, stored: StoredTensor) -> Tensor:
        """Return a copy of one tensor.

        Raises:
            CheckpointError: if the file does not have its bytes; ``name`` is for the message.
        """
        self._check(name, stored)
        return _view(self._bytes(stored.storage), stored).clone()

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return a copy of each tensor, in the same order."""
        return {name: self.tensor(name, where) for name, where in stored.items()}

    def rewrite(
        self,
        destination: Path,
        changes: Sequence[tuple[StoredTensor, Tensor]],
        members: Mapping[str, bytes | None] | None = None,
    ) -> None:
        """Write a copy of the file with other values of some tensors.

        Args:
            destination: does not exist.
            changes: tensors and their new values.
            members: contents of other archive members to replace or add; None removes one.

        Raises:
            CheckpointError: if two tensors share storage and their new values differ.
        """
        groups: dict[str, list[tuple[StoredTensor, Tensor]]] = {}
        for stored, values in changes:
            groups.setdefault(stored.storage, []).append((stored, values))
        groups = {key: group for key, group in groups.items() if self._differs(key, group)}
        if self.archive is not None:
            new: dict[str, Content | None] = {
                f"{self.folder}{key}": self._changed(key, group) for key, group in groups.items()
            }
            self.archive.rewrite(destination, {**new, **(members or {})})
            return
        shutil.copyfile(self.path, destination)
        with destination.open("r+b") as file:
            for key, group in groups.items():
                file.seek(self.storages[key].offset)
                file.writelines(self._changed(key, group))

    def _differs(self, storage: str, changes: Sequence[tuple[StoredTensor, Tensor]]) -> bool:
        """Whether a change has other values than the file."""
        data = self._bytes(storage)
        return not all(
            torch.equal(_bits(_view(data, stored)), _bits(values)) for stored, values in changes
        )

    def _changed(
        self, storage: str, changes: Sequence[tuple[StoredTensor, Tensor]]
    ) -> Iterator[bytes | bytearray]:
        """Yield the bytes of a storage with other values, when they are needed."""
        data = self._bytes(storage)
        for stored, values in changes:
            _view(data, stored).copy_(values)
        for stored, values in changes:
            if not torch.equal(_view(data, stored), values):
                raise CheckpointError(
                    "Two tensors share their storage in the file, but their new values differ."
                )
        yield data

    def _bytes(self, storage: str) -> bytearray:
        member = self.storages[storage]
        with self.path.open("rb") as file:
            file.seek(member.offset)
            return bytearray(file.read(member.size))

    def _check(self, name: str, stored: StoredTensor) -> None:
        if stored.storage not in self.storages:
            raise CheckpointError(f"{self.path} is damaged: the values of {name!r} are missing.")
        elements = prod(stored.shape)
        room = self.storages[stored.storage].size // stored.dtype.itemsize
        reach = stored.offset + sum(
            (size - 1) * step for size, step in zip(stored.shape, stored.stride, strict=True)
        )
        if elements and (elements > room or reach >= room):
            raise CheckpointError(
                f"{self.path}: tensor {name!r} claims {elements} elements where the file has "
                f"{room}. The file is damaged, or the tensor is an expanded view: save a .clone() "
                "of it."
            )


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)


def _view(data: bytearray, stored: StoredTensor) -> Tensor:
    count = len(data) // stored.dtype.itemsize
    if count == 0:
        return torch.empty(stored.shape, dtype=stored.dtype)
    flat = torch.frombuffer(data, dtype=stored.dtype, count=count)
    return flat.as_strided(stored.shape, stored.stride, stored.offset)

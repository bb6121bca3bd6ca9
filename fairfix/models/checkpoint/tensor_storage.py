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
from fairfix.models.checkpoint.mapped_storage import pieces, read_storage, same_bits


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
        """Return one tensor, which must not be written to if it is large.

        Raises:
            CheckpointError: if the file does not have its bytes; ``name`` is for the message.
        """
        self._check(name, stored)
        return self._view(stored)

    def tensors(self, stored: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return each tensor, in the same order."""
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
        groups = {key: group for key, group in groups.items() if self._differs(group)}
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

    def _differs(self, changes: Sequence[tuple[StoredTensor, Tensor]]) -> bool:
        """Whether a change has other values than the file."""
        return not all(same_bits(self._view(stored), values) for stored, values in changes)

    def _changed(
        self, storage: str, changes: Sequence[tuple[StoredTensor, Tensor]]
    ) -> Iterator[bytes | memoryview]:
        """Yield the bytes of a storage with other values, when they are needed."""
        member = self.storages[storage]
        stored, values = changes[0]
        whole = values.is_contiguous() and values.nbytes == member.size
        if len(changes) == 1 and whole and stored.stride == values.stride():
            for piece in pieces(values):
                yield piece.view(torch.uint8).numpy().data
            return
        data = read_storage(self.path, member.offset, member.size).clone()
        for stored, values in changes:
            _as_tensor(data, stored).copy_(values)
        for stored, values in changes:
            if not torch.equal(_as_tensor(data, stored), values):
                raise CheckpointError(
                    "Two tensors share their storage in the file, but their new values differ."
                )
        yield data.numpy().data

    def _view(self, stored: StoredTensor) -> Tensor:
        member = self.storages[stored.storage]
        return _as_tensor(read_storage(self.path, member.offset, member.size), stored)

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


def _as_tensor(data: Tensor, stored: StoredTensor) -> Tensor:
    """Return the view of a storage's bytes that a tensor is."""
    size = stored.dtype.itemsize
    count = len(data) // size
    if count == 0:
        return torch.empty(stored.shape, dtype=stored.dtype)
    if data.data_ptr() % size:  # not aligned, as in files of other writers
        data = data.clone()
    flat = data[: count * size].view(stored.dtype)
    return flat.as_strided(stored.shape, stored.stride, flat.storage_offset() + stored.offset)

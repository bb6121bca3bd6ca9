"""Large storages of tensors, mapped from their file; memory is given back piece by piece.

Pages of a private mapping that nobody has written can be dropped at any time: the file has them.
"""

import mmap
import weakref
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

_MIN_BYTES = 16 * 2**20  # smaller storages are read
_PIECE = 4 * 2**20  # bytes looked at before their memory is given back
_mappings: "weakref.WeakValueDictionary[int, mmap.mmap]" = weakref.WeakValueDictionary()


def is_large(size: int) -> bool:
    """Whether a storage of this many bytes is mapped."""
    return size >= _MIN_BYTES


def read_storage(path: Path, offset: int, size: int) -> Tensor:
    """Return the bytes of a storage, (size,) of uint8: read, or mapped if there are many.

    A mapped storage must not be written to.
    """
    with path.open("rb") as file:
        if not is_large(size):
            file.seek(offset)
            data = bytearray(file.read(size))
            return torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0).byte()
        start = offset - offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            file.fileno(), offset - start + size, access=mmap.ACCESS_COPY, offset=start
        )
    flat = torch.frombuffer(mapped, dtype=torch.uint8)
    _mappings[flat.data_ptr()] = mapped
    return flat[offset - start :]


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor is part of a mapped storage."""
    return _mapping(tensor) is not None


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the values of a tensor in row-major order, in flat pieces for one use each."""
    flat = tensor.detach().contiguous().flatten()
    step = max(1, _PIECE // tensor.element_size())
    for start in range(0, flat.numel(), step):
        piece = flat[start : start + step]
        yield piece
        _give_back(piece)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have equal dtypes, shapes and bytes."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(
        torch.equal(a.view(torch.uint8), b.view(torch.uint8))
        for a, b in zip(pieces(one), pieces(other), strict=True)
    )


def same_values(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have equal shapes, and equal values in float32."""
    return one.shape == other.shape and all(
        torch.equal(a.float(), b.float()) for a, b in zip(pieces(one), pieces(other), strict=True)
    )


def copy_values(source: Tensor, target: Tensor) -> None:
    """Copy the values of a tensor into another of the same shape, in memory, in place."""
    if not target.is_contiguous():
        target.copy_(source)
        return
    start, flat = 0, target.view(-1)
    for piece in pieces(source):
        flat[start : start + len(piece)].copy_(piece)
        start += len(piece)


def _mapping(tensor: Tensor) -> tuple[int, mmap.mmap] | None:
    place = tensor.data_ptr()
    for base, mapped in _mappings.items():
        if base <= place < base + len(mapped):
            return base, mapped
    return None


def _give_back(piece: Tensor) -> None:
    found = _mapping(piece)
    if found is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    base, mapped = found
    start = piece.data_ptr() - base
    first = start - start % mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, first, start + piece.nbytes - first)

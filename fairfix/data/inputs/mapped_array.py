"""Arrays in files, mapped into memory and sent to other processes by their path."""

from __future__ import annotations

import mmap
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

_LARGE = 1 << 26  # bytes


class MappedArray:
    """An array that stays in its file until rows of it are read. It must not be written to.

    Args:
        path: the file, which must not change while it is in use.
        dtype: the type of its numbers.
        shape: (M, ...).
        offset: bytes before the first number.
        bfloat16: whether the numbers, of type uint16, are the bits of bfloat16.
    """

    def __init__(
        self,
        path: Path,
        dtype: np.dtype,
        shape: tuple[int, ...],
        offset: int = 0,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.path, self.dtype, self.shape, self.offset = path, dtype, shape, offset
        self.bfloat16 = bfloat16

    @cached_property
    def array(self) -> np.ndarray:
        """The whole array."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "c", self.offset, self.shape)

    @cached_property
    def tensor(self) -> Tensor:
        """The array as a tensor, which shares its memory."""
        values = torch.from_numpy(self.array)
        return values.view(torch.bfloat16) if self.bfloat16 else values

    def rows(self, index: Tensor) -> Tensor:
        """Return a copy of some rows (n, ...), by their numbers.

        The memory that a large file takes on the way is given back: the file has the rows.
        """
        found = self.tensor[index]
        mapping = getattr(self.array, "_mmap", None)
        if self.nbytes > _LARGE and mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapping.madvise(mmap.MADV_DONTNEED)
        return found

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getstate__(self) -> dict[str, object]:
        """Leave out the mapping, which pickling and copying would turn into a copy in memory."""
        kept = ("path", "dtype", "shape", "offset", "bfloat16")
        return {name: getattr(self, name) for name in kept}

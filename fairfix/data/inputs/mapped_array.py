"""Arrays in files, mapped into memory and sent to other processes by their path."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class MappedArray:
    """An array that stays in its file until rows of it are read.

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
        """The array; writing to it does not change the file."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        return np.memmap(self.path, self.dtype, "c", self.offset, self.shape)

    @cached_property
    def tensor(self) -> Tensor:
        """The array as a tensor, which shares its memory."""
        values = torch.from_numpy(self.array)
        return values.view(torch.bfloat16) if self.bfloat16 else values

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getstate__(self) -> dict[str, object]:
        """Leave out the mapping, which pickling and copying would turn into a copy in memory."""
        kept = ("path", "dtype", "shape", "offset", "bfloat16")
        return {name: getattr(self, name) for name in kept}

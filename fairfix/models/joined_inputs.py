"""Put the inputs of two tables after each other, without loading them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import InputError
from fairfix.models.inputs import Inputs, Part, Rows


def joined_inputs(first: Inputs, second: Inputs) -> Inputs:
    """Return the rows of ``first``, then those of ``second``.

    Raises:
        InputError: if they have different keys, or rows of different lengths, as texts do.
    """
    pairs = list(zip(first.parts, second.parts, strict=False))
    if first.keys != second.keys or any(a.keys != b.keys for a, b in pairs):
        raise InputError(
            f"One table gives {', '.join(first.keys)} and the other {', '.join(second.keys)}; "
            "describe both by the same data spec."
        )
    if first.lengths() is not None or second.lengths() is not None:
        raise InputError(
            "Texts of two tables are padded apart from each other and cannot be put together; put "
            "all rows into one table."
        )
    parts = [_JoinedPart(*pair) for pair in pairs]
    return Inputs(parts, by_name=first.by_name, device=first.device)


class _JoinedPart:
    """The rows of two parts, or some of them, given by ``index`` (M,)."""

    def __init__(self, first: Part, second: Part, index: Tensor | None = None) -> None:
        self.keys = first.keys
        self._parts = first, second
        everything = torch.arange(len(first) + len(second))
        self._index = everything if index is None else index

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._index)

    def take(self, index: Tensor) -> _JoinedPart:
        """See ``Part.take``."""
        return _JoinedPart(*self._parts, self._index[index.cpu()])

    def to(self, device: torch.device) -> _JoinedPart:
        """See ``Part.to``."""
        first, second = (part.to(device) for part in self._parts)
        return _JoinedPart(first, second, self._index)

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """See ``Part.load``."""
        wanted = self._index[rows.cpu() if isinstance(rows, Tensor) else rows]
        first, second = self._parts
        is_second = wanted >= len(first)
        order = is_second.long().argsort(stable=True).argsort().to(device)
        loaded = zip(
            first.load(wanted[~is_second], device),
            second.load(wanted[is_second] - len(first), device),
            strict=True,
        )
        return tuple(torch.cat(pair)[order] for pair in loaded)

    def lengths(self) -> None:
        """Return None, for all rows have the same shape."""

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        joined = np.concatenate([part.digests() for part in self._parts])
        found: np.ndarray = joined[self._index.numpy()]
        return found

"""Put the inputs of two tables after each other, without loading them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fairfix.errors import InputError
from fairfix.models.inputs import Inputs, PaddedPart, Part, Rows


def joined_inputs(first: Inputs, second: Inputs) -> Inputs:
    """Return the rows of ``first``, then those of ``second``.

    Raises:
        InputError: if they have different keys.
    """
    pairs = list(zip(first.parts, second.parts, strict=False))
    if first.keys != second.keys or any(a.keys != b.keys for a, b in pairs):
        raise InputError(
            f"One table gives {', '.join(first.keys)} and the other {', '.join(second.keys)}; "
            "describe both by the same data spec."
        )
    parts = [_JoinedPart(*pair) for pair in pairs]
    called = {"by_name": first.by_name, "as_mapping": first.as_mapping}
    return Inputs(parts, **called, device=first.device)


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
        chosen = [(first, wanted[~is_second]), (second, wanted[is_second] - len(first))]
        if len(wanted):
            chosen = [(part, own) for part, own in chosen if len(own)]
        longest = max((_longest(part.take(own)) for part, own in chosen), default=0)
        loaded = [_padded(part, longest).load(own, device) for part, own in chosen]
        order = is_second.long().argsort(stable=True).argsort().to(device)
        return tuple(torch.cat(pair)[order] for pair in zip(*loaded, strict=True))

    def lengths(self) -> Tensor | None:
        """See ``Part.lengths``."""
        known = [each for part in self._parts if (each := part.lengths()) is not None]
        return torch.cat(known)[self._index] if known else None

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        joined = np.concatenate([part.digests() for part in self._parts])
        found: np.ndarray = joined[self._index.numpy()]
        return found


def _longest(part: Part) -> int:
    """Return the padded length of the longest row; 0 if all rows have the same shape."""
    lengths = part.lengths()
    return 0 if lengths is None or not len(lengths) else int(lengths.max())


def _padded(part: Part, length: int) -> Part:
    return part.padded(length) if isinstance(part, PaddedPart) else part

"""What a network takes for N rows: named parts of any type and shape, loaded batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from fairfix._utils.lengths import unequal_lengths
from fairfix.errors import InputError

Rows = slice | Tensor
"""A range of row numbers, or row numbers (M,) int64, or a mask (N,)."""

_CPU = torch.device("cpu")
_DIGEST_BYTES = 16


class Batch:
    """The loaded inputs of some rows; either ``args`` or ``kwargs`` is empty.

    Attributes:
        args: tensors (n, ...) by position.
        kwargs: tensors (n, ...) by name.
        as_mapping: ``forward`` gets ``kwargs`` as one mapping.
    """

    def __init__(
        self,
        args: Sequence[Tensor] = (),
        kwargs: Mapping[str, Tensor] | None = None,
        *,
        as_mapping: bool = False,
    ) -> None:
        self.args = tuple(args)
        self.kwargs = dict(kwargs or {})
        self.as_mapping = as_mapping

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.tensors[0])

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors in order."""
        return self.args or tuple(self.kwargs.values())

    @property
    def dtype(self) -> torch.dtype:
        """The type of the first floating-point tensor; float32 if there is none."""
        kinds = (x.dtype for x in self.tensors if x.is_floating_point())
        return next(kinds, torch.float32)

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.tensors[0].device

    def call(self, network: Callable[..., Any]) -> Any:
        """Run the network on the rows."""
        if self.as_mapping:
            return network(dict(self.kwargs))
        return network(*self.args, **self.kwargs)

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to each tensor."""
        named = {name: function(x) for name, x in self.kwargs.items()}
        return Batch([function(x) for x in self.args], named, as_mapping=self.as_mapping)

    def cast(self, dtype: torch.dtype) -> Batch:
        """Return the batch with its floating-point tensors in another type."""
        return self.map(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def first(self, rows: int) -> Batch:
        """Return the first rows."""
        return self.map(lambda x: x[:rows])

    def two_or_more(self) -> Batch:
        """Return the batch, or a single row twice: networks may squeeze the output of one row."""
        return self if len(self) > 1 else self.repeated(2)

    def repeated(self, times: int) -> Batch:
        """Return the only row several times."""
        return self.map(lambda x: x.expand(times, *x.shape[1:]).contiguous())

    def shapes(self) -> str:
        """Describe the shape of one row, for messages: "8 features" or "x_num (6), x_cat (2)"."""
        names = list(self.kwargs) or [f"input {place}" for place in range(len(self.args))]
        if len(self.tensors) == 1 and self.tensors[0].dim() == 2:
            return f"{self.tensors[0].shape[1]} features"
        if len(self.tensors) == 1:
            return f"an input of shape {tuple(self.tensors[0].shape[1:])}"
        return ", ".join(
            f"{name} {tuple(x.shape[1:])}" for name, x in zip(names, self.tensors, strict=True)
        )


class Part(Protocol):
    """One or more arguments of ``forward`` for N rows, which need not be in memory."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arguments."""
        ...

    def __len__(self) -> int:
        """Return the number of rows, N."""
        ...

    def take(self, index: Tensor) -> Part:
        """Return the rows of these numbers (M,), without loading them."""
        ...

    def to(self, device: torch.device) -> Part:
        """Return the part on a device; what is not in memory stays where it is."""
        ...

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """Return the arguments for some rows, each (n, ...), on a device."""
        ...

    def lengths(self) -> Tensor | None:
        """Return the padded length (N,) of each row; None if all rows have the same shape."""
        ...

    def digests(self) -> np.ndarray:
        """Return a hash (N, 16) uint8 of what the network gets for each row."""
        ...


@runtime_checkable
class PaddedPart(Part, Protocol):
    """A part whose rows have different lengths."""

    @property
    def longest(self) -> int:
        """Largest length that a row can have."""
        ...

    def padded(self, length: int) -> Part:
        """Return the part with rows padded to at least a length."""
        ...


class TensorPart:
    """One argument that is held as a tensor, in memory or mapped from a file.

    Args:
        key: name of the argument.
        values: (N, ...).
    """

    def __init__(self, key: str, values: Tensor) -> None:
        self.keys = (key,)
        self.values = values

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self.values)

    def take(self, index: Tensor) -> TensorPart:
        """See ``Part.take``."""
        return TensorPart(self.keys[0], self.values[index.to(self.values.device)])

    def to(self, device: torch.device) -> TensorPart:
        """See ``Part.to``."""
        return TensorPart(self.keys[0], self.values.to(device))

    def load(self, rows: Rows, device: torch.device) -> tuple[Tensor, ...]:
        """See ``Part.load``."""
        index = rows.to(self.values.device) if isinstance(rows, Tensor) else rows
        return (self.values[index].to(device),)

    def lengths(self) -> None:
        """Return None, for all rows have the same shape."""

    def digests(self) -> np.ndarray:
        """See ``Part.digests``."""
        return digests_of(row for row in self.values.cpu().contiguous().numpy())


class Inputs:
    """What a network takes for N rows.

    Args:
        parts: with different keys and the same number of rows.
        by_name: pass the parts to ``forward`` by their keys, not by position.
        as_mapping: pass them as one mapping from their keys.
        device: where batches are loaded.

    Raises:
        InputError: if no part is given, the numbers of rows differ, or a key repeats.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        by_name: bool = False,
        as_mapping: bool = False,
        device: torch.device = _CPU,
    ) -> None:
        self.parts = tuple(parts)
        self.by_name = by_name or as_mapping
        self.as_mapping = as_mapping
        self.device = device
        if not self.parts:
            raise InputError("A network needs at least one input.")
        keys = self.keys
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            raise InputError(f"The input {repeated!r} is given twice; give each input once.")
        if lengths := unequal_lengths({part.keys[0]: part for part in self.parts}):
            raise InputError(f"The inputs have different numbers of rows: {lengths}.")

    @classmethod
    def of(cls, features: Tensor) -> Inputs:
        """Return a single input (N, ...) that is passed by position."""
        return cls([TensorPart("features", features)], device=features.device)

    def __len__(self) -> int:
        """Return the number of rows, N."""
        return len(self.parts[0])

    def __repr__(self) -> str:
        return f"<Inputs: {len(self):,} rows of {', '.join(self.keys)}>"

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arguments of ``forward``, in order."""
        return tuple(key for part in self.parts for key in part.keys)

    @property
    def flat(self) -> Tensor | None:
        """The matrix of floating-point numbers (N, D), if that is all that the network takes."""
        if len(self.parts) > 1 or self.by_name or not isinstance(self.parts[0], TensorPart):
            return None
        values = self.parts[0].values
        return values if values.is_floating_point() and values.dim() == 2 else None

    def take(self, index: Rows) -> Inputs:
        """Return some of the rows, in the order of their numbers."""
        if isinstance(index, slice):
            chosen = torch.arange(len(self))[index]
        else:
            chosen = index.nonzero().flatten() if index.dtype == torch.bool else index
        return self._with([part.take(chosen) for part in self.parts], self.device)

    def to(self, device: torch.device) -> Inputs:
        """Return the inputs with batches on a device."""
        return self._with([part.to(device) for part in self.parts], device)

    def batch(self, rows: Rows = slice(None)) -> Batch:
        """Load some of the rows."""
        loaded = [x for part in self.parts for x in part.load(rows, self.device)]
        if self.by_name:
            named = dict(zip(self.keys, loaded, strict=True))
            return Batch(kwargs=named, as_mapping=self.as_mapping)
        return Batch(loaded)

    def batches(self, size: int) -> Iterator[tuple[Rows, Batch]]:
        """Load all rows, at most ``size`` at once, with the numbers of the rows of each batch."""
        for rows in self.divided(size):
            yield rows, self.batch(rows)

    def divided(self, size: int) -> Iterator[Rows]:
        """Yield the row numbers of batches: in order, or by padded length where lengths differ."""
        lengths = self.lengths()
        if lengths is None:
            for start in range(0, len(self), size):
                yield slice(start, min(start + size, len(self)))
            return
        for length in lengths.unique().tolist():
            yield from (lengths == length).nonzero().flatten().split(size)

    def of_one_length(self) -> Inputs:
        """Return the inputs with all rows padded to the largest length that a row can have."""
        parts = [p.padded(p.longest) if isinstance(p, PaddedPart) else p for p in self.parts]
        return self._with(parts, self.device)

    def lengths(self) -> Tensor | None:
        """Return the padded length (N,) of each row; None if all rows have the same shape."""
        known = [each for part in self.parts if (each := part.lengths()) is not None]
        return torch.stack(known).amax(0) if known else None

    def digests(self) -> np.ndarray:
        """Return a hash (N, 16) uint8 of what the network gets for each row."""
        if len(self.parts) == 1:
            return self.parts[0].digests()
        joined = np.hstack([part.digests() for part in self.parts])
        return digests_of(row for row in joined)

    def _with(self, parts: Sequence[Part], device: torch.device) -> Inputs:
        return Inputs(parts, by_name=self.by_name, as_mapping=self.as_mapping, device=device)


def as_inputs(inputs: Inputs | Tensor) -> Inputs:
    """Return inputs; a tensor (N, ...) is the only one."""
    return Inputs.of(inputs) if isinstance(inputs, Tensor) else inputs


def as_batch(batch: Batch | Tensor) -> Batch:
    """Return a batch; a tensor (n, ...) is the only input."""
    return Batch([batch]) if isinstance(batch, Tensor) else batch


def digests_of(rows: Iterator[np.ndarray]) -> np.ndarray:
    """Return a hash of each row's bytes, (N, 16) uint8."""
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=_DIGEST_BYTES).digest() for row in rows]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, _DIGEST_BYTES)

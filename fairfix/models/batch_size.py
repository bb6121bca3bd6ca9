"""Choose how many rows a network runs at once, from the memory that it needs for a row.

The choice depends on the network and the size of a row alone, never on free memory, so that equal
runs give equal bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fairfix.models.inputs import Batch, as_batch
from fairfix.models.scorer import MAX_BATCH
from fairfix.models.tensor_functions import tensors_in

BATCH_BYTES = 512 * 2**20  # of all results of one forward pass together
_ROWS = 4


def default_batch_size(network: nn.Module, batch: Batch | Tensor) -> int:
    """Return the largest power of 2, at most 65,536, whose forward pass stays within 512 MiB.

    All results of the pass count, as a backward pass keeps them.

    Args:
        network: in evaluation mode.
        batch: at least one row; the first is run.
    """
    allowed = BATCH_BYTES // max(1, bytes_per_row(network, batch))
    return min(MAX_BATCH, 1 << max(0, allowed.bit_length() - 1))


@torch.no_grad()
def bytes_per_row(network: nn.Module, batch: Batch | Tensor) -> int:
    """Return the bytes of all results of a forward pass that one more row adds."""
    few = as_batch(batch).first(1).repeated(2 * _ROWS)
    with _ResultBytes() as more:
        few.call(network)
    with _ResultBytes() as fewer:
        few.first(_ROWS).call(network)
    added: int = more.total - fewer.total
    return max(0, added) // _ROWS


class _ResultBytes(TorchDispatchMode):
    """Sum the sizes of all newly allocated results while the mode is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes longer than torch itself

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = {_storage(x) for x in tensors_in((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        new = {_storage(x): x for x in tensors_in(result)}
        self.total += sum(x.nbytes for place, x in new.items() if place not in given)
        return result


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)

"""Embeddings of rows: what the last linear layer of a network reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.inputs import Inputs, as_inputs
from fairfix.models.scorer import Scorer, in_row_order
from fairfix.models.tensor_functions import CallMode, function_name


@torch.no_grad()
def embeddings(scorer: Scorer, inputs: Inputs | Tensor) -> Tensor:
    """Return the input of the last linear layer for every row, (N, E).

    Args:
        scorer: in evaluation mode.
        inputs: of its network.

    Raises:
        CheckpointError: if no linear layer is seen, or the last one reads no vector for each row.
    """
    found = []
    for rows, batch in as_inputs(inputs).batches(scorer.batch_size):
        last = _LastLinear()
        with last:
            scorer.raw(batch.two_or_more())
        read = last.read
        if read is None or read.dim() != 2 or len(read) != max(len(batch), 2):
            raise CheckpointError(
                "The network has no last linear layer that reads a vector for each row, so its "
                "embeddings are unknown; choose a method that does not read them, such as finetune."
            )
        found.append((rows, read[: len(batch)]))
    return in_row_order(found)


class _LastLinear(CallMode):
    """Keep the input of the last linear layer that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.read: Tensor | None = None

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See ``CallMode``."""
        if function_name(func) == "linear":
            self.read = args[0] if args else kwargs["input"]
        return func(*args, **kwargs)

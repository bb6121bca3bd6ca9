"""Networks that can be run but not changed, such as whole quantized networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from fairfix.models.checkpoint.checkpoint import Checkpoint


def is_fixed(module: nn.Module) -> bool:
    """Whether a network holds packed or quantized weights, which no method can change."""
    values = list(module.state_dict().values())
    return any(not isinstance(value, Tensor) or value.is_quantized for value in values)


def attach_fixed_network(checkpoint: Checkpoint, module: nn.Module) -> Checkpoint:
    """Return the checkpoint with a network that can only be run.

    Its tensors are the dequantized ones, which identify the weights.
    """
    tensors = dict(pair for item in module.state_dict().items() for pair in _dequantized(*item))
    return replace(
        checkpoint,
        module=module.eval(),
        tensors=tensors,
        stored_names={name: name for name in tensors},
        is_fixed=True,
        notes=(*checkpoint.notes, *_notes(module)),
    )


def _notes(module: nn.Module) -> tuple[str, ...]:
    if not any("dynamic" in type(part).__module__ for part in module.modules()):
        return ()
    return (
        "The network is quantized dynamically: the score of a row depends a little on the other "
        "rows of its batch.",
    )


def _dequantized(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, (value.dequantize() if value.is_quantized else value).detach().clone()
    elif isinstance(value, tuple | list):
        for place, item in enumerate(value):
            yield from _dequantized(f"{name}.{place}", item)

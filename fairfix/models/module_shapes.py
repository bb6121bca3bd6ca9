"""What each module of a network gives for a batch: shapes of its outputs, and its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairfix.models.inputs import Batch
from fairfix.models.network_output import named_outputs

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModuleShapes:
    """One module of a network.

    Attributes:
        name: as in ``named_modules``.
        kind: name of its class.
        outputs: shapes (n, ...) of what it returned when it was first called; () if it was not
            called, or if its calls cannot be seen, as those inside a script.
        parameters: number of parameters, those of the modules inside it included.
    """

    name: str
    kind: str
    outputs: tuple[Shape, ...]
    parameters: int


@torch.no_grad()
def module_shapes(network: nn.Module, batch: Batch) -> tuple[Any, list[ModuleShapes]]:
    """Run a network and return its output and its modules, without itself, in order.

    Args:
        network: in evaluation mode.
        batch: n rows.
    """
    found: dict[nn.Module, tuple[Shape, ...]] = {}

    def note(module: nn.Module, arguments: Any, output: Any) -> None:
        found.setdefault(module, tuple(tuple(x.shape) for x in _tensors(output)))

    inside = {name: module for name, module in network.named_modules() if name}
    visible = [each for each in inside.values() if not isinstance(each, torch.jit.ScriptModule)]
    handles = [module.register_forward_hook(note) for module in visible]
    try:
        output = batch.call(network)
    finally:
        for handle in handles:
            handle.remove()
    return output, [
        ModuleShapes(
            name,
            type(module).__name__,
            found.get(module, ()),
            sum(p.numel() for p in module.parameters()),
        )
        for name, module in inside.items()
    ]


def _tensors(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(named_outputs(output).values())

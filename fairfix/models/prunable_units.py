"""Find the prunable hidden units of a network, and the parameters to zero for each.

The network runs once on a few rows while every tensor function is intercepted, however it is
called: as a module, as a function, in place, or inside an exported program. The output channels of
each linear or convolutional layer, and the heads of scaled dot-product attention, are followed
through the operations that keep them apart (activations, BatchNorm, dropout, pooling, reshaping) to
the layers that read them.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models.inputs import Batch, as_batch
from fairfix.models.parametrizations import unprunable_reason
from fairfix.models.scorer import Scorer
from fairfix.models.unit_sources import PrunableLayer
from fairfix.models.unit_tracing import INPUTS, UnitTracer


def trace_prunable_layers(
    module: nn.Module, batch: Batch | Tensor
) -> tuple[Tensor, list[PrunableLayer]]:
    """Run a batch and find the prunable layers.

    A layer is not prunable if it feeds only the output, if its weights are used more than once, or
    if zeroing parameters cannot remove a unit (for example with a sigmoid before a sum).

    Args:
        module: a scorer, or a network that returns a tensor; in evaluation mode.
        batch: the rows.

    Returns:
        The output, and the prunable layers in order of execution, the inputs first. Parameters
        have the names that ``module`` gives them.
    """
    output, tracer = _trace(module, as_batch(batch))
    return output, tracer.layers()


def find_prunable_layers(
    module: nn.Module, batch: Batch | Tensor, *, inputs: bool = False
) -> list[PrunableLayer]:
    """Return the prunable layers, in order of execution, without activations.

    Args:
        module: a scorer, or a network that returns a tensor; in evaluation mode.
        batch: a few rows.
        inputs: include the inputs of the network.

    Raises:
        CheckpointError: if no layer is prunable.
    """
    with torch.no_grad():
        tracer = _trace(module, as_batch(batch))[1]
    layers = [layer for layer in tracer.layers() if inputs or not layer.name.startswith(INPUTS)]
    if not layers:
        raise CheckpointError(
            "The network has no hidden units that can be pruned: "
            f"{unprunable_reason(module, tracer.hidden())}"
        )
    return [replace(layer, activations=()) for layer in layers]


def _trace(module: nn.Module, batch: Batch) -> tuple[Tensor, UnitTracer]:
    if torch.is_grad_enabled():
        batch = batch.map(lambda x: x.detach().requires_grad_() if x.is_floating_point() else x)
    tracer = UnitTracer({id(p): name for name, p in module.named_parameters()}, batch)
    with tracer:
        output: Tensor = module(batch) if isinstance(module, Scorer) else batch.call(module)
    return output, tracer

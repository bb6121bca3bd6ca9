"""Find the numbers of features that a network runs on, by running it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fairfix.models.checkpoint import Checkpoint
from fairfix.models.network_output import named_outputs
from fairfix.models.run_network import castings, restore_float32

_TRIED = 128  # widths up to this one, and every size of a parameter
_ROWS = 3


@torch.no_grad()
def accepted_widths(checkpoint: Checkpoint) -> list[int]:
    """Return up to two numbers of features with which the network runs on rows of zeros.

    Args:
        checkpoint: with a network, which is left in float32.
    """
    network = checkpoint.module
    assert network is not None
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    sizes = {size for tensor in checkpoint.tensors.values() for size in tensor.shape}
    found: list[int] = []
    for dtype in castings(checkpoint, network):
        for width in sorted({*range(1, _TRIED + 1), *sizes} - {0}):
            if len(found) < 2 and _runs(
                network, torch.zeros(_ROWS, width, dtype=dtype, device=device)
            ):
                found.append(width)
        if found:  # not cast further: a cast copies all weights
            break
    restore_float32(checkpoint, network)
    return found


def _runs(network: nn.Module, rows: Tensor) -> bool:
    """Whether the network runs and returns something for each row."""
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = named_outputs(network(rows))
    except Exception:  # the code of the network may raise anything
        return False
    return any(tensor.shape[:1] == rows.shape[:1] for tensor in outputs.values())

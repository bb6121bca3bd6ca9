"""A module written as a program of its own: TorchScript (``.pt``) or ``torch.export`` (``.pt2``).

Loading one needs PyTorch and none of the code that made it.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.base import reason

KINDS = {".pt": "TorchScript", ".pt2": "torch.export"}


def save_program(module: nn.Module, example: Tensor, path: Path) -> None:
    """Write ``module``, which takes (N, D) for any N, in the kind that the path's suffix names.

    ``example`` are some rows, two at least, with which its operations are recorded. Raises
    CheckpointError for a module that cannot be recorded.
    """
    kind = KINDS[path.suffix]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch.jit calls itself deprecated; the user knows
            if kind == "TorchScript":
                torch.jit.save(torch.jit.trace(module, example, check_trace=False), path)
            else:
                rows = torch.export.Dim("rows")
                program = torch.export.export(module, (example,), dynamic_shapes=({0: rows},))
                torch.export.save(program, path)
    except Exception as error:  # recording runs whatever code the network has
        (other,) = (suffix for suffix in KINDS if suffix != path.suffix)
        raise CheckpointError(
            f"The network cannot be exported as {kind}: {reason(error).removesuffix('.')}. "
            f"Try a file that ends in {other}."
        ) from error


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """The program in a file that ``save_program`` wrote; what it holds is run, so no other file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if KINDS[path.suffix] == "TorchScript":
            script: Callable[[Tensor], Tensor] = torch.jit.load(path, map_location="cpu")
            return script
        program: Callable[[Tensor], Tensor] = torch.export.load(path).module()
        return program

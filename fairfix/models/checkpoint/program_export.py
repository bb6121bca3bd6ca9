"""Export a module as a self-contained program: TorchScript (``.pt``) or torch.export (``.pt2``).

Loading it needs PyTorch, but not the code of the module.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError

PROGRAM_KINDS = {".pt": "TorchScript", ".pt2": "torch.export"}


def save_program(module: nn.Module, example: Tensor, path: Path) -> None:
    """Export a module.

    Args:
        module: maps (N, D) to scores or decisions, for any N.
        example: at least two rows, (N, D), with which its operations are traced.
        path: the file; its suffix selects the kind of program.

    Raises:
        CheckpointError: if the module cannot be traced.
    """
    kind = PROGRAM_KINDS[path.suffix]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that torch.jit is deprecated
            if kind == "TorchScript":
                torch.jit.save(torch.jit.trace(module, example, check_trace=False), path)
            else:
                rows = torch.export.Dim("rows")
                program = torch.export.export(module, (example,), dynamic_shapes=({0: rows},))
                torch.export.save(program, path)
    except Exception as error:  # tracing runs the code of the network
        (other,) = (suffix for suffix in PROGRAM_KINDS if suffix != path.suffix)
        raise CheckpointError(
            f"The network cannot be exported as {kind}: {error_summary(error).removesuffix('.')}. "
            f"Try a file that ends in {other}."
        ) from error


def load_program(path: Path) -> Callable[[Tensor], Tensor]:
    """Load a program that ``save_program`` wrote.

    Loading runs code in the file, so never load a file from elsewhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if PROGRAM_KINDS[path.suffix] == "TorchScript":
            script: Callable[[Tensor], Tensor] = torch.jit.load(path, map_location="cpu")
            return script
        program: Callable[[Tensor], Tensor] = torch.export.load(path).module()
        return program

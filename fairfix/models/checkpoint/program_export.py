"""Export a module as a self-contained program: TorchScript (``.pt``) or torch.export (``.pt2``).

Loading it needs PyTorch, but not the code of the module.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, FairfixError

PROGRAM_KINDS = {".pt": "TorchScript", ".pt2": "torch.export"}

_FIXED_ROWS = (
    "The network cannot be exported: its traced code does not run on other numbers of rows, as "
    "with len(x) or squeeze() in forward. Write x.shape[0] or squeeze(-1) there, or leave out "
    "--export."
)


def save_program(module: nn.Module, example: Sequence[Tensor], path: Path) -> None:
    """Export a module.

    Args:
        module: maps tensors (N, ...) by position to scores or decisions, for any N.
        example: its inputs for at least two rows, with which its operations are traced.
        path: the file; its suffix selects the kind of program.

    Raises:
        CheckpointError: if the module cannot be traced.
    """
    kind = PROGRAM_KINDS[path.suffix]
    buffer = io.BytesIO()  # torch's writer of files ends the process on a full disk
    try:
        with warnings.catch_warnings(), torch.no_grad(), _plain_attention():
            warnings.simplefilter("ignore")  # that torch.jit is deprecated
            if kind == "TorchScript":
                script = cast(
                    torch.jit.ScriptModule,
                    torch.jit.trace(module, tuple(example), check_trace=False),
                )
                _check_any_number_of_rows(script, module, example)
                torch.jit.save(script, buffer)
            else:
                program = _exported(module, example)
                _check_any_number_of_rows(program.module(), module, example)
                torch.export.save(program, buffer)
    except FairfixError:
        raise
    except Exception as error:  # tracing runs the code of the network
        (other,) = (suffix for suffix in PROGRAM_KINDS if suffix != path.suffix)
        raise CheckpointError(
            f"The network cannot be exported as {kind}: {error_summary(error).removesuffix('.')}. "
            f"Try a file that ends in {other}."
        ) from error
    path.write_bytes(buffer.getbuffer())


def _exported(module: nn.Module, example: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """Export for any number of rows; read the source of ``forward`` where running it fixes them."""
    first, *more = ({0: torch.export.Dim("rows")} for _ in example)
    shapes = (first, tuple(more)) if more else (first,)
    try:
        return torch.export.export(module, tuple(example), dynamic_shapes=shapes)
    except Exception:  # such as len(x) in forward, which is a constant while it runs
        logging.disable()  # torch reports its failure a second time there
        try:
            return torch.export.export(module, tuple(example), dynamic_shapes=shapes, strict=True)
        finally:
            logging.disable(logging.NOTSET)


def _check_any_number_of_rows(
    program: Callable[..., Tensor], module: nn.Module, example: Sequence[Tensor]
) -> None:
    """Raise CheckpointError unless the program runs on one row and on more rows than traced."""
    more = [torch.cat([x, x[:3]]) for x in example]
    for rows in (more, [x[:1] for x in example]):
        try:
            found, expected = program(*rows), module(*rows)
        except Exception as error:
            raise CheckpointError(_FIXED_ROWS) from error
        if found.shape != expected.shape or len(found) != len(rows[0]):
            raise CheckpointError(_FIXED_ROWS)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Run attention layers as plain operations: their fused form is fixed to a number of rows."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def load_program(path: Path) -> Callable[..., Tensor]:
    """Load a program that ``save_program`` wrote.

    Loading runs code in the file, so never load a file from elsewhere.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if PROGRAM_KINDS[path.suffix] == "TorchScript":
            script: Callable[..., Tensor] = torch.jit.load(path, map_location="cpu")
            return script
        program: Callable[..., Tensor] = torch.export.load(path).module()
        return program

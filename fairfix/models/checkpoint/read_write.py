"""Reading and writing checkpoints of any known format."""

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix._utils.atomic_write import replacing
from fairfix.errors import CheckpointError, UsageError, VerificationError
from fairfix.models.checkpoint import (
    huggingface,
    lightning,
    pickled_module,
    safetensors,
    state_dict,
    torchscript,
)
from fairfix.models.checkpoint import torch_export as exported
from fairfix.models.checkpoint.base import Checkpoint, Format, Source
from fairfix.models.checkpoint.detect_format import recognize
from fairfix.models.checkpoint.tensor_checks import raw_bytes, stored_state

_ALL: tuple[Format, ...] = (
    state_dict,
    safetensors,
    pickled_module,
    torchscript,
    exported,
    lightning,
    huggingface,
)
FORMATS: dict[str, Format] = {form.KEY: form for form in _ALL}


def read(
    path: str | PathLike[str],
    *,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Checkpoint:
    """Read the checkpoint at ``path``, a file or folder of any known format.

    ``arch`` names the architecture where the file holds weights alone: ``file.py:Class`` or
    ``package.module:callable``, called with ``arch_args``, or ``mlp:relu``. Without ``trust``
    nothing in the file is executed. Raises CheckpointError for what cannot be read or run,
    TrustError for what could be with ``trust``, UsageError for an ``arch`` not understood.
    """
    if arch_args and arch is None:
        raise UsageError("--arch-args goes with --arch: name the class that takes them, too.")
    source = Source(Path(path), arch, arch_args, trust)
    try:
        form = FORMATS[recognize(source.path)]
        stamp = _stamp(source.path)
        return replace(form.read(source), stamp=stamp)
    except RecursionError as error:
        raise CheckpointError(f"{path} is nested too deeply: it is damaged.") from error


def write(
    checkpoint: Checkpoint,
    state: Mapping[str, Tensor],
    destination: str | PathLike[str],
    *,
    rule: Mapping[str, Any] | None = None,
    force: bool = False,
) -> None:
    """Write the checkpoint with the weights ``state`` to ``destination``, in its own format.

    ``state`` is keyed like ``checkpoint.module.state_dict()`` (``checkpoint.tensors`` without a
    module). Everything else in the file is kept; ``rule`` goes into its metadata where the format
    has any. What was written is read back and compared bit for bit before it takes its place.
    Raises OutputError for a place that cannot be written (an existing one needs ``force``),
    CheckpointError for a state the file cannot hold, VerificationError when the comparison fails.
    """
    if _stamp(checkpoint.path) != checkpoint.stamp:
        raise CheckpointError(f"{checkpoint.path} has changed since it was read. Start again.")
    stored = stored_state(checkpoint, state)
    form = FORMATS[checkpoint.format]
    with replacing(Path(destination), checkpoint.path, force=force) as made:
        form.save(checkpoint, stored, rule, made)
        _verify(stored, form.reread(checkpoint, made), destination)


def _stamp(path: Path) -> object:
    """Sizes and times of the files that a checkpoint consists of."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    try:
        stats = [file.stat() for file in files]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read any more: {error.strerror}.") from error
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def _verify(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], destination: object
) -> None:
    for name, tensor in expected.items():
        back = found[name]
        same = (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
        if not same or raw_bytes(back) != raw_bytes(tensor):
            raise VerificationError(f"Writing {destination} changed {name!r}: nothing was written.")

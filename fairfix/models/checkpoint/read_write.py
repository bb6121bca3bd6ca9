"""Read and write checkpoints of any known format."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from fairfix._utils.atomic_write import replacing
from fairfix.errors import CheckpointError, UsageError, VerificationError
from fairfix.models.checkpoint import (
    huggingface,
    lightning,
    memory,
    pickled_module,
    safetensors,
    state_dict,
    torch_export,
    torchscript,
)
from fairfix.models.checkpoint.archive import check_archive
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.detect_format import detect
from fairfix.models.checkpoint.mapped_storage import same_bits
from fairfix.models.checkpoint.tensor_checks import stored_state
from fairfix.models.inputs import Batch


class Writer(Protocol):
    """What a module that writes checkpoints defines."""

    @property
    def KEY(self) -> str:  # noqa: N802 (a constant of the module)
        """Name of the format."""
        ...

    def save(
        self,
        checkpoint: Checkpoint,
        stored: Mapping[str, Tensor],
        rule: Mapping[str, Any] | None,
        destination: Path,
    ) -> None:
        """Write a copy of the checkpoint's file with other tensors.

        Args:
            checkpoint: what ``read`` returned.
            stored: new tensors with the names, dtypes and shapes of ``checkpoint.tensors``.
            rule: the decision rule for the file's metadata, if the format has metadata.
            destination: does not exist.
        """
        ...

    def read_back(self, checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
        """Return the tensors of a file that ``save`` wrote, named as ``checkpoint.tensors``."""
        ...


class Format(Writer, Protocol):
    """What the module of a checkpoint format defines."""

    def read(self, request: ReadRequest) -> Checkpoint:
        """Read a file or folder that ``detect`` found to have this format.

        Raises:
            TrustError: if that needs to execute code, without permission.
            CheckpointError: if it is damaged or does not fit the architecture.
            UsageError: if the architecture is missing or not understood.
        """
        ...


_MODULES: tuple[Format, ...] = (
    state_dict,
    safetensors,
    pickled_module,
    torchscript,
    torch_export,
    lightning,
    huggingface,
)
FORMATS: dict[str, Format] = {module.KEY: module for module in _MODULES}
"""All formats by key. A new format is added here and in ``detect_format``."""


def read(
    path: str | PathLike[str],
    *,
    arch: str | None = None,
    arch_args: Mapping[str, Any] | None = None,
    trust: bool = False,
    checkpoint_key: str | None = None,
    rows: Batch | None = None,
) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a file or folder of any known format.
        arch: architecture, if the file has only weights: ``file.py:Class``,
            ``package.module:callable``, or ``mlp:ACTIVATION`` to infer it from the tensors.
        arch_args: keyword arguments of the class or callable.
        trust: allow executing code in the file.
        checkpoint_key: which of several networks of the file: a dotted prefix of its tensors'
            names, or the end of one, such as ``teacher``.
        rows: inputs of a few rows, for a program that does not record its input.

    Raises:
        CheckpointError: if the file cannot be read or run.
        TrustError: if that would need ``trust``.
        UsageError: if ``arch`` is not understood.
    """
    if arch_args and arch is None:
        raise UsageError("--arch-args needs --arch: name the class that takes these arguments.")
    request = ReadRequest(Path(path), arch, arch_args, trust, checkpoint_key, rows)
    try:
        module = FORMATS[detect(request.path)]
        stamp = _file_stamp(request.path)
        check_archive(request.path)
        return replace(module.read(request), file_stamp=stamp)
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
    """Write a checkpoint with new weights, in its own format; one in memory as a state_dict.

    Everything else in the file is kept. What was written is read back and compared bit by bit
    before it replaces anything. The file of a network that cannot be changed is copied.

    Args:
        checkpoint: as ``read`` returned it; its file must be unchanged.
        state: new weights, keyed as ``checkpoint.tensors``.
        destination: the file or folder to write.
        rule: decision rule for the file's metadata, if the format has metadata.
        force: allow replacing an existing file or folder, but never the checkpoint's own.

    Raises:
        OutputError: if the destination cannot be written.
        CheckpointError: if the file cannot hold the weights, or has changed since it was read.
        VerificationError: if the comparison fails; nothing is written.
    """
    path = checkpoint.path
    if path is not None and _file_stamp(path) != checkpoint.file_stamp:
        raise CheckpointError(f"{path} has changed since it was read. Start again.")
    stored = stored_state(checkpoint, state)
    module: Writer = memory if path is None else FORMATS[checkpoint.format]
    with replacing(Path(destination), path, force=force) as staging:
        if checkpoint.is_fixed and path is not None:
            shutil.copyfile(path, staging)
        else:
            module.save(checkpoint, stored, rule, staging)
            _verify(stored, module.read_back(checkpoint, staging), destination)


def _file_stamp(path: Path) -> object:
    """Return sizes and times of the files of a checkpoint."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    try:
        stats = [file.stat() if file.exists() else file.lstat() for file in files]
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read any more: {error.strerror}.") from error
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def _verify(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], destination: object
) -> None:
    for name, tensor in expected.items():
        if not same_bits(found[name], tensor):
            raise VerificationError(
                f"Writing {destination} changed {name!r}; nothing was written. Report this bug."
            )

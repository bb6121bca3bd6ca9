"""A trained network read from a file, and the request to read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fairfix.models.inputs import Batch


@dataclass(frozen=True)
class ReadRequest:
    """A file or folder to read.

    Attributes:
        path: the file or folder.
        arch: architecture: ``file.py:Class``, ``package.module:callable`` or ``mlp:ACTIVATION``.
        arch_args: keyword arguments of the class or callable.
        trust: allow executing code in the file.
        checkpoint_key: which of several networks of the file: a dotted prefix of its tensors'
            names, or the end of one.
        rows: inputs of a few rows, for a program that does not record them; None tries inputs of
            several shapes.
    """

    path: Path
    arch: str | None = None
    arch_args: Mapping[str, Any] | None = None
    trust: bool = False
    checkpoint_key: str | None = None
    rows: Batch | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and the file it was read from, if it comes from one.

    Attributes:
        path: the file or folder; None for a network in memory.
        format: key of the format.
        title: the format in words.
        module: the network, on the CPU, in evaluation mode and in float32; None if the file has
            only weights and no architecture was given.
        tensors: every tensor of the network in its stored dtype, by its key in
            ``module.state_dict()``.
        rule: the decision rule in the file's metadata.
        notes: sentences that the user must see.
        metadata: other metadata of the file, as plain JSON.
        stored_names: the name in the file of each of ``tensors``, including prefixes of wrappers
            such as ``module.``.
        container: dotted keys of the dictionary in the file that has the tensors of these names.
        copies: full names of equal tensors under other prefixes, which are changed alike.
        width: number of features that an exported program records; None if it records none.
        tried_width: number of features with which a program that records none was converted
            without rows of a table.
        is_fixed: the network can be run, but its weights cannot be changed.
        file_stamp: sizes and times of the files when read, to detect a change before writing.
    """

    path: Path | None
    format: str
    title: str
    module: nn.Module | None
    tensors: dict[str, Tensor]
    rule: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stored_names: Mapping[str, str] = field(default_factory=dict, repr=False)
    container: str = ""
    copies: tuple[Mapping[str, str], ...] = field(default=(), repr=False)
    width: int | None = None
    tried_width: int | None = None
    is_fixed: bool = False
    file_stamp: object = field(default=None, repr=False)

    @property
    def file(self) -> Path:
        """The file or folder of a network that comes from one."""
        assert self.path is not None
        return self.path

    @property
    def name(self) -> str:
        """The name of the file or folder; of a network in memory, that of its class."""
        return str(self.metadata["class"]) if self.path is None else self.path.name

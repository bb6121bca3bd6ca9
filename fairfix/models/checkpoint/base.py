"""What a checkpoint is once read, and what every format has to offer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Source:
    """A file or folder to be read, and what the user said about it."""

    path: Path
    arch: str | None = None
    arch_args: Mapping[str, Any] | None = None
    trust: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and where it came from.

    ``module`` is on the CPU, in evaluation mode and in float32; it is None when the file holds
    weights alone and no architecture was named. ``tensors`` holds every tensor of the network in
    its stored dtype, under the key it has in ``module.state_dict()``. ``rule`` is the decision
    rule found inside the file. ``notes`` are sentences the user must be told; ``metadata`` is
    plain JSON. ``stored_names`` gives the name in the file of each of ``tensors``, with whatever
    training put before it (``module.``).
    """

    path: Path
    format: str
    title: str
    module: nn.Module | None
    tensors: dict[str, Tensor]
    rule: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stored_names: Mapping[str, str] = field(default_factory=dict, repr=False)
    stamp: object = field(default=None, repr=False)
    """What ``files.read`` saw of the file, to notice a change before it is written back."""


class Format(Protocol):
    """One file format. A module of this package that defines these names is one."""

    @property
    def KEY(self) -> str:  # noqa: N802 (a constant of the module)
        """Name of the format."""
        ...

    def read(self, source: Source) -> Checkpoint:
        """Read ``source``, which ``recognize`` has found to be of this format."""
        ...

    def save(
        self,
        checkpoint: Checkpoint,
        stored: Mapping[str, Tensor],
        rule: Mapping[str, Any] | None,
        destination: Path,
    ) -> None:
        """Write to ``destination``, which does not exist: the input with these tensors.

        ``stored`` has the names, dtypes and shapes of ``checkpoint.tensors``.
        """
        ...

    def reread(self, checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
        """The tensors of a file that ``save`` wrote, named as in ``checkpoint.tensors``."""
        ...


def reason(error: Exception) -> str:
    """A foreign error in one line: its kind and the first line of what it says."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__

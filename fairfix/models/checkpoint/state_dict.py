"""Weights alone: a state_dict saved with ``torch.save``, bare or inside a training dictionary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.base import Checkpoint, Source
from fairfix.models.checkpoint.find_tensors import is_network, named_tensors, plain, weights_in
from fairfix.models.checkpoint.load_weights import by_own_name, by_stored_name, with_network
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "state_dict"
_USUAL = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")


def read(source: Source) -> Checkpoint:
    """Read ``source``; the module is None without ``source.arch``.

    Raises CheckpointError when no weights are found, more than one network is, or they do not fit.
    """
    file = open_torch_file(source.path)
    where, content = _find(file)
    title = "PyTorch state_dict"
    if where:
        kind = "pickled network" if is_network(content) else "state_dict"
        title = f"PyTorch {kind} inside a training dictionary (key {'.'.join(where)!r})"
    tensors = file.tensors(named_tensors(content))
    metadata = plain(file.content) if where else {}
    checkpoint = Checkpoint(
        source.path, KEY, title, None, tensors, notes=file.notes, metadata=metadata
    )
    return with_network(checkpoint, source)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new numbers. The rule is left out: a state_dict has no place for it."""
    file = open_torch_file(checkpoint.path)
    file.rewrite(destination, changes(checkpoint, stored, network_in(file)))


def reread(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``save`` wrote."""
    file = open_torch_file(destination)
    return by_own_name(checkpoint, file.tensors(network_in(file)))


def network_in(file: TorchFile) -> dict[str, StoredTensor]:
    """Where the tensors of the one network in ``file`` lie."""
    return named_tensors(_find(file)[1])


def changes(
    checkpoint: Checkpoint, stored: Mapping[str, Tensor], network: Mapping[str, StoredTensor]
) -> list[tuple[StoredTensor, Tensor]]:
    """``stored`` as changes to be written where the tensors of ``network`` lie."""
    tensors = by_stored_name(checkpoint, stored)
    return [(network[name], tensor) for name, tensor in tensors.items()]


def _find(file: TorchFile) -> tuple[tuple[str, ...], Any]:
    found = dict(weights_in(file.content))
    usual = [where for where in found if where and where[-1] in _USUAL]
    if usual:
        return usual[0], found[usual[0]]
    if () in found:
        return (), file.content
    if len(found) == 1:
        return next(iter(found.items()))
    candidates = ", ".join(repr(".".join(where)) for where in found) or "none"
    keys = ", ".join(map(str, file.content)) if isinstance(file.content, dict) else "none"
    raise CheckpointError(
        f"{file.path}: the weights of one network cannot be singled out (candidates: {candidates}; "
        f"keys in the file: {keys}). Save that network's state_dict alone."
    )

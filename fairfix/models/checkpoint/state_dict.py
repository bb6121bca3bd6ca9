"""State dicts saved with ``torch.save``, alone or inside a training dictionary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.find_tensors import (
    find_weights,
    is_pickled_module,
    json_values,
    named_tensors,
)
from fairfix.models.checkpoint.load_weights import attach_network, by_module_name, by_stored_name
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import TorchFile, open_torch_file

KEY = "state_dict"
_USUAL_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")


def read(request: ReadRequest) -> Checkpoint:
    """Read a file; without an architecture, the module is None.

    Raises:
        CheckpointError: if there is no network or more than one, or the weights do not fit.
    """
    file = open_torch_file(request.path)
    where, content = _find(file)
    title = "PyTorch state_dict"
    if where:
        kind = "pickled network" if is_pickled_module(content) else "state_dict"
        title = f"PyTorch {kind} inside a training dictionary (key {'.'.join(where)!r})"
    tensors = file.tensors(named_tensors(content))
    metadata = json_values(file.content) if where else {}
    checkpoint = Checkpoint(
        request.path, KEY, title, None, tensors, notes=file.notes, metadata=metadata
    )
    return attach_network(checkpoint, request)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new tensors, without the rule: a state dict has no metadata."""
    file = open_torch_file(checkpoint.path)
    file.rewrite(destination, changes(checkpoint, stored, network_in(file)))


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    file = open_torch_file(destination)
    return by_module_name(checkpoint, file.tensors(network_in(file)))


def network_in(file: TorchFile) -> dict[str, StoredTensor]:
    """Return where the tensors of the network in a file are stored."""
    return named_tensors(_find(file)[1])


def changes(
    checkpoint: Checkpoint, stored: Mapping[str, Tensor], network: Mapping[str, StoredTensor]
) -> list[tuple[StoredTensor, Tensor]]:
    """Return new values for tensors of ``network``, as ``StorageFile.rewrite`` takes them."""
    tensors = by_stored_name(checkpoint, stored)
    return [(network[name], tensor) for name, tensor in tensors.items()]


def _find(file: TorchFile) -> tuple[tuple[str, ...], Any]:
    found = dict(find_weights(file.content))
    usual = [where for where in found if where and where[-1] in _USUAL_KEYS]
    if usual:
        return usual[0], found[usual[0]]
    if () in found:
        return (), file.content
    if len(found) == 1:
        return next(iter(found.items()))
    candidates = ", ".join(repr(".".join(where)) for where in found) or "none"
    keys = ", ".join(map(str, file.content)) if isinstance(file.content, dict) else "none"
    raise CheckpointError(
        f"{file.path}: cannot tell which weights are the network's (candidates: {candidates}; keys "
        f"in the file: {keys}). Save only that network's state_dict."
    )

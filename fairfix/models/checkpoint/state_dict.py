"""State dicts saved with ``torch.save``, alone or inside a training dictionary."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.models.checkpoint.build_pickled import build_network
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.choose_tensors import main_set
from fairfix.models.checkpoint.configuration import with_arguments
from fairfix.models.checkpoint.find_tensors import (
    json_values,
    pickled_modules,
    stored_places,
    stored_tensors,
)
from fairfix.models.checkpoint.load_weights import (
    attach_loaded_network,
    attach_network,
    by_module_name,
    by_stored_name,
)
from fairfix.models.checkpoint.tensor_storage import StoredTensor
from fairfix.models.checkpoint.torch_file import open_torch_file

KEY = "state_dict"


def read(request: ReadRequest) -> Checkpoint:
    """Read a file; without an architecture, the module is None.

    Raises:
        CheckpointError: if there is no network or more than one, or the weights do not fit.
        TrustError: if it has a whole network that needs code other than torch's, without
            permission.
    """
    file = open_torch_file(request.path)
    tensors = stored_tensors(file.content, file)
    checkpoint = Checkpoint(request.path, KEY, "PyTorch state_dict", None, {}, notes=file.notes)
    if request.checkpoint_key is not None:
        tensors = tensors.under(request.checkpoint_key, request.path)
    networks = {".".join(keys): keys for keys in pickled_modules(file.content)}
    main = main_set(tensors, request.path).prefix if request.arch is None and networks else None
    if main in networks:
        module, ran = build_network(file, request, networks[main])
        if ran:  # the note that nothing was run is no longer true
            checkpoint = replace(checkpoint, notes=())
        checkpoint = attach_loaded_network(checkpoint, module, file=tensors)
    else:
        checkpoint, arguments = with_arguments(checkpoint, file.content)
        checkpoint = attach_network(checkpoint, request, file=tensors, arguments=arguments)
    if not checkpoint.container:
        return checkpoint
    kind = "pickled network" if checkpoint.container in networks else "state_dict"
    return replace(
        checkpoint,
        title=f"PyTorch {kind} inside a training dictionary (key {checkpoint.container!r})",
        metadata={**json_values(file.content), **checkpoint.metadata},
    )


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new tensors, without the rule: a state dict has no metadata."""
    file = open_torch_file(checkpoint.file)
    file.rewrite(destination, changes(checkpoint, stored, stored_places(file.content)))


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    file = open_torch_file(destination)
    return by_module_name(checkpoint, stored_tensors(file.content, file).tensors)


def changes(
    checkpoint: Checkpoint, stored: Mapping[str, Tensor], places: Mapping[str, StoredTensor]
) -> list[tuple[StoredTensor, Tensor]]:
    """Return new values for tensors at ``places``, as ``StorageFile.rewrite`` takes them."""
    tensors = by_stored_name(checkpoint, stored)
    return [(places[name], tensor) for name, tensor in tensors.items()]

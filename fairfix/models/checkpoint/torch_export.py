"""Programs of ``torch.export`` (``.pt2``): archives of a graph of operations and weights."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.archive import Archive, open_archive
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.graph_to_module import (
    check_same_outputs,
    conversion_errors,
    module_from_graph,
    width_of,
)
from fairfix.models.checkpoint.load_weights import (
    attach_loaded_network,
    attach_network,
    by_module_name,
    prepare_module,
)
from fairfix.models.checkpoint.state_dict import changes
from fairfix.models.checkpoint.tensor_storage import StorageFile, StoredTensor

KEY = "pt2"
_WEIGHTS_FOLDER = "data/weights/"
_CONFIG = "_weights_config.json"


def read(request: ReadRequest) -> Checkpoint:
    """Read a program with the network of its graph, or with that of the given architecture.

    Raises:
        TrustError: without permission to run code in the file.
        CheckpointError: if the program cannot be loaded, was exported in training mode, or cannot
            be converted to layers.
    """
    if not request.trust:
        raise TrustError(
            f"{request.path} is a torch.export program, and loading it can run code inside it. "
            "Allow that with --trust-checkpoint."
        )
    archive = open_archive(request.path)
    program = _load(request.path)
    file, stored = _weights(archive, program.state_dict)
    checkpoint = Checkpoint(
        request.path,
        KEY,
        "torch.export program",
        None,
        file.tensors(stored),
        rule=embedded.rule_in(archive),
    )
    if request.arch is not None:
        return attach_network(checkpoint, request)
    with conversion_errors(request.path):
        trained = program.graph_signature.parameters
        network = prepare_module(
            module_from_graph(program, program.state_dict, trained, request.path)
        )
        example = _examples(program)
        check_same_outputs(network, program.module(), example, request.path)
    width = width_of(example)
    return replace(attach_loaded_network(checkpoint, network), width=width)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the archive with new tensors, and the rule as the extra file ``fairfix.json``."""
    file, where = _weights(open_archive(checkpoint.file), _by_stored(checkpoint))
    file.rewrite(
        destination,
        changes(checkpoint, stored, where),
        {embedded.MEMBER: embedded.rule_bytes(rule)},
    )


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    file, where = _weights(open_archive(destination), _by_stored(checkpoint))
    return by_module_name(checkpoint, file.tensors(where))


def _by_stored(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {place: checkpoint.tensors[name] for name, place in checkpoint.stored_names.items()}


def _weights(
    archive: Archive, tensors: Mapping[str, Tensor]
) -> tuple[StorageFile, dict[str, StoredTensor]]:
    """Return where each weight is stored in the archive; ``tensors`` have the dtypes."""
    configs = [n for n in archive.members if n.startswith(_WEIGHTS_FOLDER) and n.endswith(_CONFIG)]
    if len(configs) != 1:
        raise CheckpointError(
            f"{archive.path} has {len(configs)} exported programs, but only files with one can be "
            "changed. Export it again with the current version of torch."
        )
    try:
        entries = json.loads(archive.read(configs[0]))["config"]
        stored = {
            name: _stored(entry, tensors[name].dtype)
            for name, entry in entries.items()
            if not entry["use_pickle"]
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{archive.path} is damaged: its list of weights cannot be read "
            f"({error_summary(error)}). Export the program again."
        ) from error
    if pickled := sorted(entries.keys() - stored.keys()):
        raise CheckpointError(
            f"{archive.path}: tensor {pickled[0]!r} is pickled inside the program and cannot be "
            "changed. Export the program again."
        )
    storages = {
        name.removeprefix(_WEIGHTS_FOLDER): member
        for name, member in archive.members.items()
        if name.startswith(_WEIGHTS_FOLDER)
    }
    return StorageFile(archive.path, storages, archive, _WEIGHTS_FOLDER), stored


def _stored(entry: Mapping[str, Any], dtype: torch.dtype) -> StoredTensor:
    meta = entry["tensor_meta"]
    return StoredTensor(
        entry["path_name"],
        dtype,
        meta["storage_offset"]["as_int"],
        tuple(size["as_int"] for size in meta["sizes"]),
        tuple(step["as_int"] for step in meta["strides"]),
    )


def _load(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be loaded ({error_summary(error)}). "
            "Export it again on the CPU with this version of torch."
        ) from error


def _examples(program: ExportedProgram) -> tuple[Tensor, ...]:
    """Return inputs of the shapes with which the network was exported."""
    inputs = program.graph_signature.user_inputs
    return tuple(_example(node.meta["val"]) for node in program.graph.nodes if node.name in inputs)


def _example(value: Tensor) -> Tensor:
    shape = [size if isinstance(size, int) else size.node.hint or 4 for size in value.shape]
    if not value.dtype.is_floating_point:
        return torch.zeros(shape, dtype=value.dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(value.dtype)

"""A program of ``torch.export`` (``.pt2``): a graph of operations and weights in one archive."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.archive import Archive, open_archive
from fairfix.models.checkpoint.base import Checkpoint, Source, reason
from fairfix.models.checkpoint.graph_layers import as_layers, check_behavior, taking_apart
from fairfix.models.checkpoint.load_weights import by_own_name, ready, with_module, with_network
from fairfix.models.checkpoint.state_dict import changes
from fairfix.models.checkpoint.tensor_storage import StorageFile, StoredTensor

KEY = "pt2"
_WEIGHTS = "data/weights/"
_CONFIG = "_weights_config.json"


def read(source: Source) -> Checkpoint:
    """Read ``source``, with the network of its graph, or as ``source.arch`` makes it.

    Raises TrustError without trust, CheckpointError for a program that cannot be loaded, was
    exported in training mode, or cannot be taken apart.
    """
    if not source.trust:
        raise TrustError(
            f"{source.path} is a torch.export program, and loading it can run code inside it. "
            "Allow that with --trust-checkpoint."
        )
    archive = open_archive(source.path)
    program = _load(source.path)
    file, stored = _weights(archive, program.state_dict)
    checkpoint = Checkpoint(
        source.path,
        KEY,
        "torch.export program",
        None,
        file.tensors(stored),
        rule=embedded.rule_in(archive),
    )
    if source.arch is not None:
        return with_network(checkpoint, source)
    with taking_apart(source.path):
        trained = program.graph_signature.parameters
        network = ready(as_layers(program, program.state_dict, trained, source.path))
        check_behavior(network, program.module(), _example(program), source.path)
    return with_module(checkpoint, network)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the archive with new numbers, and the rule as the extra file ``fairfix.json``."""
    file, where = _weights(open_archive(checkpoint.path), _by_stored(checkpoint))
    file.rewrite(
        destination,
        changes(checkpoint, stored, where),
        {embedded.MEMBER: embedded.rule_bytes(rule)},
    )


def reread(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``save`` wrote."""
    file, where = _weights(open_archive(destination), _by_stored(checkpoint))
    return by_own_name(checkpoint, file.tensors(where))


def _by_stored(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {place: checkpoint.tensors[name] for name, place in checkpoint.stored_names.items()}


def _weights(
    archive: Archive, tensors: Mapping[str, Tensor]
) -> tuple[StorageFile, dict[str, StoredTensor]]:
    """Where each weight lies in the archive; ``tensors`` tell the dtypes."""
    configs = [n for n in archive.members if n.startswith(_WEIGHTS) and n.endswith(_CONFIG)]
    if len(configs) != 1:
        raise CheckpointError(
            f"{archive.path} holds {len(configs)} exported programs; only files of one, written by "
            "a current torch.export.save, can be changed."
        )
    entries = json.loads(archive.read(configs[0]))["config"]
    stored = {}
    for name, entry in entries.items():
        if entry["use_pickle"]:
            raise CheckpointError(
                f"{archive.path}: tensor {name!r} is pickled inside the program and cannot be "
                "changed. Export the program again."
            )
        meta = entry["tensor_meta"]
        stored[name] = StoredTensor(
            entry["path_name"],
            tensors[name].dtype,
            meta["storage_offset"]["as_int"],
            tuple(size["as_int"] for size in meta["sizes"]),
            tuple(step["as_int"] for step in meta["strides"]),
        )
    storages = {
        name.removeprefix(_WEIGHTS): member
        for name, member in archive.members.items()
        if name.startswith(_WEIGHTS)
    }
    return StorageFile(archive.path, storages, archive, _WEIGHTS), stored


def _load(path: Path) -> ExportedProgram:
    try:
        return torch.export.load(path)
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be loaded ({reason(error)}). "
            "Export it again, on the CPU, with this version of torch."
        ) from error


def _example(program: ExportedProgram) -> Tensor:
    """Some input of the shape with which the network was exported."""
    node = next(n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs)
    value = node.meta["val"]
    shape = [size if isinstance(size, int) else size.node.hint or 4 for size in value.shape]
    if not value.dtype.is_floating_point:
        return torch.zeros(shape, dtype=value.dtype)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(value.dtype)

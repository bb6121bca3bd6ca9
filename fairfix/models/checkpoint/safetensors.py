"""Safetensors files: tensors and metadata, without code and architecture."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.load_weights import attach_network, by_module_name, by_stored_name
from fairfix.models.checkpoint.mapped_storage import pieces
from fairfix.models.checkpoint.tensor_names import natural_sort_key

KEY = "safetensors"
_METADATA = "__metadata__"
_ALIGNMENT = 8


def read(request: ReadRequest) -> Checkpoint:
    """Read a file; without an architecture, the module is None.

    Raises:
        CheckpointError: if the file is damaged or the weights do not fit.
    """
    checkpoint = read_file(request.path, request.path, KEY, "safetensors file")
    return attach_network(checkpoint, request, definition_order=False)


def read_file(file: Path, path: Path, key: str, title: str) -> Checkpoint:
    """Return the weights in ``file`` as a checkpoint of ``path``, the file or its folder."""
    tensors, metadata = load(file)
    rule = embedded.parse_rule(metadata.pop(embedded.NAME, None), path)
    return Checkpoint(path, key, title, None, tensors, rule=rule, metadata=metadata)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new tensors, and the rule under the metadata key ``fairfix``."""
    rewrite(checkpoint.path, destination, by_stored_name(checkpoint, stored), rule)


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    return by_module_name(checkpoint, load(destination)[0])


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, ``fcs.9`` before ``fcs.10``, and its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=natural_sort_key)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is truncated or damaged: {error}. Copy or download it again."
        ) from error


def rewrite(
    path: Path, destination: Path, tensors: Mapping[str, Tensor], rule: Mapping[str, Any] | None
) -> None:
    """Write a copy of a file with other values of ``tensors``.

    The header is not written by the safetensors library, which shuffles the metadata: equal inputs
    give equal bytes, and keys and tensors keep the file's order.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    start = 8 + size
    places = {name: header[name]["data_offsets"][0] for name in tensors}
    metadata = {k: v for k, v in header.pop(_METADATA, {}).items() if k != embedded.NAME}
    if (text := embedded.rule_text(rule)) is not None:
        metadata[embedded.NAME] = text
    if metadata:
        header = {_METADATA: metadata, **header}
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    with path.open("rb") as source, destination.open("xb") as file:
        file.write(len(written).to_bytes(8, "little") + written)
        body = file.tell()
        source.seek(start)
        shutil.copyfileobj(source, file)
        for name, tensor in tensors.items():
            file.seek(body + places[name])
            for piece in pieces(tensor.cpu()):
                file.write(piece.view(torch.uint8).numpy().data)

"""Safetensors files: tensors and metadata, without code and architecture."""

import json
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.configuration import with_arguments
from fairfix.models.checkpoint.load_weights import attach_network, by_module_name, by_stored_name
from fairfix.models.checkpoint.mapped_storage import is_large, pieces, read_storage
from fairfix.models.checkpoint.tensor_names import natural_sort_key

KEY = "safetensors"
_METADATA = "__metadata__"
_ALIGNMENT = 8
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
}
"""Types of large tensors; those of others are known to the library."""


def read(request: ReadRequest) -> Checkpoint:
    """Read a file; without an architecture, the module is None.

    Raises:
        CheckpointError: if the file is damaged or the weights do not fit.
    """
    checkpoint = read_file(request.path, request.path, KEY, "safetensors file")
    checkpoint, arguments = with_arguments(checkpoint)
    return attach_network(checkpoint, request, arguments=arguments, definition_order=False)


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
    rewrite(checkpoint.file, destination, by_stored_name(checkpoint, stored), rule)


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    return by_module_name(checkpoint, load(destination)[0])


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file, ``fcs.9`` before ``fcs.10``, and its metadata.

    Large tensors are mapped and must not be written to.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # checks the header and all positions
            names = sorted(file.keys(), key=natural_sort_key)
            header, start = _header(path)
            tensors = {name: _tensor(path, file, name, header[name], start) for name in names}
            return tensors, file.metadata() or {}
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
    header, start = _header(path)
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


def write_new(
    destination: Path, tensors: Mapping[str, Tensor], rule: Mapping[str, Any] | None
) -> None:
    """Write a file of tensors, with the rule under the metadata key ``fairfix``."""
    from safetensors.torch import save_file

    text = embedded.rule_text(rule)
    metadata = None if text is None else {embedded.NAME: text}
    save_file({name: x.clone().contiguous() for name, x in tensors.items()}, destination, metadata)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header of a file that the library has checked, and where its tensors start."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(size))
    return header, 8 + size


def _tensor(path: Path, file: Any, name: str, entry: Mapping[str, Any], start: int) -> Tensor:
    """Return a tensor, which is mapped if it is large.

    Args:
        path: the file.
        file: the same, as the library has opened it.
        name: of the tensor.
        entry: of the tensor in the header.
        start: position of the first tensor.
    """
    part, offset = file.get_slice(name), start + entry["data_offsets"][0]
    dtype, shape = _DTYPES.get(part.get_dtype()), part.get_shape()
    size = 0 if dtype is None else prod(shape) * dtype.itemsize
    if dtype is None or not is_large(size) or offset % dtype.itemsize:
        tensor: Tensor = file.get_tensor(name)
        return tensor
    if offset + size > path.stat().st_size:
        raise CheckpointError(f"{path} changed while it was read. Start again.")
    return read_storage(path, offset, size).view(dtype).reshape(shape)

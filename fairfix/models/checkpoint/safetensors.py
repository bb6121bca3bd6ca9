"""A safetensors file: tensors and metadata, no code and no architecture."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.errors import CheckpointError
from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint.base import Checkpoint, Source
from fairfix.models.checkpoint.load_weights import by_own_name, by_stored_name, with_network
from fairfix.models.checkpoint.tensor_checks import raw_bytes
from fairfix.models.checkpoint.tensor_names import natural

KEY = "safetensors"
_METADATA = "__metadata__"
_ALIGNMENT = 8


def read(source: Source) -> Checkpoint:
    """Read ``source``; the module is None without ``source.arch``.

    Raises CheckpointError for a damaged file, or weights that do not fit.
    """
    checkpoint = read_file(source.path, source.path, KEY, "safetensors file")
    return with_network(checkpoint, source, registered=False)


def read_file(file: Path, path: Path, key: str, title: str) -> Checkpoint:
    """The weights in ``file`` as a checkpoint of ``path``, which is the file or its folder."""
    tensors, metadata = load(file)
    rule = embedded.parse_rule(metadata.pop(embedded.NAME, None), path)
    return Checkpoint(path, key, title, None, tensors, rule=rule, metadata=metadata)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new numbers, and the rule under the metadata key ``fairfix``."""
    rewrite(checkpoint.path, destination, by_stored_name(checkpoint, stored), rule)


def reread(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``save`` wrote."""
    return by_own_name(checkpoint, load(destination)[0])


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, ``fcs.9`` before ``fcs.10``, and its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=natural)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} is cut short or damaged: {error}. Copy or download it again."
        ) from error


def rewrite(
    path: Path, destination: Path, tensors: Mapping[str, Tensor], rule: Mapping[str, Any] | None
) -> None:
    """Write the file at ``path`` to ``destination`` with new numbers for ``tensors``.

    The header is written here and not by the library, which shuffles the metadata: the same input
    gives the same bytes, and keys and tensors stay in the file's order.
    """
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    body = bytearray(data[start:])
    for name, tensor in tensors.items():
        first, last = header[name]["data_offsets"]
        body[first:last] = raw_bytes(tensor)
    metadata = {k: v for k, v in header.pop(_METADATA, {}).items() if k != embedded.NAME}
    if (text := embedded.rule_text(rule)) is not None:
        metadata[embedded.NAME] = text
    if metadata:
        header = {_METADATA: metadata, **header}
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    destination.write_bytes(len(written).to_bytes(8, "little") + written + body)

"""Checkpoints of PyTorch Lightning: training dictionaries that may have an additional key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.models.checkpoint import embedded_rule as embedded
from fairfix.models.checkpoint import state_dict
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.configuration import with_arguments
from fairfix.models.checkpoint.find_tensors import (
    json_values,
    stored_places,
    stored_tensors,
)
from fairfix.models.checkpoint.load_weights import attach_network
from fairfix.models.checkpoint.torch_file import PICKLE, TorchFile, open_torch_file

KEY = "lightning"
VERSION = "pytorch-lightning_version"
_STOP = b"."


def read(request: ReadRequest) -> Checkpoint:
    """Read a file; without an architecture, the module is None.

    The architecture may be the LightningModule or the network inside it.
    """
    file = open_torch_file(request.path)
    checkpoint = Checkpoint(
        request.path,
        KEY,
        f"PyTorch Lightning {file.content[VERSION]} checkpoint",
        None,
        {},
        notes=file.notes,
        rule=embedded.parse_rule(file.content.get(embedded.NAME), request.path),
        metadata=json_values({k: v for k, v in file.content.items() if k != embedded.NAME}),
    )
    checkpoint, arguments = with_arguments(checkpoint, file.content)
    tensors = stored_tensors(file.content, file)
    return attach_network(checkpoint, request, file=tensors, arguments=arguments)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the file with new tensors, and the rule as JSON text under the key ``fairfix``."""
    file = open_torch_file(checkpoint.file)
    file.rewrite(
        destination,
        state_dict.changes(checkpoint, stored, stored_places(file.content)),
        {PICKLE: _with_entry(file, embedded.rule_text(rule))},
    )


read_back = state_dict.read_back


def _with_entry(file: TorchFile, text: str | None) -> bytes:
    """Return the file's pickle with the rule as an additional entry of its dictionary.

    A pickle is a program that ends with the dictionary on its stack; the entry is set there.
    """
    assert file.archive is not None
    program = file.archive.read(PICKLE)
    if text is None and embedded.NAME not in file.content:
        return program
    value = b"N" if text is None else _unicode(text)
    return program.removesuffix(_STOP) + _unicode(embedded.NAME) + value + b"s" + _STOP


def _unicode(text: str) -> bytes:
    data = text.encode()
    return b"X" + len(data).to_bytes(4, "little") + data

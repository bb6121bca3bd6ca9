"""Hugging Face folders: ``config.json``, ``model.safetensors`` and other files.

The ``transformers`` package loads its own models, and timm builds its own. The configuration, such
as that of a ``PyTorchModelHubMixin``, has the arguments of the class given as architecture.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from fairfix.errors import TrustError
from fairfix.models.checkpoint import safetensors
from fairfix.models.checkpoint.checkpoint import Checkpoint, ReadRequest
from fairfix.models.checkpoint.configuration import (
    CONFIG,
    TIMM_ARCH,
    arguments_in,
    read_config,
    timm_architecture,
)
from fairfix.models.checkpoint.folder_links import check_folder, copy_folder
from fairfix.models.checkpoint.load_weights import (
    attach_loaded_network,
    attach_network,
    by_stored_name,
)
from fairfix.models.checkpoint.transformers_network import KEYS, load_pretrained, stored_names

KEY = "huggingface"
WEIGHTS = "model.safetensors"


def read(request: ReadRequest) -> Checkpoint:
    """Read a folder; without an architecture, the module of a mixin's folder is None.

    Raises:
        TrustError: if it is a transformers model without permission, or has code of its own.
        CheckpointError: if the package is missing or the weights do not fit.
    """
    check_folder(request.path, WEIGHTS)
    config = read_config(request.path / CONFIG)
    checkpoint = safetensors.read_file(
        request.path / WEIGHTS, request.path, KEY, "Hugging Face folder"
    )
    checkpoint = replace(checkpoint, metadata={**checkpoint.metadata, "config": config})
    timm = timm_architecture(config)
    if request.arch is None and timm is not None:
        if not request.trust:
            raise TrustError(
                f"{request.path} has weights of {timm} of timm, which that package must build. "
                f"Allow that with --trust-checkpoint, or name it with --arch {TIMM_ARCH}."
            )
        request = replace(request, arch=TIMM_ARCH)
    if request.arch is None and KEYS & config.keys():
        network = load_pretrained(request, config)
        return attach_loaded_network(checkpoint, network, names=lambda: stored_names(network))
    arguments = arguments_in(config)
    return attach_network(checkpoint, request, arguments=arguments, definition_order=False)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Copy the folder with new tensors, and the rule in the metadata of the weights."""
    copy_folder(checkpoint.file, destination, WEIGHTS)
    tensors = by_stored_name(checkpoint, stored)
    safetensors.rewrite(checkpoint.file / WEIGHTS, destination / WEIGHTS, tensors, rule)


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    return safetensors.read_back(checkpoint, destination / WEIGHTS)

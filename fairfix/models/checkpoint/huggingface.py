"""Hugging Face folders: ``config.json``, ``model.safetensors`` and other files.

The ``transformers`` package loads its own models, and timm builds its own. The configuration, such
as that of a ``PyTorchModelHubMixin``, has the arguments of the class given as architecture.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
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

KEY = "huggingface"
WEIGHTS = "model.safetensors"
_TRANSFORMERS = {"architectures", "model_type", "auto_map"}


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
    if request.arch is None and _TRANSFORMERS & config.keys():
        return attach_loaded_network(checkpoint, _pretrained(request, config))
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


def _pretrained(request: ReadRequest, config: Mapping[str, Any]) -> nn.Module:
    if "auto_map" in config:
        raise TrustError(
            f"{request.path} has code of its own (auto_map in {CONFIG}), which is never run. Name "
            "its class with --arch file.py:Class."
        )
    if not request.trust:
        raise TrustError(
            f"{request.path} is a transformers model, which that package must load. Allow that "
            "with --trust-checkpoint, or name its class with --arch file.py:Class."
        )
    try:
        import transformers
    except ImportError as error:
        raise CheckpointError(
            f"{request.path} needs the package transformers; install it with pip install "
            "'fairfix[text]'."
        ) from error
    named = config.get("architectures")
    of_images = isinstance(named, list) and str(named[:1]).endswith("ForImageClassification']")
    model_class = f"AutoModelFor{'Image' if of_images else 'Sequence'}Classification"
    try:
        model = getattr(transformers, model_class).from_pretrained(
            request.path, local_files_only=True, use_safetensors=True
        )
    except Exception as error:
        raise CheckpointError(
            f"transformers cannot load {request.path}: {error_summary(error)}."
        ) from error
    assert isinstance(model, nn.Module)
    return model

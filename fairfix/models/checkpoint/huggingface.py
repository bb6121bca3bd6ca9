"""A Hugging Face folder: ``config.json`` and ``model.safetensors``, and whatever lies beside them.

A ``transformers`` model is made by that package; in the folder of a ``PyTorchModelHubMixin`` the
configuration is the arguments of the class that ``--arch`` names.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint import safetensors
from fairfix.models.checkpoint.base import Checkpoint, Source, reason
from fairfix.models.checkpoint.load_weights import by_stored_name, is_mlp, with_module, with_network

KEY = "huggingface"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
_TRANSFORMERS = {"architectures", "model_type", "auto_map"}


def read(source: Source) -> Checkpoint:
    """Read the folder ``source``; the module is None for a mixin's without ``source.arch``.

    Raises TrustError for a transformers model without trust and for one that brings its own code,
    CheckpointError where the package is missing or the weights do not fit.
    """
    config = _config(source.path)
    checkpoint = safetensors.read_file(
        source.path / WEIGHTS, source.path, KEY, "Hugging Face folder"
    )
    checkpoint = replace(checkpoint, metadata={**checkpoint.metadata, "config": config})
    made_by_package = bool(_TRANSFORMERS & config.keys())
    if source.arch is None and made_by_package:
        return with_module(checkpoint, _pretrained(source, config))
    if source.arch and source.arch_args is None and not made_by_package and not is_mlp(source.arch):
        source = replace(source, arch_args=config)
    return with_network(checkpoint, source, registered=False)


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Copy the folder with new numbers, and the rule in the metadata of its weights."""
    source = checkpoint.path

    def without_weights(folder: str, names: list[str]) -> set[str]:
        return {WEIGHTS} & set(names) if Path(folder) == source else set()

    shutil.copytree(source, destination, ignore=without_weights)
    tensors = by_stored_name(checkpoint, stored)
    safetensors.rewrite(source / WEIGHTS, destination / WEIGHTS, tensors, rule)


def reread(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """The tensors of a folder that ``save`` wrote."""
    return safetensors.reread(checkpoint, destination / WEIGHTS)


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path / CONFIG} is no JSON: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path / CONFIG} holds a {type(config).__name__}, not settings.")
    return config


def _pretrained(source: Source, config: Mapping[str, Any]) -> nn.Module:
    if "auto_map" in config:
        raise TrustError(
            f"{source.path} brings its own code (auto_map in {CONFIG}), which is never run. Name "
            "its class with --arch file.py:Class."
        )
    if not source.trust:
        raise TrustError(
            f"{source.path} is a transformers model, which that package has to load. Allow it with "
            "--trust-checkpoint, or name its class with --arch."
        )
    try:
        from transformers import AutoModelForSequenceClassification as Model
    except ImportError as error:
        raise CheckpointError(
            f"{source.path} needs the transformers package: pip install transformers."
        ) from error
    try:
        model = Model.from_pretrained(source.path, local_files_only=True, use_safetensors=True)
    except Exception as error:
        raise CheckpointError(
            f"transformers cannot load {source.path}: {reason(error)}."
        ) from error
    assert isinstance(model, nn.Module)
    return model

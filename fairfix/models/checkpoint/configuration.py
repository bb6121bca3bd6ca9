"""Arguments of an architecture that are stored with its weights: ``config.json`` and others."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fairfix._utils.regular_file import read_regular
from fairfix.errors import CheckpointError
from fairfix.models.checkpoint.checkpoint import Checkpoint
from fairfix.models.checkpoint.find_tensors import plain_values

CONFIG = "config.json"
HYPER_PARAMETERS = "hyper_parameters"
"""The key of Lightning, and of training dictionaries that follow it."""

TIMM_ARCH = "timm:create_model"
"""The option that builds an architecture of timm."""

_TIMM = "timm_wrapper"  # the type of its models in transformers
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class StoredArguments:
    """Arguments of an architecture, and where they are.

    Attributes:
        values: plain JSON; an architecture takes those that its signature has.
        place: where they are, for messages.
        by_name: further ones, which a parameter of that name takes, but ``**kwargs`` does not.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    place: str = "the checkpoint"
    by_name: Mapping[str, Any] = field(default_factory=dict)


NO_ARGUMENTS = StoredArguments()


def read_config(path: Path) -> dict[str, Any]:
    """Return the content of a ``config.json``.

    Raises:
        CheckpointError: if it is not a JSON object.
    """
    try:
        text = read_regular(path, max_bytes=_MAX_BYTES, error=CheckpointError).decode()
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is not valid JSON: {error}. Correct it.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} must be a JSON object, not a {type(config).__name__}.")
    return config


def timm_architecture(config: object) -> str | None:
    """Return the name of the architecture in a ``config.json`` of timm; None for any other."""
    if not isinstance(config, Mapping) or config.get("model_type", _TIMM) != _TIMM:
        return None
    name, has_images = config.get("architecture"), "pretrained_cfg" in config
    return name if isinstance(name, str) and (has_images or "input_size" in config) else None


def image_config_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a ``config.json`` of timm on images, in the present and an older form."""
    found = config.get("pretrained_cfg", config)
    return found if isinstance(found, Mapping) else {}


def arguments_in(config: Mapping[str, Any]) -> StoredArguments:
    """Return the arguments in a ``config.json``; for one of timm, those of ``create_model``."""
    name = timm_architecture(config)
    if name is None:
        return StoredArguments(config, CONFIG)
    known = {**image_config_of(config), **config}
    values = {"num_classes": known["num_classes"]} if "num_classes" in known else {}
    own = config.get("model_args")
    return StoredArguments(
        {**values, **(own if isinstance(own, Mapping) else {})}, CONFIG, {"model_name": name}
    )


def with_arguments(
    checkpoint: Checkpoint, content: object = None
) -> tuple[Checkpoint, StoredArguments]:
    """Return the arguments stored in or beside a single file of weights.

    Args:
        checkpoint: gets the content of a ``config.json`` beside its file as metadata, or a note
            that it cannot be read: it may belong to something else.
        content: the dictionary in the file, whose ``hyper_parameters`` come first.
    """
    inside = plain_values(content).get(HYPER_PARAMETERS)
    if isinstance(inside, dict) and inside:
        return checkpoint, StoredArguments(inside)
    path = checkpoint.file.with_name(CONFIG)
    if not path.exists():
        return checkpoint, NO_ARGUMENTS
    try:
        config = read_config(path)
    except CheckpointError as error:
        note = f"{CONFIG} beside the weights is not read: {error}"
        return replace(checkpoint, notes=(*checkpoint.notes, note)), NO_ARGUMENTS
    metadata = {**checkpoint.metadata, "config": config}
    return replace(checkpoint, metadata=metadata), arguments_in(config)

"""Networks that the ``transformers`` package loads from a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError, TrustError
from fairfix.models.checkpoint.checkpoint import ReadRequest
from fairfix.models.checkpoint.configuration import CONFIG

KEYS = {"architectures", "model_type", "auto_map"}
"""Keys of a configuration, any of which only this package writes."""


def load_pretrained(request: ReadRequest, config: Mapping[str, Any]) -> nn.Module:
    """Return the classifier of texts or images in a folder, without a network connection.

    Raises:
        TrustError: without permission, or if the folder has code of its own.
        CheckpointError: if the package is missing or cannot load it.
    """
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
        with _no_progress_bars():
            model = getattr(transformers, model_class).from_pretrained(
                request.path, local_files_only=True, use_safetensors=True
            )
    except Exception as error:
        raise CheckpointError(
            f"transformers cannot load {request.path}: {error_summary(error)}."
        ) from error
    assert isinstance(model, nn.Module)
    return model


def stored_names(network: nn.Module) -> dict[str, str]:
    """Return the names of a network's tensors in its file, by those in the network.

    The package gives some tensors other names in files. It is asked for them with a number in place
    of each tensor; tensors that it joins or splits are left out.
    """
    numbers = {name: torch.full((1,), float(i)) for i, name in enumerate(network.state_dict())}
    try:
        with tempfile.TemporaryDirectory() as folder, _no_progress_bars():
            network.save_pretrained(folder, state_dict=numbers)  # type: ignore[operator]
            written = load_file(Path(folder) / "model.safetensors")
    except Exception:  # older versions, or conversions of values
        return {}
    names = list(numbers)
    return {names[int(x)]: name for name, x in written.items() if x.shape == (1,)}


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Keep the package's own bars from standard error."""
    try:
        from transformers.utils import logging
    except ImportError:
        yield
        return
    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()

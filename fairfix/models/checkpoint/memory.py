"""Networks in memory: copied, never changed, and written as a state_dict."""

import copy
import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fairfix._utils.text import error_summary
from fairfix.errors import CheckpointError
from fairfix.models.checkpoint import safetensors, state_dict
from fairfix.models.checkpoint.checkpoint import Checkpoint
from fairfix.models.checkpoint.fixed_network import attach_fixed_network, is_fixed
from fairfix.models.checkpoint.load_weights import batch_norm_notes, prepare_module
from fairfix.models.checkpoint.tensor_checks import check_weights

KEY = "memory"
SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
"""Of the files that a network in memory is written to; only the last has metadata."""


def read_module(module: nn.Module) -> Checkpoint:
    """Return a copy of a network as a checkpoint without a file.

    Args:
        module: it is left as it is: weights, gradients, training mode and device.

    Raises:
        CheckpointError: if it cannot be copied, or has no trained weights.
    """
    module = _unwrapped(module)
    name = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise CheckpointError(
            "TorchScript is read from its file; save it with torch.jit.save and give the path."
        )
    if any(is_lazy(tensor) for tensor in (*module.parameters(), *module.buffers())):
        raise CheckpointError(
            f"{name} has lazy layers whose weights have no shape yet; run it once and train it."
        )
    config = getattr(module, "config", None)
    metadata = {"class": name}
    if callable(to_dict := getattr(config, "to_dict", None)):
        metadata["config"] = to_dict()
    title = f"network in memory of class {name}"
    checkpoint = Checkpoint(None, KEY, title, None, {}, metadata=metadata)
    copied = _copied(module)
    if is_fixed(copied):
        return attach_fixed_network(checkpoint, copied.cpu())
    tensors = {key: value.detach().cpu().clone() for key, value in copied.state_dict().items()}
    check_weights(name, tensors)
    return replace(
        checkpoint,
        module=prepare_module(copied),
        tensors=tensors,
        stored_names={key: key for key in tensors},
        notes=batch_norm_notes(copied),
    )


def save(
    checkpoint: Checkpoint,
    stored: Mapping[str, Tensor],
    rule: Mapping[str, Any] | None,
    destination: Path,
) -> None:
    """Write the tensors: with the rule as safetensors, by the suffix, else by ``torch.save``."""
    if checkpoint.is_fixed:
        raise CheckpointError(
            f"{checkpoint.name} is quantized and cannot be written from memory; save it with "
            "torch.save and give the path."
        )
    if destination.suffix == ".safetensors":
        safetensors.write_new(destination, stored, rule)
        return
    content = io.BytesIO()  # a file would put its name into the archive
    torch.save({name: tensor.clone() for name, tensor in stored.items()}, content)
    destination.write_bytes(content.getvalue())


def read_back(checkpoint: Checkpoint, destination: Path) -> dict[str, Tensor]:
    """See ``Format.read_back``."""
    if destination.suffix == ".safetensors":
        return safetensors.read_back(checkpoint, destination)
    return state_dict.read_back(checkpoint, destination)


def reload(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Return the checkpoint with the tensors of a file that ``save`` wrote."""
    return with_tensors(checkpoint, read_back(checkpoint, path))


def with_tensors(checkpoint: Checkpoint, tensors: Mapping[str, Tensor]) -> Checkpoint:
    """Return the checkpoint with a copy of its network that has other weights.

    Args:
        tensors: in stored dtypes, keyed as ``Checkpoint.tensors``.
    """
    assert checkpoint.module is not None
    module = copy.deepcopy(checkpoint.module).cpu()
    module.load_state_dict(tensors)
    return replace(checkpoint, module=module, tensors=dict(tensors))


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of several devices and of ``torch.compile``."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _unwrapped(module.module)
    compiled = getattr(module, "_orig_mod", None)
    return _unwrapped(compiled) if isinstance(compiled, nn.Module) else module


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:  # an attribute of any class may refuse
        kept = next(_kept_activations(module), None)
        if kept is not None:
            raise CheckpointError(
                f"{type(module).__name__} keeps an activation in {kept!r}, so it cannot be copied; "
                "delete that attribute, or keep a detached copy."
            ) from None
        raise CheckpointError(
            f"{type(module).__name__} cannot be copied ({error_summary(error)}); save its "
            "state_dict and give that file with --arch."
        ) from None


def _kept_activations(module: nn.Module) -> Iterator[str]:
    """Yield the names of attributes that hold tensors with a history of operations."""
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if name not in ("_parameters", "_buffers", "_modules") and _has_history(value):
                yield f"{prefix}.{name}" if prefix else name


def _has_history(value: object) -> bool:
    if isinstance(value, Tensor):
        return value.grad_fn is not None
    if isinstance(value, Mapping):
        return any(map(_has_history, value.values()))
    return isinstance(value, list | tuple) and any(map(_has_history, value))
